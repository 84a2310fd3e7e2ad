//! What the end-to-end tests share: a broker, a stream, an agent as a process.

mod program;

pub use program::milepost;

pub mod rtsp;
