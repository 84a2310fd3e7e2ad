//! Looks at the clock once a second: is it kept, by what, and was it set?
//!
//! The component [`Component::Clock`] is reported from here. What belongs in the ledger is handed
//! on; a step that can't be handed on at once is handed on later, in order.

use std::{
    collections::VecDeque,
    io, thread,
    time::{Duration, Instant},
};

use milepost_wire as wire;
use tokio_util::sync::CancellationToken;

use super::{
    ClockSource,
    correction::Reference,
    kernel::{Discipline, Moment},
    last_look::LastLook,
    reference::{Keeper, State},
    step::{Step, StepDetector},
};
use crate::health::{Component, Health, Status};

/// How often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a stop may wait for a look.
const NAP: Duration = Duration::from_millis(100);
/// How often the time service is asked; at once after a step and when the clock becomes synchronised.
const ASK_EVERY: Duration = Duration::from_secs(30);
/// Steps that wait to be handed on: one a second for so long means that nothing can be kept.
const MAX_WAITING: usize = 64;
/// A clock that moved by more against the other while the kernel was asked was set meanwhile.
const SAME: Duration = Duration::from_millis(1);

/// What the ledger's keeper must know.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// The clock was set.
    Step(wire::ClockStep),
    /// The clock is synchronised, and this is now: comes at every look.
    Synchronised(Reference),
}

/// Looks until `stop`, and goes on from the last look of the process before. `give` takes the news; false where
/// it can't now.
pub fn watch(
    keeper: &Keeper,
    health: &Health,
    mut last_look: LastLook,
    stop: &CancellationToken,
    mut give: impl FnMut(&News) -> bool,
) {
    let mut watcher = Watcher::resumed(last_look.read());
    let mut waiting = VecDeque::new();
    let mut told = false;
    while !stop.is_cancelled() {
        let began = Instant::now();
        let before = Moment::now();
        let asked = Discipline::ask();
        let look = Look { before, after: Moment::now(), discipline: asked.as_ref().ok().copied() };
        let step = watcher.detector.look(look.before.utc, look.before.boottime);
        if watcher.is_to_ask(&look, step.is_some()) {
            keeper.ask();
        }
        let state = keeper.state(look.discipline);
        let (status, output) = report(&asked, &state);
        health.set(Component::Clock, status, output);
        health.fact("Clock", kept_by(&state));
        let (step, reference) = watcher.conclude(&look, step, state);
        // A step counts as told once it was taken a look ago: until then the next process must find it.
        if waiting.is_empty() && step.is_none() {
            last_look.note(look.before, state.source, told);
            told = false;
        } else {
            told = true;
        }
        if let Some(step) = step {
            tracing::warn!(step_s = step.step_s, "the clock was set");
            health.metrics.clock_steps.inc();
            match waiting.len() < MAX_WAITING {
                true => waiting.push_back(News::Step(step)),
                false => tracing::error!("a step of the clock could not be kept"),
            }
        }
        hand_on(&mut waiting, &mut give);
        if let Some(reference) = reference {
            // Not taken, there is another in a second.
            let _ = give(&News::Synchronised(reference));
        }
        while began.elapsed() < LOOK_EVERY && !stop.is_cancelled() {
            thread::sleep(NAP);
        }
    }
}

/// Gives the oldest first, until one is not taken.
fn hand_on(waiting: &mut VecDeque<News>, mut give: impl FnMut(&News) -> bool) {
    while waiting.front().is_some_and(&mut give) {
        waiting.pop_front();
    }
}

/// One look.
#[derive(Debug, Clone, Copy)]
struct Look {
    /// Before the kernel was asked.
    before: Moment,
    /// After it.
    after: Moment,
    discipline: Option<Discipline>,
}

impl Look {
    /// Whether the clock was not set in the middle of it.
    fn is_whole(&self) -> bool {
        let real = self.after.utc.duration_since(self.before.utc);
        let passed = self.after.boottime.saturating_sub(self.before.boottime);
        real.unsigned_abs().abs_diff(passed) <= SAME && !real.is_negative()
    }
}

/// What is remembered from look to look. Pure.
#[derive(Debug, Default)]
struct Watcher {
    detector: StepDetector,
    last: Option<(Moment, ClockSource)>,
    /// When the time service was asked, and whether the clock was synchronised then.
    asked: Option<(Duration, bool)>,
}

impl Watcher {
    /// One that goes on from a look of this boot.
    fn resumed(last: Option<(Moment, ClockSource)>) -> Self {
        let mut detector = StepDetector::default();
        if let Some((moment, _)) = last {
            detector.look(moment.utc, moment.boottime);
        }
        Self { detector, last, asked: None }
    }

