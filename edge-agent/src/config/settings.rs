//! What an agent is told, as types. The fields' documentation names the key, its default and its
//! range; [`super::keys::KEYS`] is where the parser takes them from.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::{clock::ClockSource, geometry::Polygon};

/// Everything that an agent is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[site]`: who and where.
    pub site: Site,
    /// `[capture]`: where frames come from.
    pub capture: Capture,
    /// `[vision]`: models, execution providers, regions.
    pub vision: Vision,
    /// `[pass]`: when a track is a pass and when its text is certain.
    pub pass: Pass,
    /// `[evidence]`: the two photos.
    pub evidence: Evidence,
    /// `[outbox]`: the durable queue.
    pub outbox: Outbox,
    /// `[sealing]`: what encrypts the queue.
    pub sealing: Sealing,
    /// `[retention]`: how long a pole keeps what the server has not taken.
    pub retention: Retention,
    /// `[uplink]`: the central server.
    pub uplink: Uplink,
    /// `[lists]`: alert lists.
    pub lists: Lists,
    /// `[clock]`: what keeps the machine's clock.
    pub clock: Clock,
    /// `[local]`: the local endpoint.
    pub local: Local,
    /// `[lamp]`: the infrared lamp's wiring.
    pub lamp: Lamp,
}

/// Names that stand in every topic and event, and the place.
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    /// Agency, e.g. `demo-pd`: letters, digits and `-`, 1 to 64 (a topic level of its own).
    pub agency: String,
    /// Site, same alphabet.
    pub site: String,
    /// Camera, same alphabet.
    pub camera: String,
    /// WGS 84, degrees north, −90 to 90.
    pub latitude_deg: f64,
    /// WGS 84, degrees east, −180 to 180.
    pub longitude_deg: f64,
    /// Compass direction that the camera looks to, degrees clockwise from north, 0 to 360.
    pub heading_deg: f64,
}

impl Config {
    /// The folder of the data keys, within the outbox's.
    #[must_use]
    pub fn sealing_folder(&self) -> PathBuf {
        self.outbox.directory.join("sealing")
    }
}

impl Site {
    /// Its place in the topic tree.
    ///
    /// # Errors
    /// For names outside the topic's alphabet, which a parsed configuration never has.
    pub fn root(&self) -> Result<milepost_wire::Root, milepost_wire::TopicError> {
        milepost_wire::Root::new(&self.agency, &self.site, &self.camera)
    }
}

/// Where frames come from and how long silence is borne.
#[derive(Debug, Clone, PartialEq)]
pub struct Capture {
    /// `source = "…"` and the keys that belong to that kind of source.
    pub source: Source,
    /// `silence_timeout_s`: alive but no frame for so long rebuilds the pipeline. Default 5, 1 to 300.
    pub silence_timeout: Duration,
    /// `queue_frames`: frames waiting for detection before the oldest is dropped. Default 4, 1 to 32.
    pub queue_frames: usize,
    /// `decode = "auto" | "software"`: hardware decoders where they exist, or never.
    pub decode: Decode,
}

/// One kind of camera. In TOML: `source = "rtsp"`, then the fields beside it.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// `source = "rtsp"`: `url` (`rtsp://` or `rtsps://`, without credentials in it),
    /// `transport = "tcp" | "udp"` (default tcp), `credentials_file` (one line `user:password`,
    /// readable by the agent's user only).
    Rtsp {
        /// The stream's address.
        url: String,
        /// How RTP travels.
        transport: Transport,
        /// File with `user:password`.
        credentials_file: Option<PathBuf>,
    },
    /// `source = "v4l2"`: `device`, e.g. `/dev/video0`.
    V4l2 {
        /// Character device.
        device: PathBuf,
    },
    /// `source = "libcamera"`: `camera_name` (optional: the first camera).
    Libcamera {
        /// libcamera's id of the camera.
        camera_name: Option<String>,
    },
    /// `source = "nvarguscamera"`: `sensor_id` (default 0).
    NvArgus {
        /// The Jetson's sensor number.
        sensor_id: u32,
    },
    /// `source = "file"`: `path`, `repeat` (default false: once), `realtime` (default true: at the
    /// clip's own pace; false: as fast as it goes, and then no frame is dropped).
    File {
        /// A clip that GStreamer can decode.
        path: PathBuf,
        /// Start again at its end.
        repeat: bool,
        /// At the clip's own pace.
        realtime: bool,
    },
    /// `source = "test-pattern"`: `width_px`, `height_px`, `frames_per_s` (1920, 1080, 30).
    TestPattern {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// Frames a second.
        frames_per_s: u32,
    },
    /// `source = "gstreamer"`: `description`, a `gst-launch` line that ends in a raw video source pad.
    Gstreamer {
        /// The line, without the sink.
        description: String,
    },
}

/// RTP's transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// Interleaved in the RTSP connection.
    #[default]
    Tcp,
    /// Datagrams.
    Udp,
}

