//! A cap of bytes per hour. Pure: time comes in as a parameter.
//!
//! A bucket with debt: a message may go while the bucket is not in debt, and is then charged with
//! what it cost, known only when it is written. So a message larger than the bucket still goes, in
//! its time, and in any hour at most the cap and one message go. (`governor` refuses what is larger
//! than its bucket for ever, and can't be asked without being charged.)

use std::time::{Duration, Instant};

/// Share of an hour's bytes that may go at once, after a pause.
pub const BURST_SHARE: f64 = 1.0 / 12.0;

const HOUR_S: f64 = 3600.0;

/// One lane's cap, or none.
#[derive(Debug, Clone, PartialEq)]
pub struct Allowance(Option<Bucket>);

#[derive(Debug, Clone, PartialEq)]
struct Bucket {
    bytes_per_s: f64,
    burst: f64,
    balance: f64,
    /// When `balance` was right.
    at: Option<Instant>,
}

impl Allowance {
    /// At most so many bytes in any hour; `None`: as many as the line takes.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "bytes of an hour are far below 2^53")]
    pub fn per_hour(bytes: Option<u64>) -> Self {
        Self(bytes.map(|bytes| {
            let burst = bytes as f64 * BURST_SHARE;
            let bytes_per_s = (bytes as f64 - burst) / HOUR_S;
            Bucket { bytes_per_s, burst, balance: burst, at: None }
        }))
    }

    /// Whether a message may go now.
    #[must_use]
    pub fn is_open(&self, now: Instant) -> bool {
        self.0.as_ref().is_none_or(|b| b.balance_at(now) >= 0.0)
    }

    /// A message went.
    #[expect(clippy::cast_precision_loss, reason = "a message is far below 2^53 bytes")]
    pub fn charge(&mut self, bytes: usize, now: Instant) {
        if let Some(bucket) = &mut self.0 {
            bucket.balance = bucket.balance_at(now) - bytes as f64;
            bucket.at = Some(now);
        }
    }

    /// When the next message may go, where none may at the last charge.
    #[must_use]
    pub fn opens_at(&self) -> Option<Instant> {
        let bucket = self.0.as_ref().filter(|b| b.balance < 0.0)?;
        let wait = Duration::try_from_secs_f64(-bucket.balance / bucket.bytes_per_s).ok()?;
        // Rounded up, so that it is open then.
        bucket.at?.checked_add(wait + Duration::from_millis(1))
    }
}

impl Bucket {
    fn balance_at(&self, now: Instant) -> f64 {
        let gone = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        (self.balance + gone.as_secs_f64() * self.bytes_per_s).min(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn without_a_cap_it_is_always_open() {
        let now = Instant::now();
        let mut free = Allowance::per_hour(None);
        free.charge(usize::MAX, now);
        assert!(free.is_open(now));
        assert_eq!(free.opens_at(), None);
    }

    #[test]
    fn a_message_larger_than_the_bucket_goes_and_is_paid_for() {
        let now = Instant::now();
        let mut small = Allowance::per_hour(Some(1200));
        assert!(small.is_open(now));
        small.charge(2300, now);
        let opens = small.opens_at().unwrap();
        assert!(opens > now + Duration::from_secs(7100) && opens < now + Duration::from_secs(7300));
        assert!(!small.is_open(opens - Duration::from_secs(1)) && small.is_open(opens));
    }

    proptest! {
        #[test]
        fn no_hour_has_more_than_the_cap_and_one_message(
            cap in 1_000u64..1_000_000, sizes in proptest::collection::vec((1usize..50_000, 0u64..600), 1..200),
        ) {
            let mut allowance = Allowance::per_hour(Some(cap));
            let mut now = Instant::now();
            let mut went: Vec<(Instant, usize)> = Vec::new();
            for (bytes, pause) in sizes {
                now += Duration::from_secs(pause);
                if allowance.is_open(now) {
                    allowance.charge(bytes, now);
                    went.push((now, bytes));
                } else {
                    let opens = allowance.opens_at().expect("it opens again");
                    prop_assert!(opens > now && allowance.is_open(opens));
                }
            }
            for (start, _) in &went {
                let hour = went.iter().filter(|(at, _)| {
                    at >= start && *at < *start + Duration::from_secs(3600)
                });
                let bytes: Vec<_> = hour.map(|(_, b)| *b).collect();
                let without_last: usize = bytes[..bytes.len() - 1].iter().sum();
                prop_assert!(without_last as f64 <= cap as f64 + 1.0, "{without_last} of {cap}");
            }
        }
    }
}
