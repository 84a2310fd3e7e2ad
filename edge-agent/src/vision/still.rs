//! Photos → plates, best first: detection at more than one scale, as no time presses.
//!
//! A stream's camera is set up so that plates have a known size; a photo's plates have any. So where
//! the look at the configured width lets nothing be read for sure, a larger photo is looked at at
//! [`LARGE_WIDTH`]; where nothing sure is found, also at half and a quarter of the configured width on a
//! grey border, for plates that fill the picture. All are merged by overlap. Beside a plate that was
//! read, a small one farther off may so be missed.
//!
//! A small picture of a plate's proportions may *be* a plate, cut out by someone else. It is then
//! also read as a whole; that reading counts only where the reader is at least
//! [`MIN_WHOLE_CONFIDENCE`] sure and surer than of what was detected. Such a plate's score is the
//! reader's confidence, as the detector had no say in it.

use std::time::{Duration, Instant};

use super::{
    Detector, PlateDetection, Reader, Reading, Runtime, VisionError, detect::suppress,
    serial::SERIALS,
};
use crate::{
    capture::Plane,
    config::Vision,
    geometry::{Box2, Point, Quad},
};

/// Width that larger photos are also looked at in, in pixels.
pub const LARGE_WIDTH: usize = 1024;
/// A detection of this score makes the search at smaller scales unnecessary.
pub const SURE_SCORE: f32 = 0.5;
/// A sure detection with a text that is more likely right than wrong makes a large look unnecessary.
pub const SURE_TEXT: f32 = 0.5;
/// Grey border at the smaller scales, in pixels of the detector's canvas.
pub const BORDER: usize = 48;
/// Widest picture that may be a plate cut out.
pub const MAX_WHOLE_WIDTH: usize = 640;
/// Proportions (width over height) of pictures that may be a plate cut out: from above a camera's
/// 3:2 to a European plate's.
pub const WHOLE_ASPECT: std::ops::RangeInclusive<f32> = 1.6..=5.5;
/// Share of the picture that a detection must cover for the picture to be a plate cut out.
pub const WHOLE_SHARE: f32 = 0.45;
/// The reader's confidence below which a whole picture is no plate.
pub const MIN_WHOLE_CONFIDENCE: f32 = 0.6;

/// A plate in a photo.
#[derive(Debug, Clone, PartialEq)]
pub struct StillPlate {
    /// Corners in pixels of the photo.
    pub corners: Quad,
    /// The detector's score, 0 to 1.
    pub score: f32,
    /// What it says, look-alikes weighed by the serial formats.
    pub reading: Reading,
    /// The text by the picture alone.
    pub raw: String,
}

impl StillPlate {
    fn new(corners: Quad, score: f32, reading: Reading) -> Self {
        let characters = SERIALS.weigh(&reading.characters, reading.state.as_ref());
        let raw = reading.text();
        Self { corners, score, reading: Reading { characters, ..reading }, raw }
    }

    fn rank(&self) -> f32 {
        self.score * self.reading.confidence()
    }
}

/// What was found in a photo, and how long it took.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Found {
    /// Best first, by score times the text's confidence.
    pub plates: Vec<StillPlate>,
    /// Time spent detecting.
    pub detect: Duration,
    /// Time spent reading.
    pub read: Duration,
}

/// A detection and what was read of it; nothing where it is too narrow.
type Seen = (PlateDetection, Reading);

/// A detector and a reader for photos.
#[derive(Debug)]
pub struct Stills {
    /// The detector; its report says what runs it.
    pub detector: Detector,
    /// The reader; its report says what runs it.
    pub reader: Reader,
    width: usize,
    narrowest: f32,
    regions: bool,
}

impl Stills {
    /// Loads the models.
    ///
    /// # Errors
    /// As [`Detector::load`] and [`Reader::load`].
    pub fn load(runtime: &Runtime, config: &Vision) -> Result<Self, VisionError> {
        Ok(Self {
            detector: Detector::load(runtime, config)?,
            reader: Reader::load(runtime, config)?,
            width: config.detect_width,
            narrowest: config.min_plate_width,
            regions: !config.regions.is_empty(),
        })
    }

