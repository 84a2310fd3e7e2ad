//! Camera stream in, frames out. The only module that knows GStreamer.

pub mod frame;

pub use frame::{Frame, Plane};
