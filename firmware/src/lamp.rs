//! The infrared lamp: an enable line and a pulse-width input.
//!
//! Invariants:
//! - Dark unless [`Lamp::on`] succeeded last. Construction, [`Lamp::off`] and every error end with
//!   the enable line low and the duty at zero, as far as the pins still obey; both are tried, even
//!   when the first fails.
//! - Two steps, so that one stuck pin leaves it dark: on is *duty, then enable*; off is *enable
//!   low, then duty zero*. The lamp never lights at a duty that was not set before.
//! - Never above [`MAX_DUTY_PERMILLE`], whatever it is told.
//!
//! Fails by [`LampError`], which names the step. It cannot see light: whether the lamp really
//! shines is measured elsewhere.

use core::fmt;

use embedded_hal::{digital::OutputPin, pwm::SetDutyCycle};

/// The largest share of time that the lamp may be lit, in thousandths: a quarter.
///
/// A pulsed lamp drives its emitters far above their continuous rating because they rest between
/// the pulses, and it is judged eye-safe (IEC 62471) by its mean output. A quarter is what the
/// largest duty needs that makes sense here (60 frames/s with 4 ms of light each: 0.24); beyond it
/// more light costs only heat in a closed housing and margin for the eyes below. It is a constant
/// so that no configuration, and no bug in a policy above, can exceed it.
pub const MAX_DUTY_PERMILLE: u16 = 250;

/// The slowest pulse rate, in hertz. With [`MAX_DUTY_PERMILLE`] it bounds one pulse to 5 ms: the
/// time scale on which an overdriven emitter heats up.
pub const MIN_FREQUENCY_HZ: u32 = 50;

/// The fastest pulse rate, in hertz: above it the edges of common LED drivers blur the duty.
pub const MAX_FREQUENCY_HZ: u32 = 20_000;

/// Which step failed, with the pin's own error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LampError<E, P> {
    /// More than [`MAX_DUTY_PERMILLE`] was asked for; nothing was done.
    DutyTooLarge {
        /// In thousandths.
        asked: u16,
    },
    /// The enable line did not obey.
    Enable(E),
    /// The pulse-width output did not obey.
    Pwm(P),
}

impl<E: fmt::Debug, P: fmt::Debug> fmt::Display for LampError<E, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DutyTooLarge { asked } => write!(
                f,
                "a lamp duty of {asked} ‰ is above the hard limit of {MAX_DUTY_PERMILLE} ‰: choose a smaller one"
            ),
            Self::Enable(e) => write!(f, "the lamp's enable line failed ({e:?}): check its wiring"),
            Self::Pwm(e) => write!(f, "the lamp's PWM output failed ({e:?}): check its wiring"),
        }
    }
}

impl<E: fmt::Debug, P: fmt::Debug> core::error::Error for LampError<E, P> {}

/// The error of a lamp on pins `E` and `P`.
pub type ErrorOf<E, P> = LampError<
    <E as embedded_hal::digital::ErrorType>::Error,
    <P as embedded_hal::pwm::ErrorType>::Error,
>;

/// A lamp on two pins.
#[derive(Debug)]
pub struct Lamp<E, P> {
    enable: E,
    pwm: P,
    duty_permille: u16,
    lit: bool,
}

impl<E: OutputPin, P: SetDutyCycle> Lamp<E, P> {
    /// Takes the pins and makes the lamp dark. `duty_permille` is the duty while it is on, in
    /// thousandths.
    ///
    /// # Errors
    /// The pins come back with the reason: a duty above the limit, or a pin that did not obey.
    pub fn new(enable: E, pwm: P, duty_permille: u16) -> Result<Self, (E, P, ErrorOf<E, P>)> {
        let mut lamp = Self { enable, pwm, duty_permille, lit: false };
        let dark = lamp.off();
        let checked = if duty_permille > MAX_DUTY_PERMILLE {
            Err(LampError::DutyTooLarge { asked: duty_permille })
        } else {
            dark
        };
        match checked {
            Ok(()) => Ok(lamp),
            Err(error) => Err((lamp.enable, lamp.pwm, error)),
        }
    }

