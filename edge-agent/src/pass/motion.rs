//! Where a plate will be: a constant-velocity Kalman filter per axis.
//!
//! The axes are the centre's x and y in pixels and the logarithm of the plate's width, so that
//! growth with a constant rate, as a vehicle nears, is a straight line.

use crate::geometry::{Point, Quad};

/// Detector jitter, as a share of the plate's width (one standard deviation).
const JITTER: f32 = 0.03;
/// Unmodelled acceleration in plate widths/s². Perspective makes nearly all of it: a plate that goes at
/// speed `v` along the road, `z` ahead of and `h` below the camera, accelerates by `2 h v² / (0.3 m · z²)`
/// widths/s², which for 17 m/s and 5 m is 33 at 17 m and 100 at 10 m.
const ACCELERATION: f32 = 60.0;
/// Speed that a new track may have, in plate widths/s (one standard deviation): 110 km/h is about
/// 100 plate widths/s over ground, of which a camera looking along the road sees about a fifth.
const FIRST_SPEED: f32 = 20.0;

/// One axis: position and velocity with their covariance.
#[derive(Debug, Clone, Copy)]
struct Axis {
    position: f32,
    velocity: f32,
    /// Variances of position and velocity, and their covariance.
    pp: f32,
    vv: f32,
    pv: f32,
}

impl Axis {
    fn new(position: f32, scale: f32) -> Self {
        let (p, v) = (JITTER * scale, FIRST_SPEED * scale);
        Self { position, velocity: 0.0, pp: p * p, vv: v * v, pv: 0.0 }
    }

    /// The state `dt` seconds on; `acceleration` is the noise's standard deviation.
    fn predicted(self, dt: f32, acceleration: f32) -> Self {
        let q = acceleration * acceleration;
        Self {
            position: self.position + self.velocity * dt,
            pp: self.pp + 2.0 * dt * self.pv + dt * dt * self.vv + q * dt.powi(4) / 4.0,
            pv: self.pv + dt * self.vv + q * dt.powi(3) / 2.0,
            vv: self.vv + q * dt * dt,
            ..self
        }
    }

    fn corrected(self, measured: f32, noise: f32) -> Self {
        let s = self.pp + noise * noise;
        let (kp, kv) = (self.pp / s, self.pv / s);
        let innovation = measured - self.position;
        Self {
            position: self.position + kp * innovation,
            velocity: self.velocity + kv * innovation,
            pp: (1.0 - kp) * self.pp,
            pv: (1.0 - kp) * self.pv,
            vv: self.vv - kv * self.pv,
        }
    }
}

/// A plate's motion in the image.
#[derive(Debug, Clone, Copy)]
pub struct Motion {
    x: Axis,
    y: Axis,
    log_width: Axis,
}

impl Motion {
    /// A plate seen for the first time.
    #[must_use]
    pub fn new(corners: &Quad) -> Self {
        let (centre, width) = (corners.centre(), corners.width().max(1.0));
        Self {
            x: Axis::new(centre.x, width),
            y: Axis::new(centre.y, width),
            // A plate grows or shrinks by about a factor e in a second, not by e^20.
            log_width: Axis { vv: 1.0, ..Axis::new(width.ln(), 1.0) },
        }
    }

    /// The motion `dt` seconds on.
    #[must_use]
    pub fn predicted(&self, dt: f32) -> Self {
        let acceleration = ACCELERATION * self.width();
        Self {
            x: self.x.predicted(dt, acceleration),
            y: self.y.predicted(dt, acceleration),
            log_width: self.log_width.predicted(dt, 1.0),
        }
    }

    /// The motion after it was measured at `corners`, in the same instant.
    #[must_use]
    pub fn corrected(&self, corners: &Quad) -> Self {
        let (centre, width) = (corners.centre(), corners.width().max(1.0));
        Self {
            x: self.x.corrected(centre.x, JITTER * width),
            y: self.y.corrected(centre.y, JITTER * width),
            log_width: self.log_width.corrected(width.ln(), 2.0 * JITTER),
        }
    }

    /// Centre in pixels.
    #[must_use]
    pub fn centre(&self) -> Point {
        Point::new(self.x.position, self.y.position)
    }

    /// Plate width in pixels.
    #[must_use]
    pub fn width(&self) -> f32 {
        self.log_width.position.exp()
    }

    /// Speed in plate widths a second.
    #[must_use]
    pub fn speed(&self) -> f32 {
        self.x.velocity.hypot(self.y.velocity) / self.width()
    }

    /// How unlikely it is that `corners` are this plate.
    #[must_use]
    pub fn distance(&self, corners: &Quad) -> Distance {
        let (centre, width) = (corners.centre(), corners.width().max(1.0));
        let noise = JITTER * width;
        let sigma2 = |axis: &Axis, measured: f32, noise: f32| {
            (measured - axis.position).powi(2) / (axis.pp + noise * noise)
        };
        Distance {
            sigmas: (sigma2(&self.x, centre.x, noise)
                + sigma2(&self.y, centre.y, noise)
                + sigma2(&self.log_width, width.ln(), 4.0 * JITTER))
            .sqrt(),
            widths: self.centre().distance(centre) / self.width().min(width).max(1.0),
            growth: (width / self.width().max(1.0)).ln().abs().exp(),
        }
    }
}

/// See [`Motion::distance`].
#[derive(Debug, Clone, Copy)]
pub struct Distance {
    /// In standard deviations of position and size together.
    pub sigmas: f32,
    /// In widths of the narrower of the two plates.
    pub widths: f32,
    /// How many times wider the one is than the other, 1 or more.
    pub growth: f32,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An upright 2:1 plate.
    pub(crate) fn plate(x: f32, y: f32, width: f32) -> Quad {
        let (w, h) = (width / 2.0, width / 4.0);
        Quad([
            Point::new(x - w, y - h),
            Point::new(x + w, y - h),
            Point::new(x + w, y + h),
            Point::new(x - w, y + h),
        ])
    }

    #[test]
    fn a_steady_plate_is_predicted_within_a_tenth_of_its_width() {
        let dt = 1.0 / 30.0;
        let at = |i: usize| {
            let t = i as f32 * dt;
            plate(300.0 + 200.0 * t, 100.0 + 400.0 * t, 60.0 * (0.8 * t).exp())
        };
        let mut motion = Motion::new(&at(0));
        for i in 1..20 {
            motion = motion.predicted(dt).corrected(&at(i));
        }
        let ahead = motion.predicted(5.0 * dt);
        assert!(ahead.centre().distance(at(24).centre()) < 0.1 * at(24).width(), "{ahead:?}");
        assert!((ahead.width() / at(24).width() - 1.0).abs() < 0.1);
    }

    #[test]
    fn a_plate_far_off_is_many_sigmas_away() {
        let motion = Motion::new(&plate(100.0, 100.0, 60.0)).predicted(1.0 / 30.0);
        assert!(motion.distance(&plate(105.0, 102.0, 60.0)).sigmas < 1.0);
        assert!(motion.distance(&plate(700.0, 100.0, 60.0)).sigmas > 10.0);
    }
}