/// Which decoders may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Decode {
    /// Hardware where the element exists, with a stated fallback.
    #[default]
    Auto,
    /// Software only.
    Software,
}

/// The numbers that a model's file computes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32 bit floating point.
    #[default]
    Fp32,
    /// 16 bit floating point, for GPUs.
    Fp16,
    /// 8 bit whole numbers, for processors with dot product instructions.
    Int8,
}

impl Precision {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Fp32, Self::Fp16, Self::Int8];

    /// By its name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.name() == name)
    }

    /// Its name in the configuration and in the models' manifest.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Int8 => "int8",
        }
    }
}

/// Models and how they run.
#[derive(Debug, Clone, PartialEq)]
pub struct Vision {
    /// `models_dir`: holds `manifest.toml` and the files it names.
    pub models_dir: PathBuf,
    /// `onnxruntime_library`: path of `libonnxruntime.so`; default: `ORT_DYLIB_PATH`, then the system's.
    pub onnxruntime_library: Option<PathBuf>,
    /// `execution_providers`: in order of wish; `["cpu"]`.
    pub execution_providers: Vec<Provider>,
    /// `precision = "fp32" | "fp16" | "int8"`: which of the models' files are run. Default fp32.
    pub precision: Precision,
    /// `threads`: for one inference. Default 1, 1 to 64.
    pub threads: usize,
    /// `detect_width_px`: frames are scaled to this width for detection. Default 640, multiple of 32.
    pub detect_width: usize,
    /// `detect_every`: look at every n-th frame. Default 1, 1 to 30.
    pub detect_every: u32,
    /// `min_score`: detections below are dropped. Default 0.45 (chosen on held-out training photos), 0 to 1.
    pub min_score: f32,
    /// `min_plate_width_px`: narrower plates are not read. Default 40 (full-frame pixels).
    pub min_plate_width: f32,
    /// `motion_gate`: skip detection while nothing moves. Default true.
    pub motion_gate: bool,
    /// `regions`: polygons `[[x, y], …]` in full-frame pixels; none: the whole frame.
    pub regions: Vec<Polygon>,
}

/// ONNX Runtime's execution providers that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Provider {
    /// `tensorrt`
    TensorRt,
    /// `cuda`
    Cuda,
    /// `webgpu`
    WebGpu,
    /// `openvino`
    OpenVino,
    /// `acl`
    Acl,
    /// `xnnpack`
    Xnnpack,
    /// `cpu`
    Cpu,
}

impl Provider {
    /// Every provider, in the order of the table in the reference.
    pub const ALL: [Self; 7] = [
        Self::TensorRt,
        Self::Cuda,
        Self::WebGpu,
        Self::OpenVino,
        Self::Acl,
        Self::Xnnpack,
        Self::Cpu,
    ];

    /// Its name in the configuration, on the health page and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TensorRt => "tensorrt",
            Self::Cuda => "cuda",
            Self::WebGpu => "webgpu",
            Self::OpenVino => "openvino",
            Self::Acl => "acl",
            Self::Xnnpack => "xnnpack",
            Self::Cpu => "cpu",
        }
    }
}

/// When a track is a pass and when its text is certain.
#[derive(Debug, Clone, PartialEq)]
pub struct Pass {
    /// `lost_after_ms`: a track unseen for so long has ended. Default 700, 100 to 10000.
    pub lost_after: Duration,
    /// `rejoin_within_ms`: a vehicle hidden in mid-picture is waited for so long. Default 2500, 0 to 10000.
    pub rejoin_within: Duration,
    /// `parked_after_s`: a plate standing still for so long is read then and not again until it
    /// moves off. Default 4, 1 to 600.
    pub parked_after: Duration,
    /// `min_sightings`: tracks of fewer detections are noise. Default 3, 1 to 30.
    pub min_sightings: u32,
    /// `min_characters`: shorter texts are lettering, not plates. Default 4, 1 to 16.
    pub min_characters: usize,
    /// `max_characters`: longer texts are lettering, not plates. Default 8, 1 to 16.
    pub max_characters: usize,
    /// `min_confidence`: a voted text below this, look-alikes taken as one, is an unread pass. Default 0.8, 0 to 1.
    pub min_confidence: f32,
    /// `certain_confidence`: no more readings once the vote is this sure. Default 0.995, 0.5 to 1.
    pub certain_confidence: f32,
}

impl Default for Pass {
    fn default() -> Self {
        Self {
            lost_after: Duration::from_millis(700),
            rejoin_within: Duration::from_millis(2500),
            parked_after: Duration::from_secs(4),
            min_sightings: 3,
            min_characters: 4,
            max_characters: 8,
            min_confidence: 0.8,
            certain_confidence: 0.995,
        }
    }
}

/// The two photos of a read.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// `jpeg_quality`: 1 to 100. Default 85.
    pub jpeg_quality: u8,
    /// `context_width_px`: the context photo is scaled down to at most this width. Default 1280, 320 to 4096.
    pub context_width: usize,
}

