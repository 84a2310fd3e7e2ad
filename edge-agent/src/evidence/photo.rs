//! Cutting and encoding: frame → plate close-up, frame → context photo, as JPEG with sha256.
//!
//! Colour comes from the frame's chroma (NV12, taken as ITU-R BT.601, as OpenCV has it: the hues of
//! an HD stream come out a few levels off, which no one judges a plate by); a monochrome frame
//! gives a grey photo. Metadata are not written: time and place are the read's.

use opencv::{
    core::{Mat, Rect, Size, Vector},
    imgcodecs, imgproc,
    prelude::*,
};

use super::EvidenceError;
use crate::{
    capture::{Frame, Plane},
    config,
    digest::sha256_hex,
    geometry::Quad,
    vision::{
        VisionError,
        plane::{View, area_around, whole, with_area, with_pairs},
    },
};

/// Margin around the plate in its close-up, as a share of the plate's width and height.
pub const CLOSE_UP_MARGIN: f32 = 0.25;

/// An encoded photo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jpeg {
    /// The file.
    pub bytes: Vec<u8>,
    /// Lower-case hexadecimal sha256 of `bytes`.
    pub sha256: String,
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
}

/// The plate with a quarter of itself around, at the frame's own resolution and not straightened:
/// evidence shows what the camera saw.
///
/// # Errors
/// [`EvidenceError`].
pub fn close_up(
    frame: &Frame,
    corners: &Quad,
    config: &config::Evidence,
) -> Result<Jpeg, EvidenceError> {
    let luma = frame.luma();
    let lost = EvidenceError::Corners { width: luma.width, height: luma.height };
    let area = area_around(corners, CLOSE_UP_MARGIN, whole(luma)?).ok_or(lost)?;
    let picture = match frame.chroma() {
        Some(chroma) => colour(luma, chroma, even(area, luma), None)?,
        None => with_area(luma, area, |cut| Ok(cut.try_clone()?))?,
    };
    encode(&picture, config.jpeg_quality)
}

/// The whole frame, scaled down to at most `context_width`.
///
/// # Errors
/// [`EvidenceError`].
pub fn context(frame: &Frame, config: &config::Evidence) -> Result<Jpeg, EvidenceError> {
    let luma = frame.luma();
    let area = whole(luma)?;
    let width = config.context_width.min(luma.width);
    let height = (luma.height * width).div_ceil(luma.width);
    let size = Size::new(width as i32, height as i32);
    let picture = match frame.chroma() {
        Some(chroma) => colour(luma, chroma, even(area, luma), Some(size))?,
        None => with_area(luma, area, |cut| shrink(cut, size))?,
    };
    encode(&picture, config.jpeg_quality)
}

/// The area grown to even coordinates, as chroma has half the luma's resolution; shrunk where an
/// odd frame ends.
fn even(area: Rect, luma: Plane<'_>) -> Rect {
    let along = |at: i32, size: i32, most: usize| {
        let from = at & !1;
        let to = ((at + size + 1) & !1).min(most as i32 & !1).max(from + 2);
        (from, to - from)
    };
    let (x, width) = along(area.x, area.width, luma.width);
    let (y, height) = along(area.y, area.height, luma.height);
    Rect::new(x, y, width, height)
}

/// BGR of an even area, scaled to `size` (made even) first where given: a third of the work.
fn colour(
    luma: Plane<'_>,
    chroma: Plane<'_>,
    area: Rect,
    size: Option<Size>,
) -> Result<Mat, VisionError> {
    let half = Rect::new(area.x / 2, area.y / 2, area.width / 2, area.height / 2);
    let size = size.map_or_else(
        || Size::new(area.width, area.height),
        |s| Size::new((s.width & !1).max(2), (s.height & !1).max(2)),
    );
    let y = with_area(luma, area, |cut| shrink(cut, size))?;
    let uv =
        with_pairs(chroma, half, |cut| shrink(cut, Size::new(size.width / 2, size.height / 2)))?;
    let mut bgr = Mat::default();
    imgproc::cvt_color_two_plane(&y, &uv, &mut bgr, imgproc::COLOR_YUV2BGR_NV12)?;
    Ok(bgr)
}

fn shrink(cut: &View<'_>, size: Size) -> Result<Mat, VisionError> {
    if cut.size()? == size {
        return Ok(cut.try_clone()?);
    }
    let mut small = Mat::default();
    imgproc::resize(cut, &mut small, size, 0.0, 0.0, imgproc::INTER_AREA)?;
    Ok(small)
}

