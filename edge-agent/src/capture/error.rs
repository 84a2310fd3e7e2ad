//! What goes wrong between the camera and a frame, in words that say what to do.
//!
//! GStreamer's own words are quoted where they help, never with credentials in them ([`redact`]).

use std::{path::PathBuf, time::Duration};

use gstreamer as gst;

/// Why there are no frames.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaptureError {
    /// GStreamer itself does not start.
    #[error("GStreamer does not start: {0}; reinstall libgstreamer1.0-0 and its plug-ins")]
    Init(String),
    /// An element of the pipeline is not installed.
    #[error("the GStreamer element '{element}' is not installed: install {package}")]
    MissingElement {
        /// Its factory name.
        element: String,
        /// Where to get it.
        package: &'static str,
    },
    /// The stream's codec has no decoder installed.
    #[error("no decoder is installed for {codec}: install {package}")]
    NoDecoder {
        /// GStreamer's name for the codec.
        codec: String,
        /// Where to get it.
        package: &'static str,
    },
    /// The clip or the device is not there or cannot be opened.
    #[error("{path}: {reason}; check the path and its permissions")]
    File {
        /// What was to be opened.
        path: PathBuf,
        /// The system's word.
        reason: String,
    },
    /// The credentials file cannot be used.
    #[error("credentials file {path}: {reason}")]
    Credentials {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what to do; never its content.
        reason: String,
    },
    /// The stream's address is malformed.
    #[error("the stream's url {0}")]
    Url(&'static str),
    /// The free description is not a pipeline.
    #[error("the GStreamer description is not a pipeline that ends in one video source pad: {0}")]
    Description(String),
    /// The camera asks for credentials that it was not given.
    #[error(
        "the camera refuses the credentials: check the credentials file (one line user:password)"
    )]
    Unauthorised,
    /// Nothing is at the other end, or not under this path.
    #[error("the source cannot be opened ({0}): check address, power, cable and path")]
    Unreachable(String),
    /// What came is not video that can be decoded.
    #[error("the source gives no video that can be decoded ({0})")]
    NotVideo(String),
    /// Alive, but no frame for too long.
    #[error("no frame for {:.0} s although the source is connected: check the camera", .0.as_secs_f32())]
    Silent(Duration),
    /// A live source ended its stream.
    #[error("the source ended its stream")]
    EndOfStream,
    /// The clip ended and not one frame came out of it.
    #[error("the clip ended without one frame: it is empty, cut off or damaged")]
    NoFrames,
    /// A clip is shorter than its container states.
    #[error(
        "the clip is cut off: it ended at {:.1} s of {:.1} s", .played.as_secs_f32(), .stated.as_secs_f32()
    )]
    CutOff {
        /// Where its last frame stands.
        played: Duration,
        /// The length stated.
        stated: Duration,
    },
    /// Anything else that GStreamer reports.
    #[error("{0}")]
    Pipeline(String),
}

/// A bus error in our words. `missing` is the codec that decodebin found no decoder for, where it
/// said so before; `secrets` are cut out of what GStreamer says.
pub(crate) fn from_bus(
    error: &gst::message::Error,
    missing: Option<String>,
    secrets: &[&str],
) -> CaptureError {
    if let Some(codec) = missing {
        let package = decoder_package(&codec);
        return CaptureError::NoDecoder { codec, package };
    }
    let (cause, debug) = (error.error(), error.debug().unwrap_or_default());
    let element = error.src().map(|src| gst::prelude::GstObjectExt::name(src).to_string());
    // The debug text's first line is a place in GStreamer's source; what follows says more.
    let more = debug.split_once('\n').map_or("", |(_, more)| more.trim());
    let said = format!("{}: {} {more}", element.unwrap_or_default(), cause.message());
    let said = redact(said.trim(), secrets);
    use gst::{ResourceError as Resource, StreamError as Stream};
    match (cause.kind::<Resource>(), cause.kind::<Stream>()) {
        (Some(Resource::NotAuthorized), _) => CaptureError::Unauthorised,
        (Some(Resource::NotFound | Resource::OpenRead | Resource::OpenReadWrite), _) => {
            CaptureError::Unreachable(said)
        }
        (_, Some(Stream::TypeNotFound | Stream::WrongType | Stream::Decode | Stream::Demux)) => {
            CaptureError::NotVideo(said)
        }
        _ => CaptureError::Pipeline(said),
    }
}

/// The Debian package that brings a decoder for what GStreamer calls `codec`.
fn decoder_package(codec: &str) -> &'static str {
    let known = ["H.264", "H.265", "HEVC", "MPEG", "AVC"];
    if known.iter().any(|name| codec.contains(name)) {
        "gstreamer1.0-libav"
    } else {
        "the GStreamer plug-in for it (gstreamer1.0-libav, -plugins-good, -plugins-bad)"
    }
}

/// `text` without the `secrets` and without what stands before an `@` in any address.
pub(crate) fn redact(text: &str, secrets: &[&str]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|s| !s.is_empty()) {
        text = text.replace(secret, "***");
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find("://") {
        let (before, address) = rest.split_at(at + 3);
        out.push_str(before);
        // A password may hold any character but these; the last '@' before them ends it.
        let end = address.find(|c: char| c.is_whitespace() || "\"'<>".contains(c));
        let authority = &address[..end.unwrap_or(address.len())];
        rest = match authority.rfind('@') {
            Some(at) => {
                out.push_str("***");
                &address[at..]
            }
            None => address,
        };
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn gstreamers_errors_become_ours_and_name_the_remedy() {
        gst::init().unwrap();
        let said = |e: CaptureError| e.to_string();
        let resource = |kind, missing: Option<&str>| {
            let debug =
                "file.c(1): f (): /GstPipeline:p:\nfor bob:sesame at rtsp://bob:sesame@cam/";
            let message = gst::message::Error::builder(kind, "it failed").debug(debug).build();
            match message.view() {
                gst::MessageView::Error(error) => {
                    from_bus(error, missing.map(String::from), &["sesame"])
                }
                _ => unreachable!(),
            }
        };
        let refused = resource(gst::ResourceError::NotAuthorized, None);
        assert_eq!(refused, CaptureError::Unauthorised);
        let away = said(resource(gst::ResourceError::OpenRead, None));
        assert!(away.contains("it failed") && away.contains("cable"), "{away}");
        assert!(!away.contains("sesame"), "{away}");
        let codec =
            said(resource(gst::ResourceError::Failed, Some("H.265 (Main Profile) decoder")));
        assert!(codec.contains("H.265") && codec.contains("gstreamer1.0-libav"), "{codec}");
        let other = said(resource(gst::ResourceError::Failed, None));
        assert!(other.contains("it failed") && !other.contains("sesame"), "{other}");
    }

    #[test]
    fn credentials_are_cut_out_of_what_gstreamer_says() {
        let said = "cannot open rtsp://admin:hu/nt@er2@10.0.0.5/live, tried rtsp://10.0.0.5/a";
        let clean = "cannot open rtsp://***@10.0.0.5/live, tried rtsp://10.0.0.5/a";
        assert_eq!(redact(said, &[]), clean);
        assert_eq!(redact("user bob, key sesame", &["sesame", ""]), "user bob, key ***");
    }

    proptest! {
        #[test]
        fn no_password_survives_in_an_address(
            before in "[a-z ]{0,12}",
            password in "[0-9A-Z]{4,12}",
            after in "[a-z ./]{0,12}",
        ) {
            let said = format!("{before} rtsp://user:{password}@host/{after}");
            prop_assert!(!redact(&said, &[]).contains(&password));
        }
    }
}