    /// Lights it: the duty first, then the enable line.
    ///
    /// # Errors
    /// The step that failed; the lamp is then dark, as far as the pins obey.
    pub fn on(&mut self) -> Result<(), ErrorOf<E, P>> {
        let stepped = self
            .pwm
            .set_duty_cycle_fraction(self.duty_permille, 1000)
            .map_err(LampError::Pwm)
            .and_then(|()| self.enable.set_high().map_err(LampError::Enable));
        match stepped {
            Ok(()) => {
                self.lit = true;
                Ok(())
            }
            Err(error) => {
                // The first error is the one to tell; that of the way back adds nothing.
                let _ = self.off();
                Err(error)
            }
        }
    }

    /// Makes it dark: the enable line first, then the duty; the second even if the first fails.
    ///
    /// # Errors
    /// The first step that failed.
    pub fn off(&mut self) -> Result<(), ErrorOf<E, P>> {
        self.lit = false;
        let enable = self.enable.set_low().map_err(LampError::Enable);
        let pwm = self.pwm.set_duty_cycle_fully_off().map_err(LampError::Pwm);
        enable.and(pwm)
    }

    /// Whether the last command was [`Self::on`] and succeeded. Not a measurement.
    #[must_use]
    pub fn is_lit(&self) -> bool {
        self.lit
    }

    /// The duty while it is on, in thousandths.
    #[must_use]
    pub fn duty_permille(&self) -> u16 {
        self.duty_permille
    }

    /// Makes it dark and gives the pins back, with how that went.
    pub fn release(mut self) -> (E, P, Result<(), ErrorOf<E, P>>) {
        let dark = self.off();
        (self.enable, self.pwm, dark)
    }
}

#[cfg(test)]
mod tests {
    use embedded_hal_mock::eh1::{
        MockError,
        digital::{Mock as Pin, State, Transaction as Line},
        pwm::{Mock as Pwm, Transaction as Duty},
    };

    use super::*;

    extern crate std;
    use core::{cell::RefCell, convert::Infallible};
    use std::{format, io::ErrorKind, string::String, vec::Vec};

    const MAX: u16 = 1000;

    fn broken() -> MockError {
        MockError::Io(ErrorKind::NotConnected)
    }

    fn finish(enable: &mut Pin, pwm: &mut Pwm) {
        enable.done();
        pwm.done();
    }

    #[test]
    fn it_is_dark_from_the_first_moment_and_after_release() {
        let enable = Pin::new(&[Line::set(State::Low), Line::set(State::Low)]);
        let pwm = Pwm::new(&[Duty::set_duty_cycle(0), Duty::set_duty_cycle(0)]);
        let lamp = Lamp::new(enable, pwm, 100).unwrap();
        assert!(!lamp.is_lit());
        let (mut enable, mut pwm, dark) = lamp.release();
        assert_eq!(dark, Ok(()));
        finish(&mut enable, &mut pwm);
    }

    #[test]
    fn on_sets_the_duty_before_the_enable_line_and_off_the_other_way_round() {
        let steps = RefCell::new(Vec::new());
        let mut lamp = Lamp::new(Recorded(&steps), Recorded(&steps), 100).unwrap();
        lamp.on().unwrap();
        assert!(lamp.is_lit());
        lamp.off().unwrap();
        assert!(!lamp.is_lit());
        assert_eq!(
            *steps.borrow(),
            ["low", "duty 0", "duty 100", "high", "low", "duty 0"],
            "construction, on, off"
        );
    }

