//! One image with the time of its exposure, viewed in the decoder's own memory.
//!
//! A mapped frame borrows the decoder's buffer and costs no copy; [`Frame::keep`] makes the one
//! full copy that a pass's best frame costs. Nothing here fails but the making of a frame.

use gstreamer_video::{VideoFormat, VideoFrame, prelude::*, video_frame::Readable};

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

impl Plane<'_> {
    /// The picture without the padding at the ends of its rows.
    fn tight(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.width * self.height);
        for row in self.data.chunks(self.stride).take(self.height) {
            bytes.extend_from_slice(&row[..self.width]);
        }
        bytes
    }
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
    /// The decoder's own buffer, mapped for reading: NV12, I420 or GRAY8 ([`supported`]), its
    /// planes long enough for what they claim ([`Frame::from_mapped`]).
    Mapped(Box<VideoFrame<Readable>>),
}

/// Whether frames of this format can be borrowed as they are.
fn supported(format: VideoFormat) -> bool {
    matches!(format, VideoFormat::Nv12 | VideoFormat::I420 | VideoFormat::Gray8)
}

/// Bytes in a row and rows of the interleaved chroma that belongs to `width` × `height` luma.
fn chroma_size(width: usize, height: usize) -> (usize, usize) {
    (width.next_multiple_of(2), height.div_ceil(2))
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

    /// A colour frame: `width * height` bytes of luma, then interleaved Cb, Cr at half size
    /// (`width` rounded up to even, times half the rows rounded up). `None` where a size is wrong.
    #[must_use]
    pub fn from_nv12(
        sequence: u64,
        exposure: ExposureTime,
        width: usize,
        height: usize,
        luma: Vec<u8>,
        chroma: Vec<u8>,
    ) -> Option<Self> {
        let (row, rows) = chroma_size(width, height);
        let mut frame = Self::from_luma(sequence, exposure, width, height, luma)?;
        let Pixels::Owned { chroma: colour, .. } = &mut frame.pixels else { return None };
        (chroma.len() == row * rows).then(|| *colour = Some(chroma))?;
        Some(frame)
    }

    /// A frame in the decoder's own memory. `None` where its format is not NV12, I420 or GRAY8, or
    /// where a plane is shorter than its size says.
    pub(crate) fn from_mapped(
        sequence: u64,
        exposure: ExposureTime,
        mapped: VideoFrame<Readable>,
    ) -> Option<Self> {
        let (width, height) = (mapped.width() as usize, mapped.height() as usize);
        let (row, rows) = chroma_size(width, height);
        let whole = match mapped.format() {
            VideoFormat::Nv12 => plane(&mapped, 1, row, rows).is_some(),
            VideoFormat::I420 => (1..=2).all(|n| plane(&mapped, n, row / 2, rows).is_some()),
            format => supported(format),
        };
        let whole = whole && width > 0 && height > 0 && plane(&mapped, 0, width, height).is_some();
        whole.then_some(Self { sequence, exposure, pixels: Pixels::Mapped(Box::new(mapped)) })
    }

    /// The luma plane, full size.
    #[must_use]
    pub fn luma(&self) -> Plane<'_> {
        match &self.pixels {
            Pixels::Owned { luma, width, height, .. } => {
                Plane { data: luma, width: *width, height: *height, stride: *width }
            }
            Pixels::Mapped(mapped) => {
                let (width, height) = (mapped.width() as usize, mapped.height() as usize);
                // Checked when the frame was made.
                plane(mapped, 0, width, height).unwrap_or(Plane {
                    data: &[],
                    width: 0,
                    height: 0,
                    stride: 1,
                })
            }
        }
    }

    /// Interleaved Cb, Cr bytes, half the luma's rows (NV12); `None` for a monochrome source, and
    /// for a frame still in the memory of a decoder that gives its colours in two planes (I420, as
    /// software decoders do): there, [`Frame::keep`] has them.
    #[must_use]
    pub fn chroma(&self) -> Option<Plane<'_>> {
        let luma = self.luma();
        let (row, rows) = chroma_size(luma.width, luma.height);
        match &self.pixels {
            Pixels::Owned { chroma, .. } => {
                chroma.as_deref().map(|data| Plane { data, width: row, height: rows, stride: row })
            }
            Pixels::Mapped(mapped) if mapped.format() == VideoFormat::Nv12 => {
                plane(mapped, 1, row, rows)
            }
            Pixels::Mapped(_) => None,
        }
    }

    /// Whether the source gives colour; then a kept frame has [`Frame::chroma`].
    #[must_use]
    pub fn has_colour(&self) -> bool {
        match &self.pixels {
            Pixels::Owned { chroma, .. } => chroma.is_some(),
            Pixels::Mapped(mapped) => mapped.format() != VideoFormat::Gray8,
        }
    }

    /// A copy that holds nothing of the decoder's: the one full copy that a pass's best frame costs.
    #[must_use]
    pub fn keep(&self) -> Self {
        let luma = self.luma();
        let chroma = match &self.pixels {
            Pixels::Mapped(mapped) if mapped.format() == VideoFormat::I420 => {
                let (row, rows) = chroma_size(luma.width, luma.height);
                let half = |n| plane(mapped, n, row / 2, rows);
                half(1).zip(half(2)).map(|(cb, cr)| interleave(cb, cr))
            }
            _ => self.chroma().map(|p| p.tight()),
        };
        Self {
            sequence: self.sequence,
            exposure: self.exposure,
            pixels: Pixels::Owned {
                luma: luma.tight(),
                chroma,
                width: luma.width,
                height: luma.height,
            },
        }
    }
}

