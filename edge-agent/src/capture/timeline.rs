//! A frame's place in time → its [`ExposureTime`].
//!
//! Cameras and clips at their own pace: the frame's time on the pipeline's clock, mapped to UTC.
//! Clips as fast as they go: the clip's start plus the position; each repetition goes on where the
//! one before ended. Times of one clip never go back.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use jiff::{SignedDuration, Timestamp};

use super::{
    pipeline::{Pipeline, Timing},
    source::{Pace, Plan},
};
use crate::{
    clock::{ClockSource, ExposureTime, Keeper, UtcClock},
    config::Source,
};

/// A frame cannot be older than this when it is taken: the source's times are wrong then, and
/// the time of taking it stands in.
const OLDEST: Duration = Duration::from_secs(10);
/// How long a clip's frame lasts where nothing says so.
const FRAME_DURATION: Duration = Duration::from_millis(33);

/// The times of one source, over all its pipelines.
#[derive(Debug)]
pub(crate) struct Timeline {
    clock: UtcClock,
    lateness: Duration,
    clip: Option<Clip>,
    /// Frames are from a recording, though they come by the clock.
    recording: bool,
}

/// Positions in a clip that is read as fast as it goes.
#[derive(Debug)]
struct Clip {
    start: Timestamp,
    /// What the repetitions so far took.
    played: Duration,
    /// The last frame's position, from the beginning of the present repetition.
    last: Duration,
    /// Where it ends.
    end: Duration,
}

impl Clip {
    fn at(&mut self, timing: Timing) -> Timestamp {
        // A frame without a time follows the one before; one that goes back is a damaged stamp.
        let position = timing.position.unwrap_or(self.end).max(self.last);
        self.last = position;
        self.end = self.end.max(position + timing.duration.unwrap_or(FRAME_DURATION));
        let since = SignedDuration::try_from(self.played + position).unwrap_or_default();
        self.start.checked_add(since).unwrap_or(self.start)
    }

    fn repeat(&mut self) {
        self.played += std::mem::take(&mut self.end);
        self.last = Duration::ZERO;
    }
}

impl Timeline {
    /// A timeline for the source that `plan` was made from.
    pub(crate) fn new(plan: &Plan, source: &Source, keeper: Keeper) -> Self {
        let path = match source {
            Source::File { path, .. } => Some(path),
            _ => None,
        };
        let clip = path.filter(|_| plan.pace == Pace::Unpaced).map(|path| Clip {
            start: modified(path),
            played: Duration::ZERO,
            last: Duration::ZERO,
            end: Duration::ZERO,
        });
        let clock = UtcClock::new(keeper);
        Self { clock, lateness: plan.lateness, clip, recording: path.is_some() }
    }

    /// When a frame of `pipeline` was exposed.
    pub(crate) fn exposure(&mut self, pipeline: &Pipeline, timing: Timing) -> ExposureTime {
        if let Some(clip) = &mut self.clip {
            return ExposureTime {
                utc: clip.at(timing),
                uncertainty: None,
                source: ClockSource::Recording,
                since_boot: None,
            };
        }
        let now = pipeline.clock_ns();
        let at = plausible(timing.clock_ns, now);
        let exposure = self.clock.exposure(|| pipeline.clock_ns(), at, self.lateness);
        match self.recording {
            true => ExposureTime { uncertainty: None, source: ClockSource::Recording, ..exposure },
            false => exposure,
        }
    }

    /// The clip begins again.
    pub(crate) fn repeat(&mut self) {
        if let Some(clip) = &mut self.clip {
            clip.repeat();
        }
    }
}

/// A frame's time in ns where it can be true, else `now`.
fn plausible(at: Option<u64>, now: u64) -> u64 {
    at.filter(|&at| at <= now && u128::from(now - at) <= OLDEST.as_nanos()).unwrap_or(now)
}

/// When a file was last written, which stands for the clip's start; the epoch where that is not known.
fn modified(path: &Path) -> Timestamp {
    let written = path.metadata().and_then(|meta| meta.modified());
    let written = written.unwrap_or(SystemTime::UNIX_EPOCH);
    Timestamp::try_from(written).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn timing(position_ms: Option<u64>) -> Timing {
        let duration = Some(Duration::from_millis(40));
        Timing { clock_ns: None, position: position_ms.map(Duration::from_millis), duration }
    }

    fn clip() -> Clip {
        let zero = Duration::ZERO;
        Clip { start: Timestamp::UNIX_EPOCH, played: zero, last: zero, end: zero }
    }

    #[test]
    fn a_repeated_clip_goes_on_where_it_ended() {
        let mut clip = clip();
        let mut ms = |position| clip.at(timing(position)).as_millisecond();
        assert_eq!([ms(Some(0)), ms(Some(40)), ms(None)], [0, 40, 80]);
        clip.repeat();
        assert_eq!(clip.at(timing(Some(0))).as_millisecond(), 120);
        assert_eq!(clip.at(timing(Some(40))).as_millisecond(), 160);
    }

    #[test]
    fn a_time_that_cannot_be_true_becomes_the_time_of_taking_the_frame() {
        let second = 1_000_000_000;
        assert_eq!(plausible(Some(95 * second), 100 * second), 95 * second);
        assert_eq!(plausible(Some(5 * second), 100 * second), 100 * second);
        assert_eq!(plausible(Some(101 * second), 100 * second), 100 * second);
        assert_eq!(plausible(None, 100 * second), 100 * second);
    }

    proptest! {
        #[test]
        fn whatever_a_damaged_clip_states_its_times_never_go_back(
            positions in proptest::collection::vec(proptest::option::of(0_u64..100_000), 1..50),
            repeat_at in 0_usize..50,
        ) {
            let mut clip = clip();
            let mut last = Timestamp::UNIX_EPOCH;
            for (i, position) in positions.into_iter().enumerate() {
                if i == repeat_at {
                    clip.repeat();
                }
                let at = clip.at(timing(position));
                prop_assert!(at >= last);
                last = at;
            }
        }
    }
}
