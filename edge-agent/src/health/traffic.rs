//! Frames a second and passes of the day, out of counters that only grow. Pure.

use std::{collections::VecDeque, time::Duration};

use jiff::{Timestamp, civil::Date, tz::TimeZone};

/// The frame rate is the mean over so many samples (seconds).
const WINDOW_SAMPLES: usize = 10;

/// What has been counted since the agent started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// Frames taken.
    pub frames: u64,
    /// Passes that ended in a read.
    pub reads: u64,
    /// Passes whose plate could not be read.
    pub unread: u64,
}

/// What went by lately.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Traffic {
    /// Mean over the last seconds.
    pub frames_per_s: f64,
    /// Passes read since [`Self::since`].
    pub reads: u64,
    /// Passes not read since [`Self::since`].
    pub unread: u64,
    /// Midnight (the machine's time zone), or the start of the agent where that is later.
    pub since: Timestamp,
}

/// Keeps the last samples and the count at midnight.
#[derive(Debug)]
pub struct Sampler {
    /// By the time since the start, which nobody sets.
    window: VecDeque<(Duration, u64)>,
    day: Date,
    at_start_of_day: Counted,
    now: Counted,
    since: Timestamp,
}

impl Sampler {
    /// From the moment the counters were zero.
    #[must_use]
    pub fn new(started: Timestamp) -> Self {
        Self {
            window: VecDeque::from([(Duration::ZERO, 0)]),
            day: local_date(started),
            at_start_of_day: Counted::default(),
            now: Counted::default(),
            since: started,
        }
    }

    /// Takes the counters, `now` by the clock and `uptime` after the start.
    pub fn sample(&mut self, now: Timestamp, uptime: Duration, counted: Counted) {
        let day = local_date(now);
        if day != self.day {
            // Counted up to the last sample, at most a second before midnight.
            (self.day, self.at_start_of_day, self.since) = (day, self.now, now);
        }
        self.now = counted;
        self.window.push_back((uptime, counted.frames));
        while self.window.len() > WINDOW_SAMPLES + 1 {
            self.window.pop_front();
        }
    }

    /// As of the last sample.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let rate = match (self.window.front(), self.window.back()) {
            (Some((from, a)), Some((to, b))) if to > from => {
                #[expect(clippy::cast_precision_loss, reason = "frames of ten seconds")]
                let frames = b.saturating_sub(*a) as f64;
                frames / to.abs_diff(*from).as_secs_f64()
            }
            _ => 0.0,
        };
        Traffic {
            frames_per_s: rate,
            reads: self.now.reads.saturating_sub(self.at_start_of_day.reads),
            unread: self.now.unread.saturating_sub(self.at_start_of_day.unread),
            since: self.since,
        }
    }
}

fn local_date(t: Timestamp) -> Date {
    t.to_zoned_datetime(TimeZone::system()).date()
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn at(base: Timestamp, seconds: i64) -> Timestamp {
        base + SignedDuration::from_secs(seconds)
    }

    fn up(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_rate_is_of_the_last_ten_seconds_and_falls_to_zero_in_silence() {
        let start = Timestamp::UNIX_EPOCH;
        let mut s = Sampler::new(start);
        for i in 1..=60 {
            let counted = Counted { frames: 30 * i, ..Counted::default() };
            s.sample(at(start, i.cast_signed()), up(i), counted);
        }
        assert!((s.traffic().frames_per_s - 30.0).abs() < 1e-9);
        for i in 61_u64..=71 {
            let counted = Counted { frames: 1800, ..Counted::default() };
            s.sample(at(start, i.cast_signed()), up(i), counted);
        }
        assert_eq!(s.traffic().frames_per_s, 0.0);
    }

    #[test]
    fn passes_are_counted_from_midnight() {
        let start = Timestamp::UNIX_EPOCH;
        let mut s = Sampler::new(start);
        s.sample(at(start, 10), up(10), Counted { reads: 5, unread: 1, frames: 0 });
        assert_eq!((s.traffic().reads, s.traffic().unread), (5, 1));
        assert_eq!(s.traffic().since, start);
        // More than a day later it is another day in every time zone.
        s.sample(at(start, 90_000), up(90_000), Counted { reads: 7, unread: 1, frames: 0 });
        assert_eq!((s.traffic().reads, s.traffic().unread), (2, 0));
        assert_eq!(s.traffic().since, at(start, 90_000));
    }

    #[test]
    fn a_clock_that_is_set_leaves_the_rate_as_it_is() {
        let start = Timestamp::UNIX_EPOCH;
        let mut s = Sampler::new(start);
        for (i, wall) in [(1, 1), (2, 259_202), (3, 259_203), (4, -400_000), (5, -399_999)] {
            s.sample(at(start, wall), up(i), Counted { frames: 30 * i, ..Counted::default() });
            assert!((s.traffic().frames_per_s - 30.0).abs() < 1e-9);
        }
    }
}
