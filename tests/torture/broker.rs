//! Faults of the broker and of the line to it, while reads are kept all the time. Several rigs run
//! beside each other, since most of a fault is waiting.

use std::{collections::BTreeMap, time::Duration};

use harness::proxy::Way;
use rand::{RngExt, rngs::StdRng};
use tokio::time::sleep;

use crate::{
    context::{Context, RowName},
    rig::{Arrived, Rig},
    table::Row,
};

/// Faults of one rig.
const EACH: u32 = 84;
/// In the quick table.
const EACH_QUICK: u32 = 4;
/// Rigs at a time.
const BESIDE: usize = 12;
/// Acknowledgements must come again so soon after the line is good.
const LIMIT: Duration = Duration::from_secs(30);
/// A rig that is not back after so long is given up.
const GIVE_UP: Duration = Duration::from_secs(120);
/// A connection that has lasted so long was a good one for the pole's back-off.
const STEADY: Duration = Duration::from_secs(11);
/// One fault in so many of the full table is an outage long enough for the longest back-off.
const LONG: u32 = 80;
/// Reads that the control forgets.
const FORGOTTEN: u32 = 5;

/// One way to break it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Killed,
    Frozen,
    SessionLost,
    AcknowledgementsLost,
    WayBackFrozen,
    Flapping,
    Slow,
    HalfOpen,
    Refused,
    Long,
}

impl Fault {
    /// Whether no connection outlives it.
    fn ends_the_connection(self) -> bool {
        use Fault::{HalfOpen, Killed, Long, Refused, SessionLost, WayBackFrozen};
        matches!(self, Killed | SessionLost | WayBackFrozen | HalfOpen | Refused | Long)
    }
}

const FAULTS: [Fault; 9] = [
    Fault::Killed,
    Fault::Frozen,
    Fault::SessionLost,
    Fault::AcknowledgementsLost,
    Fault::WayBackFrozen,
    Fault::Flapping,
    Fault::Slow,
    Fault::HalfOpen,
    Fault::Refused,
];

/// What one rig came to.
#[derive(Debug, Default)]
struct Outcome {
    faults: u32,
    wrong: Vec<String>,
    arrived: Arrived,
    /// How often each fault was done, and the longest until acknowledgements came again.
    times: BTreeMap<Fault, (u32, Duration)>,
}

/// The row.
pub fn row(context: &Context) -> Row {
    let mut row = Row::new(RowName::Broker.fault());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let units = context.units(RowName::Broker, if context.quick { EACH_QUICK } else { EACH });
        let (mut arrived, mut times) = (Arrived::default(), BTreeMap::<_, (u32, Duration)>::new());
        for beside in units.chunks(BESIDE) {
            let rigs = beside.iter().map(|(unit, faults)| {
                let (context, unit, faults) = (context.clone(), *unit, *faults);
                (unit, tokio::spawn(async move { rig(&context, unit, faults).await }))
            });
            for (unit, rig) in rigs.collect::<Vec<_>>() {
                let result = rig.await.unwrap_or_else(|e| Outcome {
                    wrong: vec![format!("the rig panicked: {e}")],
                    ..Outcome::default()
                });
                row.runs += result.faults;
                arrived.kept += result.arrived.kept;
                arrived.duplicates += result.arrived.duplicates;
                arrived.lost += result.arrived.lost;
                for (fault, (count, worst)) in result.times {
                    let time = times.entry(fault).or_default();
                    *time = (time.0 + count, time.1.max(worst));
                }
                for wrong in result.wrong {
                    row.fail(format!("{wrong}; {}", context.again(RowName::Broker, unit)));
                }
            }
        }
        row.held = vec![
            format!("{} reads kept, {} of them lost", arrived.kept, arrived.lost),
            format!("{} messages came again, known by their id", arrived.duplicates),
        ];
        let worst = times.iter().map(|(fault, (count, worst))| {
            format!("{count} × {fault:?} {:.1} s", worst.as_secs_f64())
        });
        row.worst = vec!["acknowledged again after".into()];
        row.worst.extend(worst);
        control(context, &mut row).await;
    });
    row
}

