//! What keeps the kernel's clock, and how far off it may be.
//!
//! The kernel knows whether it is kept, not by what. So the time service is asked where it can be:
//! chrony by `chronyc`, systemd-timesyncd by `timedatectl`; `[clock] reference` names what can't be
//! asked (phc2sys, ntpd). Not every service tells the kernel a bound: timesyncd and phc2sys set it to
//! zero, so timesyncd's own figures are taken, and `[clock] reference_error_ms` is added throughout.
//! A service that does not answer leaves the kernel's word; nothing here fails.

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{ClockSource, kernel::Discipline, step::SLEW_DIVISOR};
use crate::config;

/// A service's programme that has not answered for so long is killed.
const PATIENCE: Duration = Duration::from_secs(2);
/// systemd-timesyncd makes this file once it has set the clock.
const TIMESYNCD_HAS_SET: &str = "/run/systemd/timesync/synchronized";
/// chrony's reference while it serves the machine's own clock.
const CHRONY_LOCAL: &str = "7F7F0101";

/// What a time service says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    /// Who says it.
    pub by: &'static str,
    /// What it follows.
    pub source: ClockSource,
    /// Its own bound on the clock's error; `None` where it has none.
    pub bound: Option<Duration>,
}

/// How the clock is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// By what.
    pub source: ClockSource,
    /// Bound on its error, where it is known.
    pub bound: Option<Duration>,
    /// The service that said so.
    pub by: Option<&'static str>,
}

impl State {
    /// A clock that nothing keeps.
    pub const FREE: Self = Self { source: ClockSource::Unsynchronised, bound: None, by: None };
}

/// Who keeps the clock, as far as is known; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Keeper {
    config: config::Clock,
    word: Arc<Mutex<Option<(Word, Instant)>>>,
}

impl Keeper {
    /// One that knows what the configuration says.
    #[must_use]
    pub fn new(config: config::Clock) -> Self {
        Self { config, word: Arc::default() }
    }

    /// Asks the time services; takes a few seconds at most.
    pub fn ask(&self) {
        let word = ask().map(|word| (word, Instant::now()));
        *self.word.lock().unwrap_or_else(PoisonError::into_inner) = word;
    }

    /// How the clock is kept, with the kernel in that state.
    #[must_use]
    pub fn state(&self, discipline: Option<Discipline>) -> State {
        let word = *self.word.lock().unwrap_or_else(PoisonError::into_inner);
        let word = word.map(|(word, at)| (word, at.elapsed()));
        discipline.map_or(State::FREE, |discipline| state(&self.config, discipline, word))
    }
}

fn state(config: &config::Clock, kernel: Discipline, word: Option<(Word, Duration)>) -> State {
    if !kernel.synchronised {
        return State::FREE;
    }
    let said = word.map_or(ClockSource::Kernel, |(word, _)| word.source);
    let bound = match word {
        None => Some(kernel.max_error),
        Some((word, age)) => {
            let grown = |bound: Duration| bound.saturating_add(age / SLEW_DIVISOR);
            word.bound.map(|bound| kernel.max_error.max(grown(bound)))
        }
    };
    State {
        source: config.reference.unwrap_or(said),
        bound: bound.map(|b| b.saturating_add(kernel.pending + config.reference_error)),
        by: word.map(|(word, _)| word.by),
    }
}

fn ask() -> Option<Word> {
    let said = output("chronyc", &["-n", "-c", "tracking"]);
    if let Some(word) = said.and_then(|csv| chrony(&csv)) {
        return Some(word);
    }
    if !Path::new(TIMESYNCD_HAS_SET).exists() {
        return None;
    }
    let said = output("timedatectl", &["--no-pager", "timesync-status"]);
    Some(timesyncd(&said.unwrap_or_default()))
}

