//! What the end-to-end tests share: a broker, a stream, an agent as a process.

pub mod rtsp;
