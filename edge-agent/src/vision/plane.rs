//! Borrowed planes as OpenCV matrices, without a copy where the plane's last row is whole.

use opencv::{
    boxed_ref::BoxedRef,
    core::{Mat, Rect, Vec2b},
};

use super::VisionError;
use crate::{capture::Plane, geometry::Quad};

/// A part of somebody else's pixels.
pub(crate) type View<'a> = BoxedRef<'a, Mat>;

/// Calls `f` with `area` of a one-channel plane.
///
/// # Errors
/// OpenCV's where `area` is not inside the plane or the plane's data is too short; `f`'s own.
pub(crate) fn with_area<R>(
    plane: Plane<'_>,
    area: Rect,
    f: impl FnOnce(&View<'_>) -> Result<R, VisionError>,
) -> Result<R, VisionError> {
    let whole_rows = whole_rows(plane)?;
    let all = Mat::new_rows_cols_with_data::<u8>(
        size(plane.height)?,
        size(plane.stride)?,
        whole_rows.as_ref(),
    )?;
    f(&Mat::roi(&all, area)?)
}

/// Calls `f` with `area` of a plane of interleaved pairs (NV12's chroma); `area` in pairs.
///
/// # Errors
/// As [`with_area`].
pub(crate) fn with_pairs<R>(
    plane: Plane<'_>,
    area: Rect,
    f: impl FnOnce(&View<'_>) -> Result<R, VisionError>,
) -> Result<R, VisionError> {
    let whole_rows = whole_rows(plane)?;
    let pairs = plane.stride / 2;
    let all;
    if plane.stride.is_multiple_of(2) {
        all = Mat::new_rows_cols_with_bytes::<Vec2b>(
            size(plane.height)?,
            size(pairs)?,
            whole_rows.as_ref(),
        )?;
        f(&Mat::roi(&all, area)?)
    } else {
        let even: Vec<u8> = whole_rows
            .chunks_exact(plane.stride)
            .flat_map(|row| &row[..2 * pairs])
            .copied()
            .collect();
        all = Mat::new_rows_cols_with_bytes::<Vec2b>(size(plane.height)?, size(pairs)?, &even)?;
        f(&Mat::roi(&all, area)?)
    }
}

/// All of a one-channel plane as an area.
///
/// # Errors
/// [`VisionError::Picture`] where it is empty or larger than OpenCV can say.
pub(crate) fn whole(plane: Plane<'_>) -> Result<Rect, VisionError> {
    if plane.width == 0 || plane.height == 0 || plane.stride < plane.width {
        return Err(VisionError::Picture(format!(
            "a plane of {}×{} pixels with rows of {} bytes is no picture",
            plane.width, plane.height, plane.stride
        )));
    }
    Ok(Rect::new(0, 0, size(plane.width)?, size(plane.height)?))
}

/// The smallest area of whole pixels around `corners`, grown by `margin` (a share of the plate's
/// width and height), inside `bounds`; `None` where nothing is left or a corner is not finite.
#[must_use]
pub(crate) fn area_around(corners: &Quad, margin: f32, bounds: Rect) -> Option<Rect> {
    if corners.0.iter().any(|p| !p.x.is_finite() || !p.y.is_finite()) {
        return None;
    }
    let b = corners.bounds();
    let (mx, my) = (margin * b.width, margin * b.height);
    // `as` saturates, so that far corners can't wrap.
    let left = ((b.x - mx).floor() as i32).clamp(bounds.x, bounds.x + bounds.width);
    let top = ((b.y - my).floor() as i32).clamp(bounds.y, bounds.y + bounds.height);
    let right = ((b.x + b.width + mx).ceil() as i32).clamp(left, bounds.x + bounds.width);
    let bottom = ((b.y + b.height + my).ceil() as i32).clamp(top, bounds.y + bounds.height);
    (right > left && bottom > top).then(|| Rect::new(left, top, right - left, bottom - top))
}

fn size(n: usize) -> Result<i32, VisionError> {
    i32::try_from(n).map_err(|_| VisionError::Picture(format!("{n} pixels a side are too many")))
}

/// The plane's rows with their padding; copied where the last row's padding is missing.
fn whole_rows(plane: Plane<'_>) -> Result<std::borrow::Cow<'_, [u8]>, VisionError> {
    whole(plane)?;
    let wanted = plane.stride * plane.height;
    let least = plane.stride * (plane.height - 1) + plane.width;
    if let Some(rows) = plane.data.get(..wanted) {
        return Ok(rows.into());
    }
    if plane.data.len() < least {
        return Err(VisionError::Picture(format!(
            "a plane of {}×{} pixels needs {least} bytes and has {}",
            plane.width,
            plane.height,
            plane.data.len()
        )));
    }
    let mut rows = plane.data.to_vec();
    rows.resize(wanted, 0);
    Ok(rows.into())
}

#[cfg(test)]
mod tests {
    use opencv::prelude::*;

    use super::*;
    use crate::geometry::Point;

    #[test]
    fn a_plane_without_the_last_rows_padding_is_read_whole() {
        let data: Vec<u8> = (0..18).collect();
        let plane = Plane { data: &data, width: 3, height: 3, stride: 7 };
        assert!(with_area(plane, Rect::new(0, 0, 3, 3), |_| Ok(())).is_ok_and(|()| true));
        let plane = Plane { data: &data[..17], ..plane };
        let last = with_area(plane, Rect::new(2, 2, 1, 1), |m| Ok(*m.at_2d::<u8>(0, 0)?));
        assert_eq!(last.expect("read"), 16);
        let plane = Plane { data: &data[..16], ..plane };
        assert!(with_area(plane, Rect::new(0, 0, 3, 3), |_| Ok(())).is_err());
    }

    #[test]
    fn an_area_stays_inside_its_bounds_whatever_the_corners() {
        let bounds = Rect::new(0, 0, 100, 50);
        let quad = |x: f32, w: f32| {
            Quad([
                Point::new(x, 10.0),
                Point::new(x + w, 10.0),
                Point::new(x + w, 20.0),
                Point::new(x, 20.0),
            ])
        };
        assert_eq!(area_around(&quad(10.0, 20.0), 0.1, bounds), Some(Rect::new(8, 9, 24, 12)));
        assert_eq!(area_around(&quad(-50.0, 20.0), 0.1, bounds), None);
        assert_eq!(area_around(&quad(f32::NAN, 20.0), 0.1, bounds), None);
        assert_eq!(area_around(&quad(-1e30, 2e30), 0.1, bounds).expect("all").width, 100);
    }
}
