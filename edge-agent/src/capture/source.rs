//! What is configured → what GStreamer has to build. Pure: nothing is opened here.
//!
//! A [`Plan`] is a chain of elements with their properties as text, so that a test can read it.
//! Credentials are no part of it.

use std::time::Duration;

use super::error::CaptureError;
use crate::config::{Source, Transport};

/// How long RTP packets wait for stragglers before decoding; adds to the delay of every frame.
const RTP_LATENCY: Duration = Duration::from_millis(100);
/// What an IP camera's encoder and the network may add before a frame arrives. Cameras state 100
/// to 400 ms; the RTP arrival time cannot tell.
const NETWORK_LATENESS: Duration = Duration::from_millis(500);
/// What a local camera's driver may be off by: one frame at 25 frames a second.
const DRIVER_LATENESS: Duration = Duration::from_millis(40);
/// The picture asked of a sensor that has no default of its own (CSI cameras). Another size: the
/// free description.
const SENSOR_CAPS: &str = "format=NV12,width=1920,height=1080,framerate=30/1";

/// A pipeline from the camera up to where decoding starts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    /// For the health page: `rtsp tcp`, `file`, …
    pub(crate) name: &'static str,
    /// The elements.
    pub(crate) head: Head,
    /// Whether what comes out of them may have to be decoded.
    pub(crate) decode: bool,
    /// How fast frames come and what a full queue does.
    pub(crate) pace: Pace,
    /// What the end of the stream means.
    pub(crate) end: End,
    /// How far a frame's time may lie from its exposure, the clock's own error aside.
    pub(crate) lateness: Duration,
}

/// The source's elements.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Head {
    /// Linked one after the other.
    Chain(Vec<Part>),
    /// A `gst-launch` line.
    Description(String),
}

/// One element.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Part {
    /// Its factory.
    pub(crate) factory: &'static str,
    /// Its properties, each in GStreamer's text form.
    pub(crate) properties: Vec<(&'static str, String)>,
}

/// How fast frames come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As the camera gives them.
    Camera,
    /// By their timestamps.
    Timestamps,
    /// As fast as they are taken; none is dropped.
    Unpaced,
}

/// What the end of the stream means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The camera went away: build again.
    Failure,
    /// Start the clip again.
    Repeat,
    /// Done.
    Finish,
}

impl Part {
    fn new<const N: usize>(factory: &'static str, properties: [(&'static str, String); N]) -> Self {
        Self { factory, properties: properties.into() }
    }

    fn caps(caps: impl Into<String>) -> Self {
        Self::new("capsfilter", [("caps", caps.into())])
    }
}

