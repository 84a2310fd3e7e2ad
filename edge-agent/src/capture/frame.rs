//! One image with the time of its exposure, viewed in the decoder's own memory.

use crate::clock::ExposureTime;

/// One 8-bit plane, borrowed: `data[y * stride + x]`.
#[derive(Debug, Clone, Copy)]
pub struct Plane<'a> {
    /// Rows of `stride` bytes; at least `stride * (height - 1) + width` bytes.
    pub data: &'a [u8],
    /// Bytes of a row that are picture (for interleaved chroma: twice its pixels).
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Bytes from one row to the next.
    pub stride: usize,
}

/// One frame. `luma` is borrowed from the decoder's buffer, so a frame held for long holds a
/// buffer of the decoder's pool: [`Frame::keep`] what is to be held.
#[derive(Debug)]
pub struct Frame {
    /// Counts up from 0 over the life of the source; gaps are frames dropped before this point.
    pub sequence: u64,
    /// When it was exposed.
    pub exposure: ExposureTime,
    pixels: Pixels,
}

#[derive(Debug)]
enum Pixels {
    /// Copied or made out of the decoder's reach: luma, then interleaved CbCr at half size (NV12)
    /// where there is colour.
    Owned { luma: Vec<u8>, chroma: Option<Vec<u8>>, width: usize, height: usize },
}

impl Frame {
    /// A frame of luma alone; `luma` holds `width * height` bytes. `None` where it does not.
    #[must_use]
    pub fn from_luma(
        sequence: u64,
        exposure: ExposureTime,
        width: usize,
        height: usize,
        luma: Vec<u8>,
    ) -> Option<Self> {
        (luma.len() == width * height && width > 0 && height > 0).then_some(Self {
            sequence,
            exposure,
            pixels: Pixels::Owned { luma, chroma: None, width, height },
        })
    }

    /// The luma plane, full size.
    #[must_use]
    pub fn luma(&self) -> Plane<'_> {
        match &self.pixels {
            Pixels::Owned { luma, width, height, .. } => {
                Plane { data: luma, width: *width, height: *height, stride: *width }
            }
        }
    }

    /// Interleaved Cb, Cr bytes, half the luma's rows (NV12); `None` for a monochrome source.
    #[must_use]
    pub fn chroma(&self) -> Option<Plane<'_>> {
        match &self.pixels {
            Pixels::Owned { chroma, width, height, .. } => chroma.as_deref().map(|data| Plane {
                data,
                width: width.next_multiple_of(2),
                height: height.div_ceil(2),
                stride: width.next_multiple_of(2),
            }),
        }
    }

    /// A copy that holds nothing of the decoder's: the one full copy that a pass's best frame costs.
    #[must_use]
    pub fn keep(&self) -> Self {
        let tight = |p: Plane<'_>| -> Vec<u8> {
            p.data
                .chunks(p.stride)
                .take(p.height)
                .flat_map(|row| &row[..p.width])
                .copied()
                .collect()
        };
        let luma = self.luma();
        Self {
            sequence: self.sequence,
            exposure: self.exposure,
            pixels: Pixels::Owned {
                luma: tight(luma),
                chroma: self.chroma().map(tight),
                width: luma.width,
                height: luma.height,
            },
        }
    }
}
