//! Drivers and control laws of the appliance's light, over embedded-hal 1.0 traits.
//!
//! No operating system, no allocation, no unsafe: the same code runs behind `rppal` on the
//! pole and behind a mock in the tests.
#![no_std]
#![forbid(unsafe_code)]

pub mod lamp;