    /// Whether the time service may have something new to say.
    fn is_to_ask(&mut self, look: &Look, stepped: bool) -> bool {
        let synchronised = look.discipline.is_some_and(|d| d.synchronised);
        let now = look.before.since_boot;
        let ask = synchronised
            && self
                .asked
                .is_none_or(|(at, was)| stepped || !was || now.saturating_sub(at) >= ASK_EVERY);
        if ask || !synchronised {
            self.asked = Some((now, synchronised));
        }
        ask
    }

    /// The step since the last look in full, and this moment where the clock is synchronised.
    fn conclude(
        &mut self,
        look: &Look,
        step: Option<Step>,
        state: State,
    ) -> (Option<wire::ClockStep>, Option<Reference>) {
        let now = look.before;
        let last = self.last.replace((now, state.source));
        let step = step.map(|step| wire::ClockStep {
            before: step.before,
            after: step.after,
            step_s: step.by().as_secs_f64(),
            source_before: last.map_or(wire::TimeSource::Unsynchronised, |(_, s)| s.wire()),
            source_after: state.source.wire(),
            not_yet: last.and_then(|(moment, _)| moment.boot_time()),
            noticed: now.boot_time(),
        });
        let synchronised = state.source != ClockSource::Unsynchronised && look.is_whole();
        (step, synchronised.then_some(Reference { at: now, state }))
    }
}

/// What keeps the clock.
fn kept_by(state: &State) -> String {
    let by = state.by.map(|by| format!(" ({by})")).unwrap_or_default();
    match state.source {
        ClockSource::Unsynchronised => "not synchronised".into(),
        ClockSource::Kernel => format!("synchronised, to what is not known{by}"),
        source => format!("synchronised by {}{by}", source.title()),
    }
}

