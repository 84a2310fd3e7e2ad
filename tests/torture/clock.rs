//! The wall clock jumps under an outbox at work (libfaketime): ±72 h, 1970, 2038. Ids stay unique,
//! numbers keep the order of keeping, across kills as well, and keeping never waits for the clock.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    child::Options,
    context::{Context, RowName},
    line::Line,
    model::Model,
    process::{Child, HUNG, look},
    table::Row,
};

/// Steps of one outbox.
const EACH: u32 = 10;
/// What the clock says, in libfaketime's words, and the hours by which that is off (`None`: far).
const CLOCKS: [(&str, Option<i64>); 5] = [
    ("+72h", Some(72)),
    ("-72h", Some(-72)),
    ("@1970-01-02 00:00:00", None),
    ("@2038-01-19 03:14:00", None),
    ("+0", Some(0)),
];
/// Records that must be kept after each step, and how soon.
const RECORDS: u32 = 20;
const LIMIT: Duration = Duration::from_secs(20);
/// One step in so many ends with a kill, so that the next open is under a strange clock.
const KILL: u32 = 2;

/// The row.
pub fn row(context: &Context) -> Row {
    let mut row = Row::new(RowName::Clock.fault());
    let Some(library) = library() else {
        row.not_done = Some("libfaketime is missing: apt-get install faketime".into());
        return row;
    };
    let (mut acknowledged, mut slowest, mut open_ms) = (0, Duration::ZERO, 0);
    for (unit, steps) in context.units(RowName::Clock, EACH) {
        let folder = context.folder(RowName::Clock, &unit.to_string());
        let (mut model, mut wrong) = (Model::default(), Vec::new());
        let (done, slow) = outbox(&folder, &library, steps, &mut model, &mut wrong);
        row.runs += done;
        slowest = slowest.max(slow);
        acknowledged += model.acknowledged;
        open_ms = open_ms.max(model.worst_open_ms);
        if model.tally.total() > 0 {
            wrong.push(format!("{:?}", model.tally));
        }
        let kept = context.close(&folder, wrong.is_empty());
        for wrong in wrong {
            row.fail(format!("{wrong}; {kept}; {}", context.again(RowName::Clock, unit)));
        }
    }
    row.held = vec![format!("{acknowledged} acknowledged; order, ids and losses looked at")];
    row.worst = vec![
        format!("{RECORDS} records in {:.1} s after a step", slowest.as_secs_f64()),
        format!("open {open_ms} ms"),
    ];
    row
}

fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.map_while(Result::ok).map(|e| e.path());
    folders.map(|f| f.join("faketime/libfaketimeMT.so.1")).find(|p| p.exists())
}

fn outbox(
    folder: &Path,
    library: &Path,
    steps: u32,
    model: &mut Model,
    wrong: &mut Vec<String>,
) -> (u32, Duration) {
    let mut options = Options::new(folder.join("outbox"));
    // One thread: what it keeps later must have the higher number.
    options.threads = 1;
    let (log, clock) = (folder.join("child.log"), folder.join("clock"));
    let set = |text: &str| fs::write(&clock, format!("{text}\n")).expect("the clock's file");
    set("+0");
    let environment = [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", clock.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".into()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ("DONT_FAKE_MONOTONIC", "1".into()),
    ];
    let start = || Child::start_with(&options, &log, &environment);
    let mut child = start();
    if !child.until(model, HUNG, |l| *l == Line::Ready) {
        wrong.push("not open under libfaketime".into());
    }
    let (mut last, mut done, mut slowest) = (0, 0, Duration::ZERO);
    for step in 0..steps {
        let (text, hours) = CLOCKS[step as usize % CLOCKS.len()];
        set(text);
        done += 1;
        // What was begun before the step may end after it; then the child says its new clock.
        let shown =
            child.until(model, LIMIT, |l| matches!(l, Line::Clock(at) if shows(*at, hours)));
        if !shown {
            wrong.push(format!("{text}: the child's clock does not show it: nothing was tested"));
        }
        let (begun, mut kept) = (Instant::now(), 0);
        let mut back = None;
        let enough = child.until(model, LIMIT, |line| {
            if let Line::Kept { sequence, .. } = line {
                if *sequence <= last {
                    back = Some((last, *sequence));
                }
                last = *sequence;
                kept += 1;
            }
            kept >= RECORDS
        });
        slowest = slowest.max(begun.elapsed());
        if let Some((before, after)) = back {
            wrong.push(format!("{text}: number {after} after {before}"));
        }
        if !enough {
            wrong.push(format!("{text}: {kept} records in {} s", LIMIT.as_secs()));
        }
        if step % KILL == KILL - 1 {
            child.kill(model);
            child = start();
            if !child.until(model, HUNG, |l| *l == Line::Ready) {
                wrong.push(format!("{text}: not open again"));
            }
        }
        if !wrong.is_empty() {
            break;
        }
    }
    child.kill(model);
    look(&options, &log, model);
    (done, slowest)
}

/// Whether a clock is off by so many hours; `None`: by more than a year.
fn shows(clock: i64, hours: Option<i64>) -> bool {
    let off = clock - jiff::Timestamp::now().as_second();
    match hours {
        Some(hours) => (off - hours * 3600).abs() < 3600,
        None => off.abs() > 365 * 86_400,
    }
}