/// What a programme prints, if it ends well and in time.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let until = Instant::now() + PATIENCE;
    while child.try_wait().ok()?.is_none() {
        if Instant::now() >= until {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `chronyc -n -c tracking`. The bound is that of chronyc(1): offset still to be slewed away, root
/// dispersion, and half the root delay. `None` where it follows nothing.
fn chrony(csv: &str) -> Option<Word> {
    let fields: Vec<_> = csv.trim().split(',').collect();
    let [id, name, stratum, _, offset, _, _, _, _, _, delay, dispersion, _, leap] = fields[..]
    else {
        return None;
    };
    if id == CHRONY_LOCAL || leap == "Not synchronised" {
        return None;
    }
    let seconds = |text: &str| {
        let seconds: f64 = text.parse().ok()?;
        Duration::try_from_secs_f64(seconds.abs()).ok()
    };
    let bound =
        seconds(offset)?.saturating_add(seconds(dispersion)?).saturating_add(seconds(delay)? / 2);
    // Stratum 1 is what has a reference clock of its own; chrony names it by its driver or `refid`.
    let source = match (stratum.parse().ok()?, name.get(..3)) {
        (1_u8, Some("PHC" | "PTP")) => ClockSource::Ptp,
        (1, Some("GPS" | "PPS" | "NME" | "GNS")) => ClockSource::Gps,
        (1, _) => ClockSource::Kernel,
        _ => ClockSource::Ntp,
    };
    Some(Word { by: "chrony", source, bound: Some(bound) })
}

/// `timedatectl timesync-status`. The bound is the server's root distance, half the way to it and
/// back, and the jitter of that; unknown where it does not say.
fn timesyncd(status: &str) -> Word {
    let value = |key: &str| {
        let of = |line: &str| Some(line.trim().strip_prefix(key)?.trim().to_owned());
        time_span(status.lines().find_map(of)?.split('(').next()?)
    };
    let bound = || {
        let to_server = (value("Delay:")? / 2).saturating_add(value("Jitter:")?);
        Some(value("Root distance:")?.saturating_add(to_server))
    };
    Word { by: "systemd-timesyncd", source: ClockSource::Ntp, bound: bound() }
}

/// systemd's time spans: `1min 2.5s`, `34.9ms`, `854us`, `0`; a sign is ignored.
fn time_span(text: &str) -> Option<Duration> {
    let mut span = Duration::ZERO;
    for part in text.split_whitespace() {
        let part = part.trim_start_matches(['+', '-']);
        let unit = part.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(part.len());
        let (number, unit) = part.split_at(unit);
        let seconds = match unit {
            "us" | "μs" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "min" => 60.0,
            "h" => 3600.0,
            "" if number == "0" => 0.0,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        span = span.saturating_add(part);
    }
    Some(span)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEPT: Discipline = Discipline {
        synchronised: true,
        max_error: Duration::from_micros(2400),
        pending: Duration::ZERO,
    };

    fn tracking(id: &str, name: &str, stratum: u8, leap: &str) -> String {
        format!(
            "{id},{name},{stratum},1772349300.1,-0.000250000,0.00002,0.00003,-8.1,0.0,0.1,0.010000000,0.001500000,64.2,{leap}\n"
        )
    }

    #[test]
    fn chrony_names_what_it_follows_and_its_bound() {
        let source = |id, name, stratum| {
            chrony(&tracking(id, name, stratum, "Normal")).map(|word| word.source)
        };
        assert_eq!(source("C0000201", "192.0.2.1", 3), Some(ClockSource::Ntp));
        assert_eq!(source("50484330", "PHC0", 1), Some(ClockSource::Ptp));
        assert_eq!(source("50505300", "PPS", 1), Some(ClockSource::Gps));
        assert_eq!(source("53484D30", "SHM0", 1), Some(ClockSource::Kernel));
        assert_eq!(source("7F7F0101", "", 10), None, "its own clock is no reference");
        assert_eq!(chrony(&tracking("00000000", "", 0, "Not synchronised")), None);
        assert_eq!(chrony("506 Cannot talk to daemon"), None);
        // As chrony 4.3 printed it.
        let seen = "7F000001,127.0.0.1,2,1795765243.940266764,-0.000001550,0.000000058,\
                    0.000000197,0.002,0.002,0.167,0.000006574,0.000002285,0.5,Normal\n";
        let word = chrony(seen).unwrap();
        assert_eq!((word.source, word.bound), (ClockSource::Ntp, Some(Duration::from_nanos(7122))));
        let word = chrony(&tracking("C0000201", "192.0.2.1", 3, "Normal")).unwrap();
        assert_eq!(word.bound, Some(Duration::from_micros(250 + 1500 + 5000)));
    }

    #[test]
    fn timesyncd_is_ntp_with_its_servers_distance_or_with_no_bound() {
        let status = "\
       Server: 192.0.2.1 (ntp.example.org)
Poll interval: 32s (min: 32s; max 34min 8s)
Root distance: 14.678ms (max: 5s)
       Offset: -2.044ms
        Delay: 67.187ms
       Jitter: 854us
 Packet count: 2";
        let word = timesyncd(status);
        assert_eq!(word.source, ClockSource::Ntp);
        assert_eq!(word.bound, Some(Duration::from_nanos(14_678_000 + 33_593_500 + 854_000)));
        assert_eq!(timesyncd("").bound, None);
        assert_eq!(time_span("1min 2.5s"), Some(Duration::from_millis(62_500)));
        assert_eq!(time_span("a while"), None);
    }

    #[test]
    fn the_configuration_names_the_reference_and_a_free_clock_has_none() {
        let none = config::Clock::default();
        let ptp =
            config::Clock { reference: Some(ClockSource::Ptp), reference_error: Duration::ZERO };
        assert_eq!(state(&ptp, KEPT, None).source, ClockSource::Ptp);
        assert_eq!(state(&ptp, KEPT, None).bound, Some(KEPT.max_error));
        assert_eq!(state(&none, KEPT, None).source, ClockSource::Kernel);
        let free = Discipline { synchronised: false, ..KEPT };
        assert_eq!(state(&ptp, free, None), State::FREE);
        assert_eq!(Keeper::new(ptp).state(None), State::FREE);
    }

    #[test]
    fn the_bound_is_the_larger_one_grown_and_what_is_still_to_be_slewed_and_the_reference_itself() {
        let config =
            config::Clock { reference: None, reference_error: Duration::from_micros(1000) };
        let kernel = Discipline { pending: Duration::from_micros(300), ..KEPT };
        let word = |bound| Word { by: "chrony", source: ClockSource::Ntp, bound };
        let bound =
            |bound| state(&config, kernel, Some((word(bound), Duration::from_secs(2)))).bound;
        // 5 ms, 500 ppm of 2 s, 0.3 ms pending, 1 ms of the reference.
        assert_eq!(bound(Some(Duration::from_millis(5))), Some(Duration::from_micros(7300)));
        assert_eq!(bound(Some(Duration::ZERO)), Some(Duration::from_micros(3700)));
        assert_eq!(bound(None), None, "the kernel's zero is no bound");
    }

    #[test]
    fn a_programme_that_is_not_there_or_hangs_says_nothing() {
        assert_eq!(output("no-such-programme", &[]), None);
        assert_eq!(output("false", &[]), None);
        assert_eq!(output("echo", &["so"]).as_deref(), Some("so\n"));
        assert_eq!(output("sleep", &["60"]), None);
    }

    proptest! {
        #[test]
        fn whatever_a_service_prints_nothing_breaks(text in any::<String>(), fields in proptest::collection::vec("[-0-9.eA-Z]{0,12}", 14)) {
            chrony(&text);
            chrony(&fields.join(","));
            timesyncd(&text);
            time_span(&text);
        }
    }
}
