//! Picture files → luma and colour, for photos and golden images.
//!
//! Broken files are errors that say what is wrong. OpenCV fills what a cut-off JPEG lacks with grey
//! and says nothing, so completeness is looked at here first; and sizes are read from the header
//! before anything is decoded, so that a small file can't claim all memory.

use opencv::{
    core::{Mat, Vector},
    imgcodecs, imgproc,
    prelude::*,
};

use super::VisionError;
use crate::capture::Plane;

/// Pixels of the largest photo that is decoded (a 100-megapixel camera's).
pub const MAX_PIXELS: u64 = 120_000_000;
/// Bytes of the largest photo file.
pub const MAX_BYTES: u64 = 256 << 20;

/// A decoded photo.
#[derive(Debug)]
pub struct Photo {
    /// Width in pixels, as it is to be looked at (after the file's own rotation mark).
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    luma: Vec<u8>,
    colour: Mat,
}

impl Photo {
    /// Decodes a JPEG or PNG file's content.
    ///
    /// # Errors
    /// [`VisionError::Picture`] for anything else, and for files that are cut off, damaged or too large.
    pub fn decode(bytes: &[u8]) -> Result<Self, VisionError> {
        let (kind, width, height) = header(bytes).map_err(VisionError::Picture)?;
        if u64::from(width) * u64::from(height) > MAX_PIXELS {
            return Err(VisionError::Picture(format!(
                "{kind} of {width}×{height} pixels: at most {} megapixels are read",
                MAX_PIXELS / 1_000_000
            )));
        }
        let damaged = || VisionError::Picture(format!("{kind} is damaged and can't be decoded"));
        let colour = imgcodecs::imdecode(&Mat::from_slice(bytes)?, imgcodecs::IMREAD_COLOR)
            .map_err(|_| damaged())?;
        if colour.empty() {
            return Err(damaged());
        }
        let mut grey = Mat::default();
        imgproc::cvt_color_def(&colour, &mut grey, imgproc::COLOR_BGR2GRAY)?;
        let (width, height) = (grey.cols() as usize, grey.rows() as usize);
        Ok(Self { width, height, luma: grey.data_bytes()?.to_vec(), colour })
    }

    /// The luma plane.
    #[must_use]
    pub fn luma(&self) -> Plane<'_> {
        Plane { data: &self.luma, width: self.width, height: self.height, stride: self.width }
    }

    /// The picture in colour, BGR.
    #[must_use]
    pub fn colour(&self) -> &Mat {
        &self.colour
    }

    /// The picture as an 8-bit grey PNG, for samples and tests.
    ///
    /// # Errors
    /// OpenCV's.
    pub fn encode_grey(luma: Plane<'_>) -> Result<Vec<u8>, VisionError> {
        let mut bytes = Vector::<u8>::new();
        super::plane::with_area(luma, super::plane::whole(luma)?, |m| {
            Ok(imgcodecs::imencode_def(".png", m, &mut bytes)?)
        })?;
        Ok(bytes.to_vec())
    }
}

/// Kind and size by the file's own structure, which must reach its end mark.
fn header(bytes: &[u8]) -> Result<(&'static str, u32, u32), String> {
    if bytes.is_empty() {
        Err("the file is empty".into())
    } else if bytes.starts_with(b"\xff\xd8\xff") {
        jpeg(bytes)
            .map(|(w, h)| ("JPEG", w, h))
            .ok_or_else(|| "JPEG is cut off or damaged: its header or its end is missing".into())
    } else if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        png(bytes)
            .map(|(w, h)| ("PNG", w, h))
            .ok_or_else(|| "PNG is cut off or damaged: its header or its end is missing".into())
    } else {
        Err("neither a JPEG nor a PNG file".into())
    }
}

/// Size from the frame header (SOF) of a JPEG whose scan is followed by an end mark (EOI).
/// ITU-T T.81, annex B.
fn jpeg(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut size = None;
    let mut at = 2;
    loop {
        // Markers may be preceded by fill bytes.
        while *bytes.get(at)? == 0xff && *bytes.get(at + 1)? == 0xff {
            at += 1;
        }
        let (0xff, marker) = (*bytes.get(at)?, *bytes.get(at + 1)?) else { return None };
        at += 2;
        match marker {
            // Stand-alone: TEM, RSTn.
            0x01 | 0xd0..=0xd7 => continue,
            0xd9 => return None,
            _ => {}
        }
        let length = usize::from(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
        match marker {
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                let two = |i: usize| {
                    Some(u32::from(u16::from_be_bytes([*bytes.get(i)?, *bytes.get(i + 1)?])))
                };
                size = Some((two(at + 5)?, two(at + 3)?));
            }
            0xda => {
                let scan = bytes.get(at + length..)?;
                let ended = scan.windows(2).any(|pair| pair == [0xff, 0xd9]);
                return size.filter(|&(w, h)| ended && w > 0 && h > 0);
            }
            _ => {}
        }
        at += length.max(2);
    }
}

/// Size from IHDR of a PNG whose chunks reach IEND. PNG specification, section 5.
fn png(bytes: &[u8]) -> Option<(u32, u32)> {
    let four =
        |i: usize| bytes.get(i..i + 4).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
    if bytes.get(12..16)? != b"IHDR" {
        return None;
    }
    let size = (four(16)?, four(20)?);
    let mut at = 8;
    loop {
        let length = four(at)? as usize;
        let kind = bytes.get(at + 4..at + 8)?;
        let next = at.checked_add(12)?.checked_add(length)?;
        if next > bytes.len() {
            return None;
        }
        if kind == b"IEND" {
            return Some(size).filter(|&(w, h)| w > 0 && h > 0);
        }
        at = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(extension: &str) -> Vec<u8> {
        let luma: Vec<u8> = (0..64 * 48).map(|i| (i % 64 * 4) as u8).collect();
        let m = Mat::new_rows_cols_with_data::<u8>(48, 64, &luma).expect("a matrix");
        let mut bytes = Vector::<u8>::new();
        assert!(imgcodecs::imencode_def(extension, &m, &mut bytes).expect("encodes"));
        bytes.to_vec()
    }

    #[test]
    fn jpeg_and_png_come_out_as_luma_and_colour() {
        for extension in [".jpg", ".png"] {
            let photo = Photo::decode(&sample(extension)).expect("decodes");
            assert_eq!((photo.width, photo.height), (64, 48));
            assert!(photo.luma().data[63].abs_diff(252) < 6);
            assert_eq!(photo.colour().channels(), 3);
        }
    }

    #[test]
    fn every_cut_of_a_photo_is_an_error_and_never_half_a_picture() {
        for extension in [".jpg", ".png"] {
            let whole = sample(extension);
            for length in (0..whole.len() - 1).step_by(7) {
                let error = Photo::decode(&whole[..length]).expect_err("cut off");
                assert!(matches!(error, VisionError::Picture(_)), "{extension} {length}: {error}");
            }
        }
    }

    #[test]
    fn other_files_and_huge_claims_are_refused_before_decoding() {
        assert!(Photo::decode(b"GIF89a").is_err_and(|e| e.to_string().contains("neither")));
        let mut huge = sample(".png");
        huge[16..24].copy_from_slice(&[0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30]);
        assert!(Photo::decode(&huge).is_err_and(|e| e.to_string().contains("30000×30000")));
    }

    #[test]
    fn damage_inside_a_png_is_an_error() {
        let mut damaged = sample(".png");
        let middle = damaged.len() / 2;
        for byte in &mut damaged[middle..middle + 8] {
            *byte ^= 0xff;
        }
        assert!(Photo::decode(&damaged).is_err());
    }
}
