//! A lamp in memory, named as such wherever it shows: for machines without one.
//!
//! It runs the firmware's real driver on pins that only remember.

use std::convert::Infallible;

use embedded_hal::{
    digital::{self, OutputPin},
    pwm::{self, SetDutyCycle},
};

use super::{BoardError, Driven};

/// The simulated lamp's duty, in thousandths.
const DUTY_PERMILLE: u16 = 100;

/// A pin that remembers.
#[derive(Debug, Default)]
pub struct Remembered {
    /// Level of the line, or duty of the pulses (of 1000).
    pub value: u16,
}

impl digital::ErrorType for Remembered {
    type Error = Infallible;
}

impl OutputPin for Remembered {
    fn set_low(&mut self) -> Result<(), Infallible> {
        self.value = 0;
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        self.value = 1;
        Ok(())
    }
}

impl pwm::ErrorType for Remembered {
    type Error = Infallible;
}

impl SetDutyCycle for Remembered {
    fn max_duty_cycle(&self) -> u16 {
        1000
    }

    fn set_duty_cycle(&mut self, duty: u16) -> Result<(), Infallible> {
        self.value = duty;
        Ok(())
    }
}

pub(super) fn lamp() -> Result<Driven<Remembered, Remembered>, BoardError> {
    Driven::new(
        Remembered::default(),
        Remembered::default(),
        DUTY_PERMILLE,
        "simulated lamp, gives no light".into(),
    )
}
