//! The lamp's wiring: which pins of which board stand behind the firmware's driver. The only
//! module that knows GPIO.
//!
//! Invariants: the safety of the lamp (dark first, two steps, hard limit) is the firmware's and is
//! the same on every board; a lamp is dark once its [`LampControl`] is dropped.
//! Fails by [`BoardError`]; a lamp that fails is a fault on the health page and never stops the
//! capture.

use std::fmt::Debug;

use milepost_firmware::lamp::{Lamp, MAX_DUTY_PERMILLE};

use crate::{
    config,
    health::{Component, Health, Status},
};

mod raspberry_pi;
pub mod simulated;

/// Why a lamp is not driven.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    /// The machine is no Raspberry Pi that rppal knows.
    #[error(
        "`lamp.board = \"raspberry-pi\"`, but this machine is no Raspberry Pi that is known here — set `board` to what it is, or to \"none\""
    )]
    NotAPi,
    /// The pins of the Pi cannot be had.
    #[error("the lamp's {pin} cannot be used: {reason} — {remedy}")]
    Pin {
        /// Which.
        pin: String,
        /// What rppal said.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The driver refused or a pin did not obey.
    #[error("the lamp did not obey: {0}")]
    Lamp(String),
}

/// A lamp that can be switched.
pub trait LampControl: Send + Debug {
    /// Lights it.
    ///
    /// # Errors
    /// What did not obey; the lamp is then dark, as far as the pins do.
    fn on(&mut self) -> Result<(), BoardError>;

    /// Makes it dark.
    ///
    /// # Errors
    /// What did not obey.
    fn off(&mut self) -> Result<(), BoardError>;

    /// What it is and on which pins, for the health page.
    fn describe(&self) -> String;
}

/// The lamp that the configuration names, dark; `None` where none is fitted.
///
/// # Errors
/// Its pins cannot be had, or did not obey.
pub fn lamp(config: &config::Lamp) -> Result<Option<Box<dyn LampControl>>, BoardError> {
    match *config {
        config::Lamp::None => Ok(None),
        config::Lamp::Simulated => Ok(Some(Box::new(simulated::lamp()?))),
        config::Lamp::RaspberryPi { enable_gpio, pwm_channel, frequency_hz, duty } => {
            let duty = duty_permille(duty);
            let lamp = raspberry_pi::lamp(enable_gpio, pwm_channel, frequency_hz, duty)?;
            Ok(Some(Box::new(lamp)))
        }
    }
}

/// Opens the configured lamp and lights it, and says on `health` how that went. There is no
/// lighting policy yet: a fitted lamp is lit while the agent runs. `None` where there is none to
/// drive, for whatever reason: the capture goes on without.
pub fn light(config: &config::Lamp, health: &Health) -> Option<Box<dyn LampControl>> {
    let lit = lamp(config).and_then(|lamp| {
        lamp.map(|mut lamp| {
            lamp.on()?;
            Ok(lamp)
        })
        .transpose()
    });
    match lit {
        Ok(None) => {
            health.set(Component::Lamp, Status::Pass, "none fitted");
            None
        }
        Ok(Some(lamp)) => {
            // A simulated lamp lights nothing: a pole must not be left behind with one unnoticed.
            let status =
                if *config == config::Lamp::Simulated { Status::Warn } else { Status::Pass };
            health.set(Component::Lamp, status, format!("lit: {}", lamp.describe()));
            Some(lamp)
        }
        Err(error) => {
            tracing::error!(%error, "lamp fails; reading goes on without it");
            health.set(Component::Lamp, Status::Fail, error.to_string());
            None
        }
    }
}

/// What can be said about the board without touching a pin: problems, each with its remedy.
#[must_use]
pub fn check(config: &config::Lamp) -> Vec<String> {
    match config {
        config::Lamp::RaspberryPi { .. } if !raspberry_pi::is_here() => {
            vec![BoardError::NotAPi.to_string()]
        }
        _ => Vec::new(),
    }
}

