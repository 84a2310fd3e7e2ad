//! Another client that connects under this pole's name: counted, said, and not fought with.
//!
//! Pure. A broker lets one client of a name in and puts the other out. Where both come back at
//! once they do nothing else any more, so each takeover makes the next pause longer.
//!
//! MQTT 5 brokers say so (0x8E), but mosquitto does only from 2.0.15 on: before, it closes without a
//! word. Closed so several times in a row and taken back at the next try, another client is
//! suspected, and called a suspicion.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::validity::date;

/// Pause after the first takeover.
pub const PAUSE_MIN: Duration = Duration::from_secs(15);
/// Longest pause.
pub const PAUSE_MAX: Duration = Duration::from_secs(300);
/// How long a takeover is told of, connected or not.
pub const TOLD_FOR: Duration = Duration::from_secs(3600);

/// Closed without a word and taken back so often …
pub const SUSPECTED_AFTER: usize = 3;
/// … within so long, and another client is suspected.
pub const SUSPECTED_WITHIN: Duration = Duration::from_secs(600);

/// The takeovers of late.
#[derive(Debug, Default)]
pub struct Takeovers {
    count: u32,
    last: Option<(Instant, Timestamp)>,
    closed_silently: bool,
    returns: VecDeque<Instant>,
    suspected: Option<Instant>,
}

fn is_told(since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since) < TOLD_FOR
}

impl Takeovers {
    /// Takes one in; how long to stay away.
    pub fn note(&mut self, now: Instant, time: Timestamp) -> Duration {
        let told = self.last.is_some_and(|(last, _)| is_told(last, now));
        self.count = if told { self.count.saturating_add(1) } else { 1 };
        self.last = Some((now, time));
        PAUSE_MIN.saturating_mul(2_u32.saturating_pow(self.count - 1)).min(PAUSE_MAX)
    }

    /// An accepted connection was closed without a word (`silently`), or any attempt ended
    /// otherwise.
    pub fn ended(&mut self, silently: bool) {
        self.closed_silently = silently;
    }

    /// The broker has accepted a connection.
    pub fn accepted(&mut self, now: Instant) {
        if !std::mem::take(&mut self.closed_silently) {
            return;
        }
        self.returns.push_back(now);
        if self.returns.len() > SUSPECTED_AFTER {
            self.returns.pop_front();
        }
        let recent = |first: &Instant| now.saturating_duration_since(*first) < SUSPECTED_WITHIN;
        if self.returns.len() == SUSPECTED_AFTER && self.returns.front().is_some_and(recent) {
            self.suspected = Some(now);
        }
    }

    /// What is to be said of them.
    #[must_use]
    pub fn word(&self, now: Instant) -> Option<String> {
        if let Some((_, time)) = self.last.filter(|(last, _)| is_told(*last, now)) {
            let times =
                if self.count == 1 { "once".into() } else { format!("{} times", self.count) };
            return Some(format!(
                "another client used this pole's name {times}, last at {}: look for a second unit \
                 with this [site], suspect a copied key, and revoke its certificate",
                date(time)
            ));
        }
        self.suspected.filter(|since| is_told(*since, now)).map(|_| {
            "the broker closed the connection without a word again and again and took us back: \
             another client may use this pole's name; look at the broker's log, and for a second \
             unit with this [site]"
                .into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_units_of_one_name_do_not_fight_each_second() {
        let (mut takeovers, start) = (Takeovers::default(), Instant::now());
        let mut note =
            |s| takeovers.note(start + Duration::from_secs(s), Timestamp::UNIX_EPOCH).as_secs();
        assert_eq!([0, 60, 120, 180, 240, 300].map(&mut note), [15, 30, 60, 120, 240, 300]);
        assert_eq!((0..100).map(|_| note(400)).last(), Some(300), "however often");
        assert_eq!(note(400 + TOLD_FOR.as_secs()), 15, "an old story does not count");
    }

    #[test]
    fn a_takeover_is_told_of_for_an_hour() {
        let (mut takeovers, start) = (Takeovers::default(), Instant::now());
        assert_eq!(takeovers.word(start), None);
        takeovers.note(start, Timestamp::UNIX_EPOCH);
        takeovers.note(start, Timestamp::UNIX_EPOCH);
        let words = takeovers.word(start + Duration::from_secs(3599)).unwrap();
        assert!(words.contains("2 times, last at 1970-01-01 00:00 UTC"), "{words}");
        assert_eq!(takeovers.word(start + TOLD_FOR), None);
    }

    #[test]
    fn closings_without_a_word_are_a_suspicion_only_when_the_broker_takes_us_back_each_time() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut takeovers = Takeovers::default();
        for s in 0..10 {
            // The broker was away in between.
            takeovers.ended(true);
            takeovers.ended(false);
            takeovers.accepted(at(s));
        }
        assert_eq!(takeovers.word(at(10)), None);
        for s in [300, 600, 900, 1200] {
            takeovers.ended(true);
            takeovers.accepted(at(s));
        }
        assert_eq!(takeovers.word(at(1200)), None, "each may be the broker's restart");
        takeovers.ended(true);
        takeovers.accepted(at(1201));
        let words = takeovers.word(at(1202)).unwrap();
        assert!(words.contains("another client may use"), "{words}");
        assert_eq!(takeovers.word(at(1201) + TOLD_FOR), None);
    }
}
