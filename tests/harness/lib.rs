//! What the end-to-end tests share: a broker, a stream, an agent as a process.

mod program;

pub use program::milepost;

pub mod rtsp;

#![allow(clippy::expect_used, reason = "a harness that can't be set up fails the test")]

pub mod broker;
