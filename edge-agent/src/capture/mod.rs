//! Camera stream in, frames out. The only module that knows GStreamer.
//!
//! ```text
//! config::Source ─ source::Plan ─ pipeline ─ camera thread ─ bounded queue ─ Camera::next
//! ```
//!
//! [`Camera`] keeps frames coming for ever: an error, the end of the stream and silence each tear
//! the pipeline down wholly and build a new one, with back-off and jitter. A full queue drops its
//! oldest frame (counted), but for a clip that is read as fast as it goes, which waits. How the
//! camera is stands on the health page under `capture`, the clock under `clock`.

mod camera;
mod check;
mod credentials;
mod decoder;
mod error;
pub mod frame;
mod pipeline;
mod queue;
mod source;
mod timeline;

pub use camera::{Camera, Next};
pub use check::check;
pub use error::CaptureError;
pub use frame::{Frame, Plane};

/// Loads GStreamer and prefers hardware decoders. Every entrance calls it; again costs nothing.
///
/// # Errors
/// [`CaptureError::Init`].
pub fn init() -> Result<(), CaptureError> {
    gstreamer::init().map_err(|e| CaptureError::Init(e.to_string()))?;
    decoder::prefer_hardware();
    Ok(())
}