async fn rig(context: &Context, unit: u32, faults: u32) -> Outcome {
    let mut choices = context.choices(RowName::Broker, unit);
    let folder = context.folder(RowName::Broker, &unit.to_string());
    let mut rig = Rig::start(&folder).await;
    let mut result = Outcome::default();
    if rig.live_again(0, GIVE_UP).await.is_none() {
        result.wrong.push(format!("never connected: {}", rig.word()));
    }
    for n in 0..faults {
        if !result.wrong.is_empty() {
            break;
        }
        // In the full table each unit has its long outage at another place.
        let long = !context.quick && (n + unit * 7) % LONG == LONG - 1;
        let fault = if long { Fault::Long } else { FAULTS[choices.random_range(0..FAULTS.len())] };
        result.faults += 1;
        let connections = rig.connections();
        inflict(&mut rig, fault, &mut choices).await;
        let made = if fault.ends_the_connection() { connections } else { 0 };
        match rig.live_again(made, GIVE_UP).await {
            Some(time) => {
                let times = result.times.entry(fault).or_default();
                *times = (times.0 + 1, times.1.max(time));
                if time > LIMIT {
                    let s = time.as_secs_f64();
                    result.wrong.push(format!("{fault:?}: acknowledged again only after {s:.1} s"));
                }
            }
            None => {
                let word = rig.word();
                let s = GIVE_UP.as_secs();
                result.wrong.push(format!("{fault:?}: not back after {s} s, says: {word}"));
            }
        }
        let steady = choices.random_ratio(1, 2);
        sleep(if steady { STEADY } else { ms(&mut choices, 0, 500) }).await;
    }
    let (wrong, arrived) = rig.finish().await;
    result.wrong.extend(wrong);
    result.arrived = arrived;
    let kept = context.close(&folder, result.wrong.is_empty());
    if let Some(last) = result.wrong.last_mut() {
        *last += &format!("; {kept}");
    }
    result
}

fn ms(choices: &mut StdRng, from: u64, to: u64) -> Duration {
    Duration::from_millis(choices.random_range(from..to))
}

/// Breaks it, and mends it.
async fn inflict(rig: &mut Rig, fault: Fault, choices: &mut StdRng) {
    let restart = |rig: &mut Rig| tokio::task::block_in_place(|| rig.broker.restart());
    match fault {
        Fault::Killed => {
            rig.broker.kill();
            sleep(ms(choices, 0, 3000)).await;
            restart(rig);
        }
        Fault::Long => {
            rig.broker.kill();
            sleep(ms(choices, 70_000, 90_000)).await;
            restart(rig);
        }
        Fault::SessionLost => {
            rig.broker.kill();
            sleep(ms(choices, 0, 1000)).await;
            tokio::task::block_in_place(|| rig.broker.restart_without_memory());
        }
        Fault::Frozen => {
            rig.broker.freeze();
            sleep(ms(choices, 200, 14_000)).await;
            rig.broker.thaw();
        }
        Fault::AcknowledgementsLost => {
            rig.proxy.cut_after(Way::Back, choices.random_range(1..4000));
            sleep(ms(choices, 500, 2000)).await;
            rig.proxy.mend();
        }
        Fault::WayBackFrozen => {
            rig.proxy.freeze(Way::Back);
            sleep(ms(choices, 200, 4000)).await;
            rig.proxy.cut();
            rig.proxy.mend();
        }
        Fault::Flapping => {
            for _ in 0..choices.random_range(2..6) {
                match choices.random_range(0..3) {
                    0 => rig.proxy.cut(),
                    1 => rig.proxy.cut_after(Way::Out, choices.random_range(1..60_000)),
                    _ => rig.proxy.cut_after(Way::Back, choices.random_range(1..6000)),
                }
                sleep(ms(choices, 50, 800)).await;
            }
            rig.proxy.mend();
        }
        Fault::Slow => {
            rig.proxy.delay(ms(choices, 20, 300));
            sleep(ms(choices, 500, 3000)).await;
            rig.proxy.mend();
        }
        Fault::HalfOpen => rig.proxy.abandon(),
        Fault::Refused => {
            rig.proxy.refuse();
            sleep(ms(choices, 100, 4000)).await;
            rig.proxy.mend();
        }
    }
}

/// A pole that deletes what nobody has must be caught.
async fn control(context: &Context, row: &mut Row) {
    let folder = context.folder(RowName::Broker, "control");
    let rig = Rig::start(&folder).await;
    rig.live_again(0, GIVE_UP).await;
    rig.proxy.refuse();
    // Some may be on their way already; those kept while the line is down are not.
    for _ in 0..FORGOTTEN {
        sleep(Duration::from_millis(300)).await;
        rig.forget_newest();
    }
    rig.proxy.mend();
    let (wrong, arrived) = rig.finish().await;
    context.close(&folder, true);
    if arrived.lost == 0 {
        row.fail(format!("control: {FORGOTTEN} reads deleted unsent were not missed ({wrong:?}): the harness is blind"));
    } else {
        row.held.push(format!(
            "control: {} of {FORGOTTEN} reads deleted unsent were missed",
            arrived.lost
        ));
    }
}
