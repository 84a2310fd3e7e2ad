//! What the end-to-end tests share: a broker, a stream, an agent as a process.
#![allow(clippy::expect_used, reason = "a harness that can't be set up fails the test")]

pub mod agent;
pub mod broker;
mod program;
pub mod rtsp;

pub use program::milepost;
