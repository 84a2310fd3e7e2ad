//! A Raspberry Pi's pins through rppal.
//!
//! rppal's GPIO speaks embedded-hal 1.0; its hardware PWM speaks only 0.2, hence [`Pulses`]. Both
//! pins go back to what they were when dropped (rppal's `reset_on_drop`); the enable line needs a
//! pull-down resistor on the lamp's side, so that an open line is dark.
//!
//! Not tried on a Pi yet: what is tested here is that a machine that is none says so.

use embedded_hal::pwm;
use rppal::{
    gpio::{self, Gpio, OutputPin},
    pwm::{Channel, Polarity, Pwm},
    system::DeviceInfo,
};

use super::{BoardError, Driven};

const PERMISSION: &str =
    "add the agent's user to the group gpio, or allow it /dev/gpiomem and /sys/class/pwm";

/// Whether this machine is a Pi that rppal knows. Touches no pin.
pub(super) fn is_here() -> bool {
    DeviceInfo::new().is_ok()
}

pub(super) fn lamp(
    enable_gpio: u8,
    pwm_channel: u8,
    frequency_hz: f64,
    duty_permille: u16,
) -> Result<Driven<OutputPin, Pulses>, BoardError> {
    if !is_here() {
        return Err(BoardError::NotAPi);
    }
    // The enable line first and low: whatever the PWM channel still does, the lamp is dark.
    let pin = |e: &gpio::Error| BoardError::Pin {
        pin: format!("enable line GPIO {enable_gpio}"),
        reason: e.to_string(),
        remedy: match e {
            gpio::Error::PinUsed(_) => "choose another `lamp.enable_gpio`",
            gpio::Error::PinNotAvailable(_) => "choose a `lamp.enable_gpio` that the header has",
            _ => PERMISSION,
        },
    };
    let enable =
        Gpio::new().and_then(|gpio| gpio.get(enable_gpio)).map_err(|e| pin(&e))?.into_output_low();
    let channel = if pwm_channel == 0 { Channel::Pwm0 } else { Channel::Pwm1 };
    let pwm = Pwm::with_frequency(channel, frequency_hz, 0.0, Polarity::Normal, true).map_err(
        |e| BoardError::Pin {
            pin: format!("PWM channel {pwm_channel}"),
            reason: e.to_string(),
            remedy: "enable it in /boot/firmware/config.txt (dtoverlay=pwm-2chan) and allow the agent's user /sys/class/pwm",
        },
    )?;
    let description = format!(
        "Raspberry Pi lamp on GPIO {enable_gpio} and PWM channel {pwm_channel} at {frequency_hz} Hz"
    );
    Driven::new(enable, Pulses(pwm), duty_permille, description)
}

/// rppal's hardware PWM as embedded-hal 1.0 wants it.
#[derive(Debug)]
pub(super) struct Pulses(Pwm);

/// rppal's PWM error.
#[derive(Debug)]
pub(super) struct PulsesError(#[expect(dead_code, reason = "shown by Debug")] rppal::pwm::Error);

impl pwm::Error for PulsesError {
    fn kind(&self) -> pwm::ErrorKind {
        pwm::ErrorKind::Other
    }
}

impl pwm::ErrorType for Pulses {
    type Error = PulsesError;
}

impl pwm::SetDutyCycle for Pulses {
    fn max_duty_cycle(&self) -> u16 {
        u16::MAX
    }

    fn set_duty_cycle(&mut self, duty: u16) -> Result<(), PulsesError> {
        self.0.set_duty_cycle(f64::from(duty) / f64::from(u16::MAX)).map_err(PulsesError)
    }
}