impl Plan {
    /// The plan for a source. `patience` is how long a network source may say nothing before it
    /// gives up by itself.
    ///
    /// # Errors
    /// [`CaptureError::Url`].
    pub(crate) fn new(source: &Source, patience: Duration) -> Result<Self, CaptureError> {
        let camera = |name, decode, lateness, chain: Vec<Part>| Self {
            name,
            head: Head::Chain(chain),
            decode,
            pace: Pace::Camera,
            end: End::Failure,
            lateness,
        };
        Ok(match source {
            Source::Rtsp { url, transport, .. } => {
                let (name, protocols) = rtsp(url, *transport)?;
                let patience = patience.as_micros().to_string();
                let rtspsrc = [
                    ("location", url.clone()),
                    ("protocols", protocols.into()),
                    ("latency", RTP_LATENCY.as_millis().to_string()),
                    ("timeout", patience.clone()),
                    ("tcp-timeout", patience),
                ];
                camera(name, true, NETWORK_LATENESS, vec![Part::new("rtspsrc", rtspsrc)])
            }
            Source::V4l2 { device } => {
                let device = device.to_string_lossy().into_owned();
                let part = Part::new("v4l2src", [("device", device)]);
                camera("v4l2", true, DRIVER_LATENESS, vec![part])
            }
            Source::Libcamera { camera_name } => {
                let mut part = Part::new("libcamerasrc", []);
                part.properties.extend(camera_name.clone().map(|name| ("camera-name", name)));
                let caps = Part::caps(format!("video/x-raw,{SENSOR_CAPS}"));
                camera("libcamera", false, DRIVER_LATENESS, vec![part, caps])
            }
            Source::NvArgus { sensor_id } => {
                let chain = vec![
                    Part::new("nvarguscamerasrc", [("sensor-id", sensor_id.to_string())]),
                    Part::caps(format!("video/x-raw(memory:NVMM),{SENSOR_CAPS}")),
                    Part::new("nvvidconv", []),
                    Part::caps("video/x-raw,format=NV12"),
                ];
                camera("nvarguscamera", false, DRIVER_LATENESS, chain)
            }
            Source::File { path, repeat, realtime } => {
                let path = path.to_string_lossy().into_owned();
                Self {
                    name: "file",
                    head: Head::Chain(vec![Part::new("filesrc", [("location", path)])]),
                    decode: true,
                    pace: if *realtime { Pace::Timestamps } else { Pace::Unpaced },
                    end: if *repeat { End::Repeat } else { End::Finish },
                    lateness: Duration::ZERO,
                }
            }
            Source::TestPattern { width, height, frames_per_s } => {
                let chain = vec![
                    Part::new("videotestsrc", [("is-live", "true".into())]),
                    Part::caps(format!(
                        "video/x-raw,format=NV12,width={width},height={height},\
                         framerate={frames_per_s}/1"
                    )),
                ];
                camera("test-pattern", false, Duration::ZERO, chain)
            }
            Source::Gstreamer { description } => Self {
                name: "gstreamer",
                head: Head::Description(description.clone()),
                decode: false,
                pace: Pace::Timestamps,
                end: End::Failure,
                lateness: NETWORK_LATENESS,
            },
        })
    }
}

/// Name and `protocols` of an RTSP address.
fn rtsp(url: &str, transport: Transport) -> Result<(&'static str, &'static str), CaptureError> {
    let (secure, address) = match url.split_once("://") {
        Some(("rtsp", address)) => (false, address),
        Some(("rtsps", address)) => (true, address),
        _ => return Err(CaptureError::Url("does not begin with rtsp:// or rtsps://")),
    };
    let host = address.split(['/', '?']).next().unwrap_or_default();
    if address.contains('@') {
        return Err(CaptureError::Url("holds credentials: put them into credentials_file"));
    }
    if host.is_empty() || host.starts_with(':') || address.contains(char::is_whitespace) {
        return Err(CaptureError::Url("names no host"));
    }
    // `tls` lets rtspsrc keep the TLS connection for what rtsps:// offers.
    Ok(match (secure, transport) {
        (false, Transport::Tcp) => ("rtsp tcp", "tcp"),
        (false, Transport::Udp) => ("rtsp udp", "udp"),
        (true, Transport::Tcp) => ("rtsps tcp", "tcp+tls"),
        (true, Transport::Udp) => ("rtsps udp", "udp+tls"),
    })
}