/// What the health page says about the clock.
fn report(asked: &io::Result<Discipline>, state: &State) -> (Status, String) {
    match (asked, state.source) {
        (Ok(_), ClockSource::Unsynchronised) => (
            Status::Warn,
            "the clock is not synchronised, so times may be wrong by any amount: set up NTP or PTP \
             (e.g. chrony) and check that its servers are reachable"
                .into(),
        ),
        (Ok(_), _) => {
            let kept = kept_by(state);
            match state.bound {
                Some(bound) => {
                    let ms = bound.as_millis() + 1;
                    (Status::Pass, format!("{kept}, at most {ms} ms off"))
                }
                None => (
                    Status::Warn,
                    format!("{kept}, how far off is not known: use chrony, which says so"),
                ),
            }
        }
        (Err(e), _) => (
            Status::Warn,
            format!(
                "the kernel does not tell its clock's state ({e}): allow adjtimex in the sandbox"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    const KEPT: State = State {
        source: ClockSource::Ntp,
        bound: Some(Duration::from_micros(2400)),
        by: Some("chrony"),
    };

    fn discipline(synchronised: bool) -> Discipline {
        Discipline { synchronised, max_error: Duration::ZERO, pending: Duration::ZERO }
    }

    /// `s` seconds after the machine's start, its clock off by `offset_s`.
    fn moment(s: u64, offset_s: i64) -> Moment {
        let since_boot = Duration::from_secs(s);
        let utc = Timestamp::from_second(1_772_349_300 + s.cast_signed() + offset_s).unwrap();
        Moment { utc, boottime: since_boot, since_boot }
    }

    fn look(s: u64, offset_s: i64, synchronised: bool) -> Look {
        let now = moment(s, offset_s);
        Look { before: now, after: now, discipline: Some(discipline(synchronised)) }
    }

    fn concluded(
        watcher: &mut Watcher,
        look: Look,
        state: State,
    ) -> (Option<wire::ClockStep>, Option<Reference>) {
        let step = watcher.detector.look(look.before.utc, look.before.boottime);
        watcher.conclude(&look, step, state)
    }

    #[test]
    fn a_step_says_from_where_to_where_and_by_whom_and_when_on_the_machines_own_clock() {
        let mut watcher = Watcher::default();
        let free = look(10, -259_200, false);
        assert_eq!(concluded(&mut watcher, free, State::FREE), (None, None));
        let (step, reference) = concluded(&mut watcher, look(11, 0, true), KEPT);
        let step = step.unwrap();
        assert_eq!((step.step_s, step.after), (259_200.0, moment(11, 0).utc));
        assert_eq!(step.source_before, wire::TimeSource::Unsynchronised);
        assert_eq!(step.source_after, wire::TimeSource::Ntp);
        assert_eq!(step.not_yet.unwrap().since_boot_s, 10.0);
        assert_eq!(step.noticed.unwrap().since_boot_s, 11.0);
        assert_eq!(reference, Some(Reference { at: moment(11, 0), state: KEPT }));
        assert_eq!(concluded(&mut watcher, look(12, 0, true), KEPT).0, None);
    }

    #[test]
    fn a_clock_that_was_set_while_no_agent_ran_is_noticed_by_the_next() {
        let mut watcher = Watcher::resumed(Some((moment(10, 3600), ClockSource::Ntp)));
        let (step, _) = concluded(&mut watcher, look(500, 0, true), KEPT);
        let step = step.unwrap();
        assert_eq!((step.step_s, step.source_before), (-3600.0, wire::TimeSource::Ntp));
        assert_eq!(step.not_yet.unwrap().since_boot_s, 10.0);
        let mut watcher = Watcher::resumed(Some((moment(10, 0), ClockSource::Ntp)));
        assert_eq!(concluded(&mut watcher, look(500, 0, true), KEPT).0, None);
    }

    #[test]
    fn a_clock_that_is_set_in_the_middle_of_a_look_is_no_reference() {
        for set_by in [-259_200, 3600] {
            let torn = Look { after: moment(20, set_by), ..look(20, 0, true) };
            assert_eq!(concluded(&mut Watcher::default(), torn, KEPT), (None, None));
        }
        let interrupted = Look { after: moment(22, 0), ..look(20, 0, true) };
        assert!(concluded(&mut Watcher::default(), interrupted, KEPT).1.is_some());
    }

    #[test]
    fn the_time_service_is_asked_now_and_then_after_a_step_and_when_the_clock_gets_synchronised() {
        let mut watcher = Watcher::default();
        let mut asked = |s, stepped, kept| watcher.is_to_ask(&look(s, 0, kept), stepped);
        assert!(!asked(1, false, false));
        assert!(asked(2, false, true));
        assert!(!asked(3, false, true));
        assert!(asked(4, true, true));
        assert!(!asked(5, false, true));
        assert!(asked(34, false, true));
    }

    #[test]
    fn steps_that_are_not_taken_come_again_in_order() {
        let mut watcher = Watcher::default();
        let mut waiting: VecDeque<News> = (1..5)
            .filter_map(|s| concluded(&mut watcher, look(s, s.cast_signed() * 100, false), KEPT).0)
            .map(News::Step)
            .collect();
        let (all, mut taken) = (waiting.clone(), Vec::new());
        for room in [0, 1, 5] {
            let mut left = room;
            hand_on(&mut waiting, |news| {
                if left == 0 {
                    return false;
                }
                left -= 1;
                taken.push(news.clone());
                true
            });
        }
        assert_eq!((all.len(), taken), (3, Vec::from(all)));
    }

    #[test]
    fn this_machines_clock_is_on_the_health_page() {
        let (health, stop) = (Health::default(), CancellationToken::new());
        let said = || health.checks()[&Component::Clock].output != "not started";
        thread::scope(|scope| {
            let last_look = LastLook::new("/nowhere".into(), None);
            scope.spawn(|| watch(&Keeper::default(), &health, last_look, &stop, |_| true));
            let until = Instant::now() + Duration::from_secs(60);
            while !said() && Instant::now() < until {
                thread::sleep(NAP);
            }
            stop.cancel();
        });
        assert!(said());
    }

    #[test]
    fn the_health_page_says_by_what_the_clock_is_kept_how_well_and_else_what_to_do() {
        let kept = || Ok(discipline(true));
        let said = |state: State| report(&kept(), &state);
        assert_eq!(
            said(KEPT),
            (Status::Pass, "synchronised by NTP (chrony), at most 3 ms off".into())
        );
        let unknown = State { source: ClockSource::Kernel, by: None, ..KEPT };
        assert_eq!(
            said(unknown),
            (Status::Pass, "synchronised, to what is not known, at most 3 ms off".into())
        );
        let (status, output) = said(State { bound: None, ..KEPT });
        assert!(status == Status::Warn && output.contains("not known"), "{output}");
        let (status, output) = report(&Ok(discipline(false)), &State::FREE);
        assert!(status == Status::Warn && output.contains("NTP"), "{output}");
        let (status, output) = report(&Err(io::ErrorKind::PermissionDenied.into()), &State::FREE);
        assert!(status == Status::Warn && output.contains("sandbox"), "{output}");
    }
}