/// The durable queue.
#[derive(Debug, Clone, PartialEq)]
pub struct Outbox {
    /// `directory`: made if missing, mode 0700.
    pub directory: PathBuf,
    /// `max_records`: oldest evicted above. Default 100 000, 100 to 10 000 000.
    pub max_records: u64,
    /// `max_photo_bytes`: oldest photos evicted above. Default 2 GiB, at least 10 MB.
    pub max_photo_bytes: u64,
    /// `max_bytes`: of photos and store together; oldest photos, then records, evicted above. Default
    /// 4 GiB, at least 20 MB.
    pub max_bytes: u64,
    /// `min_free_bytes`: of the disk, left free; oldest photos, then records, evicted below. Default
    /// 64 MiB, 0 to 1 TiB.
    pub min_free_bytes: u64,
}

/// What encrypts the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealing {
    /// Where the key-encryption key comes from.
    pub key: SealingKey,
}

/// Where the key that wraps the data keys comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SealingKey {
    /// `key = "credential:NAME"`: a systemd credential, unsealed with the TPM or the machine's key.
    Credential(String),
    /// `key_file`: a file, made on first use. Without any key: `sealing.key` in the outbox's folder.
    File(PathBuf),
}

/// Alert lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lists {
    /// `authority_file`: PEM of the authority whose signers answer for lists; `None`: no list is taken.
    pub authority_file: Option<PathBuf>,
    /// `only_hits`: keep no read but those that match a list. Default no.
    pub only_hits: bool,
}

/// How long a pole keeps what the server has not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// `max_age_h`: records and photos this old can't be read any more. Default 168, 2 to 17 520.
    pub max_age: Duration,
}

/// The central server's broker.
#[derive(Debug, Clone, PartialEq)]
pub struct Uplink {
    /// `broker`: `host:port`; the host is checked against the certificate.
    pub broker: String,
    /// `ca_file`: PEM of the authority that signed the broker's certificate.
    pub ca_file: PathBuf,
    /// `certificate_file`: PEM, this pole's own.
    pub certificate_file: PathBuf,
    /// `key_file`: PEM, this pole's own; not readable by others.
    pub key_file: PathBuf,
    /// `crl_file`: PEM or DER, lists of revoked certificates. Default: revocation is not checked.
    pub crl_file: Option<PathBuf>,
    /// `delivery = "receipt" | "puback"`: what lets a read be deleted. Default receipt.
    pub delivery: Delivery,
    /// `resend_after_s`: no receipt for so long sends again. Default 30, 1 to 3600.
    pub resend_after: Duration,
    /// `live_window_s`: events older than this are marked `historical` and do not go first. Default 300, 1 to 86400.
    pub live_window: Duration,
    /// `max_packet_bytes`: larger messages are refused before publishing. Default 1 MiB, 4 KiB to 64 MiB.
    pub max_packet_bytes: usize,
    /// `events_bytes_per_hour`, `close_up_bytes_per_hour`, `context_bytes_per_hour`: 10 kB to 1 TiB.
    pub caps: Caps,
    /// `onvif`: publish the ONVIF Profile M view beside ours. Default false.
    pub onvif: bool,
}

/// Bytes that each lane may send in an hour; `None`: as many as the line takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Caps {
    /// Events and their ONVIF views.
    pub events: Option<u64>,
    /// Plate close-ups.
    pub close_ups: Option<u64>,
    /// Context photos.
    pub contexts: Option<u64>,
}

/// What counts as delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delivery {
    /// The server's own receipt.
    #[default]
    Receipt,
    /// The broker's acknowledgement.
    Puback,
}

/// What keeps the machine's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Clock {
    /// `reference = "auto" | "ntp" | "ptp" | "gps"`: `None` is auto, the time service is asked. Default auto.
    pub reference: Option<ClockSource>,
    /// `reference_error_ms`: how far the reference itself may be off. Default 1, 0 to 10000.
    pub reference_error: Duration,
}

/// The local endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Local {
    /// `listen`: address and port. Default `127.0.0.1:8480`.
    pub listen: SocketAddr,
    /// `max_connections`: open at once; above this the oldest that asks for
    /// nothing makes room. Default 64, 4 to 1024.
    pub max_connections: usize,
}

/// The lamp's wiring.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Lamp {
    /// `board = "none"`: no lamp is driven.
    #[default]
    None,
    /// `board = "simulated"`: a lamp in memory; the health page says so.
    Simulated,
    /// `board = "raspberry-pi"`: rppal; `enable_gpio` (BCM number) and `pwm_channel` (0 or 1),
    /// `frequency_hz`, `duty` (0 to the firmware's hard limit).
    RaspberryPi {
        /// BCM number of the enable line.
        enable_gpio: u8,
        /// Hardware PWM channel.
        pwm_channel: u8,
        /// Pulse rate.
        frequency_hz: f64,
        /// Share of the period that the lamp is lit.
        duty: f32,
    },
}