    /// Two pins that write into one list: the mocks of embedded-hal-mock each keep their own order.
    struct Recorded<'s>(&'s RefCell<Vec<String>>);

    impl embedded_hal::digital::ErrorType for Recorded<'_> {
        type Error = Infallible;
    }

    impl OutputPin for Recorded<'_> {
        fn set_low(&mut self) -> Result<(), Infallible> {
            self.0.borrow_mut().push("low".into());
            Ok(())
        }

        fn set_high(&mut self) -> Result<(), Infallible> {
            self.0.borrow_mut().push("high".into());
            Ok(())
        }
    }

    impl embedded_hal::pwm::ErrorType for Recorded<'_> {
        type Error = Infallible;
    }

    impl SetDutyCycle for Recorded<'_> {
        fn max_duty_cycle(&self) -> u16 {
            MAX
        }

        fn set_duty_cycle(&mut self, duty: u16) -> Result<(), Infallible> {
            self.0.borrow_mut().push(format!("duty {duty}"));
            Ok(())
        }
    }

    #[test]
    fn the_exact_steps_of_a_night() {
        let enable = Pin::new(&[
            Line::set(State::Low),
            Line::set(State::High),
            Line::set(State::Low),
            Line::set(State::Low),
        ]);
        let pwm = Pwm::new(&[
            Duty::set_duty_cycle(0),
            Duty::max_duty_cycle(u16::MAX),
            Duty::set_duty_cycle(16_383), // a quarter of 65535, rounded down
            Duty::set_duty_cycle(0),
            Duty::set_duty_cycle(0),
        ]);
        let mut lamp = Lamp::new(enable, pwm, MAX_DUTY_PERMILLE).unwrap();
        lamp.on().unwrap();
        lamp.off().unwrap();
        let (mut enable, mut pwm, _) = lamp.release();
        finish(&mut enable, &mut pwm);
    }

    #[test]
    fn no_duty_above_the_limit_is_ever_set() {
        for asked in [MAX_DUTY_PERMILLE + 1, 500, 1000, u16::MAX] {
            let enable = Pin::new(&[Line::set(State::Low)]);
            let pwm = Pwm::new(&[Duty::set_duty_cycle(0)]);
            let (mut enable, mut pwm, error) = Lamp::new(enable, pwm, asked).unwrap_err();
            assert_eq!(error, LampError::DutyTooLarge { asked });
            finish(&mut enable, &mut pwm);
        }
    }

    #[test]
    fn a_pwm_that_fails_leaves_the_enable_line_low() {
        let enable =
            Pin::new(&[Line::set(State::Low), Line::set(State::Low), Line::set(State::Low)]);
        let pwm = Pwm::new(&[
            Duty::set_duty_cycle(0),
            Duty::max_duty_cycle(MAX),
            Duty::set_duty_cycle(250).with_error(MockError::Io(ErrorKind::NotConnected)),
            Duty::set_duty_cycle(0),
            Duty::set_duty_cycle(0),
        ]);
        let mut lamp = Lamp::new(enable, pwm, MAX_DUTY_PERMILLE).unwrap();
        assert_eq!(lamp.on(), Err(LampError::Pwm(broken())));
        assert!(!lamp.is_lit());
        let (mut enable, mut pwm, _) = lamp.release();
        finish(&mut enable, &mut pwm);
    }

    #[test]
    fn an_enable_line_that_fails_takes_the_duty_back_to_zero() {
        let enable = Pin::new(&[
            Line::set(State::Low),
            Line::set(State::High).with_error(broken()),
            Line::set(State::Low).with_error(broken()),
            Line::set(State::Low),
        ]);
        let pwm = Pwm::new(&[
            Duty::set_duty_cycle(0),
            Duty::max_duty_cycle(MAX),
            Duty::set_duty_cycle(100),
            Duty::set_duty_cycle(0),
            Duty::set_duty_cycle(0),
        ]);
        let mut lamp = Lamp::new(enable, pwm, 100).unwrap();
        assert_eq!(lamp.on(), Err(LampError::Enable(broken())));
        assert!(!lamp.is_lit());
        let (mut enable, mut pwm, _) = lamp.release();
        finish(&mut enable, &mut pwm);
    }

    #[test]
    fn off_zeroes_the_duty_even_where_the_enable_line_fails() {
        let enable = Pin::new(&[
            Line::set(State::Low),
            Line::set(State::Low).with_error(broken()),
            Line::set(State::Low),
        ]);
        let pwm =
            Pwm::new(&[Duty::set_duty_cycle(0), Duty::set_duty_cycle(0), Duty::set_duty_cycle(0)]);
        let mut lamp = Lamp::new(enable, pwm, 100).unwrap();
        assert_eq!(lamp.off(), Err(LampError::Enable(broken())));
        let (mut enable, mut pwm, dark) = lamp.release();
        assert_eq!(dark, Ok(()));
        finish(&mut enable, &mut pwm);
    }

    #[test]
    fn a_pin_that_fails_at_construction_comes_back_with_its_reason() {
        let enable = Pin::new(&[Line::set(State::Low).with_error(broken())]);
        let pwm = Pwm::new(&[Duty::set_duty_cycle(0)]);
        let (mut enable, mut pwm, error) = Lamp::new(enable, pwm, 100).unwrap_err();
        assert_eq!(error, LampError::Enable(broken()));
        assert!(format!("{error}").contains("check its wiring"));
        finish(&mut enable, &mut pwm);
    }
}