/// A share as thousandths, rounded down. What is above the limit stays above, for the driver to
/// refuse.
fn duty_permille(duty: f32) -> u16 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates; NaN gives 0, which is dark"
    )]
    // 0.1 as f32 is a little more than 0.1, 0.29 a little less: a ten-thousandth decides nothing.
    let permille = (duty * 1000.0 + 0.1) as u16;
    if duty > f32::from(MAX_DUTY_PERMILLE) / 1000.0 {
        permille.max(MAX_DUTY_PERMILLE + 1)
    } else {
        permille
    }
}

/// The firmware's lamp on a board's pins; dark when dropped.
#[derive(Debug)]
struct Driven<E: embedded_hal::digital::OutputPin, P: embedded_hal::pwm::SetDutyCycle> {
    lamp: Lamp<E, P>,
    description: String,
}

impl<E: embedded_hal::digital::OutputPin, P: embedded_hal::pwm::SetDutyCycle> Driven<E, P> {
    fn new(enable: E, pwm: P, duty: u16, description: String) -> Result<Self, BoardError> {
        let lamp = Lamp::new(enable, pwm, duty)
            .map_err(|(_, _, error)| BoardError::Lamp(error.to_string()))?;
        Ok(Self { lamp, description })
    }
}

impl<E, P> LampControl for Driven<E, P>
where
    E: embedded_hal::digital::OutputPin + Send + Debug,
    P: embedded_hal::pwm::SetDutyCycle + Send + Debug,
{
    fn on(&mut self) -> Result<(), BoardError> {
        self.lamp.on().map_err(|e| BoardError::Lamp(e.to_string()))
    }

    fn off(&mut self) -> Result<(), BoardError> {
        self.lamp.off().map_err(|e| BoardError::Lamp(e.to_string()))
    }

    fn describe(&self) -> String {
        let percent = f32::from(self.lamp.duty_permille()) / 10.0;
        format!("{}, {percent} % of the time", self.description)
    }
}

impl<E: embedded_hal::digital::OutputPin, P: embedded_hal::pwm::SetDutyCycle> Drop
    for Driven<E, P>
{
    fn drop(&mut self) {
        if let Err(error) = self.lamp.off() {
            tracing::error!(%error, "lamp could not be switched off");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PI: config::Lamp = config::Lamp::RaspberryPi {
        enable_gpio: 17,
        pwm_channel: 0,
        frequency_hz: 120.0,
        duty: 0.1,
    };

    #[test]
    fn no_lamp_is_no_fault() {
        let health = Health::default();
        assert!(light(&config::Lamp::None, &health).is_none());
        let check = &health.checks()[&Component::Lamp];
        assert_eq!((check.status, check.output.as_str()), (Status::Pass, "none fitted"));
    }

    #[test]
    fn a_simulated_lamp_says_so_and_warns() {
        let health = Health::default();
        let mut lamp = light(&config::Lamp::Simulated, &health).unwrap();
        let check = &health.checks()[&Component::Lamp];
        assert_eq!(check.status, Status::Warn);
        assert!(check.output.contains("simulated"), "{check:?}");
        lamp.off().unwrap();
    }

    /// Real here: the machines that run the tests are no Pis.
    #[test]
    fn a_pi_lamp_on_a_machine_that_is_no_pi_is_a_clear_fault_and_not_the_end() {
        if raspberry_pi::is_here() {
            return;
        }
        let error = lamp(&PI).unwrap_err();
        assert!(matches!(error, BoardError::NotAPi), "{error}");
        assert!(error.to_string().contains("no Raspberry Pi"));
        assert_eq!(check(&PI).len(), 1);
        let health = Health::default();
        assert!(light(&PI, &health).is_none());
        assert_eq!(health.checks()[&Component::Lamp].status, Status::Fail);
    }

    #[test]
    fn shares_become_thousandths_and_never_pass_the_limit_by_rounding() {
        assert_eq!(duty_permille(0.1), 100);
        assert_eq!(duty_permille(0.29), 290);
        assert_eq!(duty_permille(0.25), MAX_DUTY_PERMILLE);
        assert_eq!(duty_permille(0.25001), MAX_DUTY_PERMILLE + 1);
        assert_eq!(duty_permille(f32::NAN), 0);
        assert_eq!(duty_permille(-1.0), 0);
        assert_eq!(duty_permille(f32::INFINITY), u16::MAX);
    }
}