/// The Debian package (or the vendor's) that brings an element.
pub(crate) fn package(element: &str) -> &'static str {
    match element {
        "rtspsrc" | "v4l2src" | "rtph264depay" | "rtph265depay" => "gstreamer1.0-plugins-good",
        "h264parse" | "h265parse" => "gstreamer1.0-plugins-bad",
        "libcamerasrc" => "gstreamer1.0-libcamera",
        "nvarguscamerasrc" | "nvvidconv" => "nvidia-l4t-gstreamer (NVIDIA JetPack)",
        "filesrc" | "capsfilter" | "fakesink" => "libgstreamer1.0-0",
        "videotestsrc" | "videoconvert" | "decodebin" | "appsink" => "gstreamer1.0-plugins-base",
        _ => "the GStreamer plug-in that brings it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn rtsp_source(url: &str, transport: Transport) -> Source {
        let credentials_file = Some(PathBuf::from("/etc/milepost/camera"));
        Source::Rtsp { url: url.into(), transport, credentials_file }
    }

    fn chain(plan: &Plan) -> Vec<(&str, &[(&str, String)])> {
        match &plan.head {
            Head::Chain(parts) => parts.iter().map(|p| (p.factory, &p.properties[..])).collect(),
            Head::Description(_) => vec![],
        }
    }

    #[test]
    fn a_network_camera_is_asked_for_the_transport_that_is_configured() {
        let of = |url, transport| Plan::new(&rtsp_source(url, transport), PATIENCE).unwrap();
        let plan = of("rtsp://10.0.0.5:8554/live?x=1", Transport::Udp);
        let parts = chain(&plan);
        assert_eq!((plan.name, parts[0].0), ("rtsp udp", "rtspsrc"));
        assert!(parts[0].1.contains(&("protocols", "udp".into())));
        assert!(parts[0].1.contains(&("tcp-timeout", "5000000".into())));
        assert!(plan.decode && plan.pace == Pace::Camera && plan.end == End::Failure);
        let secure = of("rtsps://camera.example/live", Transport::Tcp);
        assert!(chain(&secure)[0].1.contains(&("protocols", "tcp+tls".into())));
    }

    #[test]
    fn an_address_with_credentials_or_without_a_host_is_refused_without_quoting_it() {
        for url in [
            "rtsp://admin:hunter2@10.0.0.5/live",
            "rtsp://admin:hunt/er2@10.0.0.5/live",
            "http://10.0.0.5/hunter2",
            "rtsp:///hunter2",
            "rtsp://:554/hunter2",
            "hunter2",
        ] {
            let refused = Plan::new(&rtsp_source(url, Transport::Tcp), PATIENCE).unwrap_err();
            assert!(matches!(refused, CaptureError::Url(_)), "{refused}");
            assert!(!refused.to_string().contains("hunter2"), "{refused}");
        }
    }

    #[test]
    fn only_a_clip_that_need_not_keep_its_pace_makes_the_pipeline_wait() {
        let file = |repeat, realtime| {
            let source = Source::File { path: "clip.mp4".into(), repeat, realtime };
            let plan = Plan::new(&source, PATIENCE).unwrap();
            (plan.end, plan.pace)
        };
        assert_eq!(file(false, true), (End::Finish, Pace::Timestamps));
        assert_eq!(file(true, false), (End::Repeat, Pace::Unpaced));
        let free = Source::Gstreamer { description: "videotestsrc".into() };
        assert_eq!(Plan::new(&free, PATIENCE).unwrap().pace, Pace::Timestamps);
    }

    #[test]
    fn cameras_on_the_board_get_the_elements_that_their_drivers_need() {
        let of = |source| Plan::new(&source, PATIENCE).unwrap();
        let argus = of(Source::NvArgus { sensor_id: 2 });
        let names: Vec<_> = chain(&argus).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["nvarguscamerasrc", "capsfilter", "nvvidconv", "capsfilter"]);
        assert_eq!(chain(&argus)[0].1, [("sensor-id", "2".to_owned())]);
        let libcamera = of(Source::Libcamera { camera_name: Some("imx296".into()) });
        assert_eq!(chain(&libcamera)[0].1, [("camera-name", "imx296".to_owned())]);
        assert!(chain(&of(Source::Libcamera { camera_name: None }))[0].1.is_empty());
        let usb = of(Source::V4l2 { device: "/dev/video3".into() });
        assert!(usb.decode, "webcams may give JPEG or H.264");
        assert_eq!(chain(&usb)[0].1, [("device", "/dev/video3".to_owned())]);
        let pattern = of(Source::TestPattern { width: 640, height: 360, frames_per_s: 25 });
        assert!(chain(&pattern)[1].1[0].1.contains("width=640,height=360,framerate=25/1"));
    }
}