fn encode(picture: &Mat, quality: u8) -> Result<Jpeg, EvidenceError> {
    let mut bytes = Vector::<u8>::new();
    let settings =
        Vector::from_slice(&[imgcodecs::IMWRITE_JPEG_QUALITY, i32::from(quality.clamp(1, 100))]);
    let done =
        imgcodecs::imencode(".jpg", picture, &mut bytes, &settings).map_err(VisionError::from)?;
    if !done || bytes.is_empty() {
        return Err(EvidenceError::Encode { width: picture.cols(), height: picture.rows() });
    }
    let bytes = bytes.to_vec();
    Ok(Jpeg {
        sha256: sha256_hex(&bytes),
        bytes,
        width: picture.cols() as usize,
        height: picture.rows() as usize,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::{ClockSource, ExposureTime},
        geometry::Point,
        vision::Photo,
    };

    const CONFIG: config::Evidence = config::Evidence { jpeg_quality: 90, context_width: 320 };

    fn frame(width: usize, height: usize) -> Frame {
        let exposure = ExposureTime {
            utc: jiff::Timestamp::UNIX_EPOCH,
            uncertainty: None,
            source: ClockSource::Recording,
            since_boot: None,
        };
        let mut luma = vec![60_u8; width * height];
        for y in 100..140 {
            luma[y * width + 200..y * width + 300].fill(230);
        }
        Frame::from_luma(7, exposure, width, height, luma).expect("a frame")
    }

    fn plate() -> Quad {
        Quad(
            [(200., 100.), (300., 100.), (300., 140.), (200., 140.)].map(|(x, y)| Point::new(x, y)),
        )
    }

    #[test]
    fn the_close_up_shows_the_plate_with_its_margin_at_native_resolution() {
        let jpeg = close_up(&frame(640, 360), &plate(), &CONFIG).expect("cut");
        assert_eq!((jpeg.width, jpeg.height), (150, 60));
        let photo = Photo::decode(&jpeg.bytes).expect("a JPEG");
        assert_eq!((photo.width, photo.height), (150, 60));
        let at = |x: usize, y: usize| photo.luma().data[y * 150 + x];
        assert!(at(75, 30).abs_diff(230) < 6 && at(5, 30).abs_diff(60) < 6);
    }

    #[test]
    fn the_context_photo_is_the_whole_frame_scaled_down_and_never_up() {
        let jpeg = context(&frame(640, 360), &CONFIG).expect("made");
        assert_eq!((jpeg.width, jpeg.height), (320, 180));
        let jpeg = context(&frame(310, 150), &CONFIG).expect("made");
        assert_eq!((jpeg.width, jpeg.height), (310, 150));
    }

    #[test]
    fn a_photo_is_named_by_the_hash_of_its_bytes() {
        let jpeg = context(&frame(640, 360), &CONFIG).expect("made");
        assert_eq!(jpeg.sha256, sha256_hex(&jpeg.bytes));
        assert_eq!(jpeg.sha256.len(), 64);
    }

    #[test]
    fn colour_is_taken_from_the_chroma_of_the_same_place() {
        let (width, height) = (64, 48);
        let luma = vec![100_u8; width * height];
        // Left half blue (high Cb), right half red (high Cr).
        let chroma: Vec<u8> = (0..width / 2 * height / 2)
            .flat_map(|i| if i % (width / 2) < width / 4 { [220, 110] } else { [110, 220] })
            .collect();
        let y = Plane { data: &luma, width, height, stride: width };
        let uv = Plane { data: &chroma, width, height: height / 2, stride: width };
        for size in [None, Some(Size::new(32, 24))] {
            let bgr = colour(y, uv, Rect::new(0, 0, 64, 48), size).expect("converted");
            let at = |x: i32| *bgr.at_2d::<opencv::core::Vec3b>(4, x).expect("inside");
            let (left, right) = (at(2), at(bgr.cols() - 3));
            assert!(left[0] > left[2] + 80, "{left:?} should be blue");
            assert!(right[2] > right[0] + 80, "{right:?} should be red");
        }
    }

    #[test]
    fn corners_outside_are_an_error_and_no_guess() {
        let off = Quad(plate().0.map(|p| Point::new(p.x + 5000.0, p.y)));
        assert!(matches!(
            close_up(&frame(640, 360), &off, &CONFIG),
            Err(EvidenceError::Corners { .. })
        ));
    }

    #[test]
    fn areas_at_the_edges_of_odd_frames_stay_inside() {
        let luma = Plane { data: &[], width: 101, height: 51, stride: 101 };
        for area in [Rect::new(0, 0, 101, 51), Rect::new(97, 47, 4, 4), Rect::new(100, 50, 1, 1)] {
            let e = even(area, luma);
            assert!(e.x % 2 == 0 && e.y % 2 == 0 && e.width % 2 == 0 && e.height % 2 == 0);
            assert!(e.width >= 2 && e.height >= 2);
        }
    }
}
