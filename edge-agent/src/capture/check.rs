//! What can be known to be wrong before the camera is started, for `milepost check`.

use std::{fs::File, path::Path};

use super::{
    credentials::Credentials,
    error::CaptureError,
    pipeline,
    source::{Head, Plan},
};
use crate::config::{Capture, Source};

/// Every problem found without starting anything, with the configuration's key that it belongs to:
/// a missing element, file, device or decoder, credentials that cannot be read or that others can, a
/// description that is no pipeline.
#[must_use]
pub fn check(config: &Capture) -> Vec<(&'static str, String)> {
    let key = |problem: &CaptureError| match (problem, &config.source) {
        (CaptureError::Credentials { .. }, _) => "capture.credentials_file",
        (CaptureError::File { .. }, Source::V4l2 { .. }) => "capture.device",
        (CaptureError::File { .. }, _) => "capture.path",
        (CaptureError::Url(_), _) => "capture.url",
        (CaptureError::Description(_), _) => "capture.description",
        _ => "capture.source",
    };
    problems(config).iter().map(|problem| (key(problem), problem.to_string())).collect()
}

/// What a start refuses for: the problems that do not go away by waiting.
pub(crate) fn problems(config: &Capture) -> Vec<CaptureError> {
    if let Err(e) = super::init() {
        return vec![e];
    }
    let mut problems = vec![];
    match Plan::new(&config.source) {
        Ok(plan) => problems.extend(unbuildable(&plan)),
        Err(e) => problems.push(e),
    }
    match &config.source {
        Source::File { path, .. } => problems.extend(unreadable(path, true)),
        Source::V4l2 { device } => problems.extend(unreadable(device, false)),
        Source::Rtsp { credentials_file: Some(path), .. } => {
            problems.extend(Credentials::read(path).err());
        }
        _ => {}
    }
    problems
}

/// The elements that are missing, each once.
fn unbuildable(plan: &Plan) -> Vec<CaptureError> {
    let mut wanted = vec!["videoconvert", "appsink"];
    let mut problems = vec![];
    match &plan.head {
        Head::Chain(parts) => wanted.extend(parts.iter().map(|part| part.factory)),
        Head::Description(description) => problems.extend(pipeline::parse(description).err()),
    }
    if plan.decode {
        // H.264 is what nearly every camera and clip gives.
        wanted.extend(["decodebin", "h264parse"]);
        let h264 = gstreamer::Caps::builder("video/x-h264").build();
        if !decodable(&h264) {
            let (codec, package) = ("H.264".into(), "gstreamer1.0-libav");
            problems.push(CaptureError::NoDecoder { codec, package });
        }
    }
    if plan.name.starts_with("rtsp") {
        wanted.extend(["rtph264depay", "rtph265depay"]);
    }
    wanted.sort_unstable();
    wanted.dedup();
    problems.extend(wanted.into_iter().filter_map(|element| pipeline::make(element).err()));
    problems
}

fn decodable(caps: &gstreamer::Caps) -> bool {
    use gstreamer::{ElementFactory, ElementFactoryType as Type, Rank};
    ElementFactory::factories_with_type(Type::DECODER | Type::MEDIA_VIDEO, Rank::MARGINAL)
        .into_iter()
        .any(|factory| factory.can_sink_any_caps(caps))
}

fn unreadable(path: &Path, regular: bool) -> Option<CaptureError> {
    let file = |reason: String| Some(CaptureError::File { path: path.into(), reason });
    // A device is not opened: some drivers reset the sensor on opening.
    let kind = std::fs::metadata(path).map(|meta| meta.is_file());
    match kind {
        Err(e) => file(e.to_string()),
        Ok(false) if regular => file("it is not a regular file".into()),
        Ok(_) if regular => File::open(path).err().and_then(|e| file(e.to_string())),
        Ok(_) => None,
    }
}
