//! What the end-to-end tests share: a broker, a stream, a pole without a camera, an agent as a
//! process.
#![allow(clippy::expect_used, reason = "a harness that can't be set up fails the test")]

pub mod agent;
pub mod broker;
pub mod pole;
mod program;
pub mod rtsp;

pub use program::milepost;

/// A TCP port of the loopback that nobody listens on.
#[must_use]
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}