/// Plane `n` of a mapped frame; `None` where it is shorter than `width` × `height` needs.
fn plane(mapped: &VideoFrame<Readable>, n: u32, width: usize, height: usize) -> Option<Plane<'_>> {
    let data = mapped.plane_data(n).ok()?;
    let stride = usize::try_from(*mapped.plane_stride().get(n as usize)?).ok()?;
    let needed = stride.checked_mul(height.checked_sub(1)?)?.checked_add(width)?;
    (stride >= width && stride > 0 && data.len() >= needed).then_some(Plane {
        data,
        width,
        height,
        stride,
    })
}

/// Two planes of the same size → one of Cb, Cr pairs.
fn interleave(cb: Plane<'_>, cr: Plane<'_>) -> Vec<u8> {
    let mut pairs = Vec::with_capacity(2 * cb.width * cb.height);
    let rows = cb.data.chunks(cb.stride).zip(cr.data.chunks(cr.stride)).take(cb.height);
    for (cb_row, cr_row) in rows {
        pairs
            .extend(cb_row[..cb.width].iter().zip(&cr_row[..cb.width]).flat_map(|(&b, &r)| [b, r]));
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ClockSource;
    use gstreamer_video::VideoInfo;

    fn exposure() -> ExposureTime {
        ExposureTime {
            utc: jiff::Timestamp::UNIX_EPOCH,
            uncertainty: None,
            source: ClockSource::Recording,
            since_boot: None,
        }
    }

    /// A mapped frame whose luma is 3·y + x, Cb 100 + x, Cr 200 + y (at half size), with padded rows.
    fn mapped(format: VideoFormat, width: usize, height: usize) -> Frame {
        gstreamer::init().unwrap();
        let info = VideoInfo::builder(format, width as u32, height as u32).build().unwrap();
        let buffer = gstreamer::Buffer::with_size(info.size()).unwrap();
        let mut writing = VideoFrame::from_buffer_writable(buffer, &info).unwrap();
        let strides: Vec<usize> = writing.plane_stride().iter().map(|&s| s as usize).collect();
        for n in 0..writing.n_planes() {
            let data = writing.plane_data_mut(n).unwrap();
            for (i, byte) in data.iter_mut().enumerate() {
                let (x, y) = (i % strides[n as usize], i / strides[n as usize]);
                *byte = match (format, n) {
                    (_, 0) => (3 * y + x) as u8,
                    (VideoFormat::Nv12, _) if x % 2 == 0 => (100 + x / 2) as u8,
                    (VideoFormat::Nv12, _) => (200 + y) as u8,
                    (_, 1) => (100 + x) as u8,
                    _ => (200 + y) as u8,
                };
            }
        }
        let buffer = writing.into_buffer();
        let reading = VideoFrame::from_buffer_readable(buffer, &info).unwrap();
        Frame::from_mapped(7, exposure(), reading).unwrap()
    }

    #[test]
    fn a_kept_frame_holds_the_same_picture_whatever_the_decoders_layout() {
        // 13 × 7: odd sizes, so that rows are padded and chroma is rounded up.
        let (nv12, i420) = (mapped(VideoFormat::Nv12, 13, 7), mapped(VideoFormat::I420, 13, 7));
        assert!(nv12.luma().stride > 13, "the test wants padded rows");
        assert!(nv12.chroma().is_some() && i420.chroma().is_none());
        for frame in [nv12, i420] {
            let kept = frame.keep();
            assert_eq!((kept.luma().width, kept.luma().height, kept.luma().stride), (13, 7, 13));
            assert_eq!(kept.luma().data, frame.luma().tight());
            assert_eq!(kept.luma().data[3 * 13 + 5], 14);
            let chroma = kept.chroma().unwrap();
            assert_eq!((chroma.width, chroma.height, chroma.data.len()), (14, 4, 56));
            assert_eq!(&chroma.data[2 * 14 + 6..2 * 14 + 8], &[103, 202]);
            assert_eq!(kept.keep().chroma().unwrap().data, chroma.data);
            assert_eq!((kept.sequence, kept.exposure), (7, exposure()));
        }
    }

    #[test]
    fn a_monochrome_source_has_no_colour() {
        let frame = mapped(VideoFormat::Gray8, 16, 4);
        assert!(!frame.has_colour() && frame.chroma().is_none());
        assert!(frame.keep().chroma().is_none());
        assert_eq!(frame.luma().data[16 * 2 + 1], 7);
    }

    #[test]
    fn planes_of_the_wrong_size_make_no_frame() {
        assert!(Frame::from_luma(0, exposure(), 4, 2, vec![0; 7]).is_none());
        assert!(Frame::from_luma(0, exposure(), 0, 0, vec![]).is_none());
        let nv12 = |chroma| Frame::from_nv12(0, exposure(), 3, 3, vec![1; 9], vec![2; chroma]);
        assert!(nv12(7).is_none());
        assert_eq!(nv12(8).unwrap().chroma().unwrap().data, [2; 8]);
    }
}