    /// Finds and reads the plates of a photo.
    ///
    /// # Errors
    /// As [`Detector::detect`] and [`Reader::read`].
    pub fn read(&mut self, luma: Plane<'_>) -> Result<Found, VisionError> {
        let mut found = Found::default();
        let mut seen = Vec::new();
        self.look(luma, &[(self.width, 0)], &mut seen, &mut found)?;
        let large = luma.width > self.width.max(LARGE_WIDTH * 3 / 4) && self.width < LARGE_WIDTH;
        let read = |(d, r): &Seen| d.score >= SURE_SCORE && r.confidence() >= SURE_TEXT;
        if large && !seen.iter().any(read) {
            self.look(luma, &[(LARGE_WIDTH, 0)], &mut seen, &mut found)?;
        }
        if seen.iter().all(|(d, _)| d.score < SURE_SCORE) {
            let width = self.width.min(luma.width);
            let small = [2, 4].map(|part| (width.div_ceil(part), BORDER));
            self.look(luma, &small, &mut seen, &mut found)?;
        }
        let whole = self.may_be_a_plate(luma, seen.first().map(|(best, _)| best));
        found.plates =
            seen.into_iter().map(|(d, r)| StillPlate::new(d.corners, d.score, r)).collect();
        if whole {
            let started = Instant::now();
            let corners = whole_picture(luma);
            let reading = self.reader.read(luma, &[corners])?.pop().unwrap_or_default();
            found.read += started.elapsed();
            let whole = StillPlate::new(corners, reading.confidence(), reading);
            let surest = found.plates.iter().map(|p| p.reading.confidence()).fold(0.0, f32::max);
            if whole.score >= MIN_WHOLE_CONFIDENCE && whole.reading.confidence() > surest {
                found.plates = vec![whole];
            }
        }
        found.plates.sort_by(|a, b| b.rank().total_cmp(&a.rank()));
        Ok(found)
    }

    /// Adds to what was `seen` what looks at these widths, each with its border, show. What is new is
    /// read, but for plates too narrow for it.
    fn look(
        &mut self,
        luma: Plane<'_>,
        looks: &[(usize, usize)],
        seen: &mut Vec<Seen>,
        found: &mut Found,
    ) -> Result<(), VisionError> {
        let started = Instant::now();
        let mut detections: Vec<PlateDetection> = seen.iter().map(|(d, _)| *d).collect();
        for &(width, border) in looks {
            detections.extend(self.detector.detect_at(luma, width, border)?);
            detections = suppress(detections);
        }
        found.detect += started.elapsed();

        let started = Instant::now();
        let place = |seen: &[Seen], d: PlateDetection| seen.iter().position(|(s, _)| *s == d);
        let mut fresh: Vec<PlateDetection> = detections.clone();
        fresh.retain(|d| d.corners.width() >= self.narrowest && place(seen, *d).is_none());
        let corners: Vec<Quad> = fresh.iter().map(|d| d.corners).collect();
        let readings = self.reader.read(luma, &corners)?;
        seen.extend(fresh.into_iter().zip(readings));
        *seen = (detections.into_iter())
            .map(|d| place(seen, d).map_or((d, Reading::default()), |i| seen.swap_remove(i)))
            .collect();
        found.read += started.elapsed();
        Ok(())
    }

    /// Whether the picture may be one plate, cut out; not where regions say where plates are.
    fn may_be_a_plate(&self, luma: Plane<'_>, best: Option<&PlateDetection>) -> bool {
        let aspect = luma.width as f32 / luma.height.max(1) as f32;
        if self.regions || luma.width > MAX_WHOLE_WIDTH || !WHOLE_ASPECT.contains(&aspect) {
            return false;
        }
        let picture =
            Box2 { width: luma.width as f32, height: luma.height as f32, ..Box2::default() };
        best.is_none_or(|best| best.corners.bounds().iou(&picture) >= WHOLE_SHARE)
    }
}

fn whole_picture(luma: Plane<'_>) -> Quad {
    let (w, h) = (luma.width as f32, luma.height as f32);
    Quad([Point::new(0.0, 0.0), Point::new(w, 0.0), Point::new(w, h), Point::new(0.0, h)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::fixtures;

    #[test]
    fn plates_too_narrow_to_read_are_found_and_left_without_a_text() {
        let models = fixtures::models("toy-detector");
        let (width, height) = (1280, 720);
        let mut data = vec![40_u8; width * height];
        for (x, y) in [(320, 160), (800, 480)] {
            (y..y + 16).for_each(|row| data[row * width + x..][..16].fill(255));
        }
        let texts = |min_plate_width| {
            let config = Vision { min_plate_width, ..fixtures::config(&models) };
            let mut stills = Stills::load(&fixtures::runtime(), &config).expect("loads");
            let luma = Plane { data: &data, width, height, stride: width };
            let found = stills.read(luma).expect("runs");
            found.plates.iter().map(|plate| plate.raw.clone()).collect::<Vec<_>>()
        };
        assert_eq!(texts(40.0), ["0A", "0A"], "64 pixels wide at the first look");
        let unread = texts(400.0);
        assert!(unread.len() >= 2 && unread.iter().all(String::is_empty), "{unread:?}");
    }
}
