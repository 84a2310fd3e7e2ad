//! What the end-to-end tests share: a broker, a bad line to it, a stream, a pole without a camera, an
//! agent as a process.
#![allow(clippy::expect_used, reason = "a harness that can't be set up fails the test")]

pub mod agent;
pub mod authority;
pub mod broker;
pub mod clock;
pub mod lists;
pub mod pole;
mod program;
pub mod proxy;
pub mod rtsp;

pub use program::milepost;

/// A TCP port of the loopback that nobody listens on. Below the ports that the kernel gives to
/// connections: a broker that is down for a while finds its own free again.
#[must_use]
pub(crate) fn free_port() -> u16 {
    loop {
        let port = rand::random_range(10_000..32_000);
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
