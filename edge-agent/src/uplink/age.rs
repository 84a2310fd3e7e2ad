//! How old a record is when it is sent, whatever was done to the clock since. Pure but for [`Now`].
//!
//! Within one boot the machine's own clock tells, which nobody sets: a fresh read stays fresh and an
//! old one old through any step. Across a reboot only the real-time clock can tell, and only where
//! it was kept both then and now. An age that is not known, or below zero, is historical: what
//! may be old must not be dispatched as live.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use milepost_wire::BootTime;
use serde::Deserialize;
use uuid::Uuid;

use crate::{
    clock::{self, Discipline, Moment},
    outbox::Record,
};

/// A record may lie so far in the future: two clocks can't be read at once.
const FUTURE: SignedDuration = SignedDuration::from_secs(1);

/// The present.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    utc: Timestamp,
    synchronised: bool,
    boot_id: Option<Uuid>,
    since_boot: Duration,
}

impl Now {
    pub(super) fn read() -> Self {
        let Moment { utc, since_boot, .. } = Moment::now();
        let synchronised = Discipline::ask().is_ok_and(|d| d.synchronised);
        Self { utc, synchronised, boot_id: clock::boot_id(), since_boot }
    }
}

/// What a record's body says of its time; nothing of it where the record is no capture.
#[derive(Debug, Default, Deserialize)]
struct Captured {
    #[serde(default)]
    boot_time: Option<BootTime>,
    #[serde(default)]
    time_source: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Body {
    #[serde(default)]
    data: Captured,
}

/// Whether a record is older than the live window, or may be.
pub(super) fn is_historical(record: &Record, live_window: Duration, now: &Now) -> bool {
    let Body { data } = serde_json::from_slice(&record.body).unwrap_or_default();
    let age = match data.boot_time {
        Some(taken) if Some(taken.boot_id) == now.boot_id => {
            SignedDuration::try_from_secs_f64(now.since_boot.as_secs_f64() - taken.since_boot_s)
                .ok()
        }
        // Of another boot.
        Some(_) if !now.synchronised => None,
        Some(_) if data.time_source.as_deref() == Some("unsynchronised") => None,
        _ => Some(now.utc.duration_since(record.captured_at)),
    };
    let live = age.is_some_and(|age| age >= -FUTURE && age.abs().unsigned_abs() <= live_window);
    !live
}

#[cfg(test)]
mod tests {
    use milepost_wire::{Data, Event, TimeSource, examples};
    use proptest::prelude::*;

    use super::*;
    use crate::outbox::Kind;

    const WINDOW: Duration = Duration::from_secs(300);
    const BOOT: Uuid = Uuid::from_u128(1);

    fn record<T: Data>(event: &Event<T>) -> Record {
        Record {
            sequence: 1,
            id: event.id,
            kind: Kind::Read,
            captured_at: event.time,
            photos: Vec::new(),
            held: false,
            delivered: false,
            key: None,
            body: event.to_json().unwrap(),
        }
    }

    /// A read of `boot_id`, taken 1000 s after the machine's start.
    fn read(boot_id: Uuid, source: TimeSource) -> Record {
        let mut event = examples::read();
        event.data.time_source = source;
        event.data.boot_time =
            Some(BootTime { boot_id, since_boot_s: 1000.0, uncertainty_s: 0.04 });
        record(&event)
    }

    /// So many seconds after the read by the machine's own clock, and by the real-time clock.
    fn now(after_s: u64, by_wall_s: i64, synchronised: bool) -> Now {
        Now {
            utc: examples::read().time + SignedDuration::from_secs(by_wall_s),
            synchronised,
            boot_id: Some(BOOT),
            since_boot: Duration::from_secs(1000 + after_s),
        }
    }

    proptest! {
        #[test]
        fn no_step_makes_a_fresh_read_historical_or_an_old_one_live(
            after_s in 0u64..100_000, by_wall_s in -4_000_000_000i64..4_000_000_000, kept in any::<bool>(),
        ) {
            let read = read(BOOT, TimeSource::Unsynchronised);
            let historical = is_historical(&read, WINDOW, &now(after_s, by_wall_s, kept));
            prop_assert_eq!(historical, after_s > WINDOW.as_secs());
        }

        #[test]
        fn whatever_a_body_holds_an_answer_comes(body in proptest::collection::vec(any::<u8>(), 0..60)) {
            let garbage = Record { body, ..read(BOOT, TimeSource::Ntp) };
            is_historical(&garbage, WINDOW, &now(0, 0, true));
        }
    }

    #[test]
    fn a_read_of_an_earlier_boot_is_live_only_if_two_kept_clocks_say_so() {
        let earlier = |source| read(Uuid::from_u128(2), source);
        let ntp = earlier(TimeSource::Ntp);
        assert!(!is_historical(&ntp, WINDOW, &now(0, 100, true)));
        assert!(is_historical(&ntp, WINDOW, &now(0, 301, true)));
        assert!(is_historical(&ntp, WINDOW, &now(0, -5, true)), "from the future");
        assert!(is_historical(&ntp, WINDOW, &now(0, 100, false)), "a clock that was set by guess");
        let free = earlier(TimeSource::Unsynchronised);
        assert!(is_historical(&free, WINDOW, &now(0, 100, true)));
    }

    #[test]
    fn what_is_no_capture_goes_by_the_real_time_clock() {
        let eviction = record(&examples::eviction());
        let at = |s| Now {
            utc: eviction.captured_at + SignedDuration::from_secs(s),
            ..now(0, 0, false)
        };
        assert!(!is_historical(&eviction, WINDOW, &at(0)));
        assert!(is_historical(&eviction, WINDOW, &at(301)));
        assert!(is_historical(&eviction, WINDOW, &at(-5)));
    }
}
