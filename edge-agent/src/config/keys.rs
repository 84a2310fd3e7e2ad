//! Every key of the configuration file, in one table: what it may hold, what it is without the
//! file, what it means. The parser, the refusals' remedies and `docs/reference/config.md` all
//! come from here, so that they cannot disagree.
//!
//! Pure data; nothing here fails.

use milepost_firmware::lamp;

/// What a key may hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A topic level: letters, digits and `-`, 1 to 64 of them.
    Name,
    /// Text of 1 to this many characters.
    Text(usize),
    /// A file or folder; relative to the configuration file's folder.
    Path,
    /// A device file, from the root.
    Device,
    /// `true` or `false`.
    Flag(bool),
    /// A whole number, both ends included, in steps from 0.
    Whole {
        /// Least.
        min: i64,
        /// Most.
        max: i64,
        /// Multiples of this.
        step: i64,
        /// Without the key.
        default: Option<i64>,
    },
    /// A number, both ends included.
    Number {
        /// Least.
        min: f64,
        /// Most.
        max: f64,
        /// Without the key.
        default: Option<f64>,
    },
    /// One of these words.
    Word {
        /// All of them.
        words: &'static [&'static str],
        /// Without the key.
        default: Option<&'static str>,
    },
    /// A list of execution providers, each once.
    Providers,
    /// A list of polygons `[[x, y], …]` in pixels.
    Regions,
    /// `rtsp://` or `rtsps://`, without credentials.
    StreamUrl,
    /// A `gst-launch` line, without credentials.
    Pipeline,
    /// `credential:NAME`, a systemd credential.
    Credential,
    /// `host:port`.
    HostPort,
    /// `address:port`, the address in figures; without the key, this one.
    Listen(&'static str),
}

/// One key of the file.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its table, without brackets.
    pub section: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it may hold.
    pub kind: Kind,
    /// Whether the file must have it (where `only_with` holds).
    pub required: bool,
    /// The key in the same table that decides whether this one may stand, and the words for which
    /// it may.
    pub only_with: Option<(&'static str, &'static str)>,
    /// What it means, in one sentence.
    pub meaning: &'static str,
}

/// A table of the file.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// Its name, without brackets.
    pub name: &'static str,
    /// What it is about.
    pub meaning: &'static str,
}

/// The tables, in the order of [`super::Config`].
pub const SECTIONS: [Section; 13] = [
    Section { name: "site", meaning: "who and where; the names stand in every topic and event" },
    Section { name: "capture", meaning: "where frames come from" },
    Section { name: "vision", meaning: "models, execution providers, regions" },
    Section { name: "pass", meaning: "when a track is a pass and when its text is certain" },
    Section { name: "evidence", meaning: "the two photos of a read" },
    Section { name: "outbox", meaning: "the durable queue" },
    Section { name: "sealing", meaning: "what encrypts the queue; at most one of the two keys" },
    Section { name: "retention", meaning: "how long a pole keeps what the server has not taken" },
    Section { name: "uplink", meaning: "the central server's broker" },
    Section { name: "lists", meaning: "alert lists" },
    Section { name: "clock", meaning: "what keeps the machine's clock" },
    Section { name: "local", meaning: "the local endpoint" },
    Section { name: "lamp", meaning: "the infrared lamp's wiring" },
];

/// The kinds of source, as `capture.source` names them.
pub const SOURCES: &[&str] =
    &["rtsp", "v4l2", "libcamera", "nvarguscamera", "file", "test-pattern", "gstreamer"];

/// The boards, as `lamp.board` names them.
pub const BOARDS: &[&str] = &["none", "simulated", "raspberry-pi"];

/// What may keep the clock, as `clock.reference` names it.
pub const REFERENCES: &[&str] = &["auto", "ntp", "ptp", "gps"];

const fn key(section: &'static str, name: &'static str, kind: Kind, meaning: &'static str) -> Key {
    Key { section, name, kind, required: false, only_with: None, meaning }
}

const fn required(k: Key) -> Key {
    Key { required: true, ..k }
}

const fn with(selector: &'static str, word: &'static str, k: Key) -> Key {
    Key { only_with: Some((selector, word)), ..k }
}

const fn whole(min: i64, max: i64, default: i64) -> Kind {
    Kind::Whole { min, max, step: 1, default: Some(default) }
}

const fn optional(min: i64, max: i64) -> Kind {
    Kind::Whole { min, max, step: 1, default: None }
}

const fn number(min: f64, max: f64, default: f64) -> Kind {
    Kind::Number { min, max, default: Some(default) }
}

const fn measured(min: f64, max: f64) -> Kind {
    Kind::Number { min, max, default: None }
}

const fn word(words: &'static [&'static str], default: &'static str) -> Kind {
    Kind::Word { words, default: Some(default) }
}

/// Every key.
#[rustfmt::skip] // One line a key reads as the table that it is.
pub const KEYS: &[Key] = &[
    required(key("site", "agency", Kind::Name, "The agency, e.g. `demo-pd`.")),
    required(key("site", "site", Kind::Name, "The pole.")),
    required(key("site", "camera", Kind::Name, "The image sensor on it.")),
    required(key("site", "latitude_deg", measured(-90.0, 90.0), "WGS 84, degrees north.")),
    required(key("site", "longitude_deg", measured(-180.0, 180.0), "WGS 84, degrees east.")),
    required(key("site", "heading_deg", measured(0.0, 360.0), "Where the camera looks to, degrees clockwise from north.")),

    required(key("capture", "source", Kind::Word { words: SOURCES, default: None }, "The kind of camera; it decides which of the keys below may stand.")),
    required(with("source", "rtsp", key("capture", "url", Kind::StreamUrl, "The stream's address, `rtsp://` or `rtsps://`, without credentials in it."))),
    with("source", "rtsp", key("capture", "transport", word(&["tcp", "udp"], "tcp"), "How RTP travels: inside the RTSP connection, or in datagrams.")),
    with("source", "rtsp", key("capture", "credentials_file", Kind::Path, "A file with one line `user:password`, readable by the agent's user only.")),
    required(with("source", "v4l2", key("capture", "device", Kind::Device, "The camera's device file, e.g. `/dev/video0`."))),
    with("source", "libcamera", key("capture", "camera_name", Kind::Text(256), "libcamera's id of the camera; without it, the first camera.")),
    with("source", "nvarguscamera", key("capture", "sensor_id", whole(0, 15, 0), "The Jetson's sensor number.")),
    required(with("source", "file", key("capture", "path", Kind::Path, "A clip that GStreamer can decode."))),
    with("source", "file", key("capture", "repeat", Kind::Flag(false), "Start again at the clip's end.")),
    with("source", "file", key("capture", "realtime", Kind::Flag(true), "At the clip's own pace; `false`: as fast as it goes, and then no frame is dropped.")),
    with("source", "test-pattern", key("capture", "width_px", Kind::Whole { min: 16, max: 7680, step: 2, default: Some(1920) }, "The pattern's width.")),
    with("source", "test-pattern", key("capture", "height_px", Kind::Whole { min: 16, max: 4320, step: 2, default: Some(1080) }, "The pattern's height.")),
    with("source", "test-pattern", key("capture", "frames_per_s", whole(1, 240, 30), "The pattern's frame rate.")),
    required(with("source", "gstreamer", key("capture", "description", Kind::Pipeline, "A `gst-launch` line that ends in a raw video source pad, without the sink and without credentials."))),
    key("capture", "silence_timeout_s", number(1.0, 300.0, 5.0), "Alive but no frame for so long rebuilds the pipeline."),
    key("capture", "queue_frames", whole(1, 32, 4), "Frames waiting for detection before the oldest is dropped (and counted)."),
    key("capture", "decode", word(&["auto", "software"], "auto"), "Hardware decoders where they exist, or never."),

    required(key("vision", "models_dir", Kind::Path, "The folder that holds `manifest.toml` and the models it names.")),
    key("vision", "onnxruntime_library", Kind::Path, "`libonnxruntime.so`; without the key, what the environment variable `ORT_DYLIB_PATH` names, then the system's."),
    key("vision", "execution_providers", Kind::Providers, "In order of wish; one that cannot be used is a stated fallback to the next."),
    key("vision", "precision", word(&["fp32", "fp16", "int8"], "fp32"), "Which of the models' files are run: `fp16` is made for GPUs, `int8` for processors with dot product instructions."),
    key("vision", "threads", whole(1, 64, 1), "Threads of one inference."),
    key("vision", "detect_width_px", Kind::Whole { min: 160, max: 3840, step: 32, default: Some(640) }, "Frames are scaled to this width for detection."),
    key("vision", "detect_every", whole(1, 30, 1), "Look at every n-th frame."),
    key("vision", "min_score", number(0.0, 1.0, 0.45), "Detections that score lower are dropped."),
    key("vision", "min_plate_width_px", number(8.0, 2000.0, 40.0), "Narrower plates are not read (pixels of the full frame)."),
    key("vision", "motion_gate", Kind::Flag(true), "Skip detection while nothing moves."),
    key("vision", "regions", Kind::Regions, "Where to look, in pixels of the full frame; without the key, everywhere."),

    key("pass", "lost_after_ms", whole(100, 10_000, 700), "A track unseen for so long has ended."),
    key(
        "pass",
        "rejoin_within_ms",
        whole(0, 10_000, 2500),
        "A vehicle hidden in mid-picture is waited for so long.",
    ),
    key("pass", "parked_after_s", number(1.0, 600.0, 4.0), "A plate standing still for so long is read then, and not again until it moves off."),
    key("pass", "min_sightings", whole(1, 30, 3), "Tracks of fewer detections are noise."),
    key("pass", "min_characters", whole(1, 16, 4), "Shorter texts are lettering, not plates."),
    key("pass", "max_characters", whole(1, 16, 8), "Longer texts are lettering, not plates."),
    key("pass", "min_confidence", number(0.0, 1.0, 0.8), "A voted text below this, look-alikes such as O and 0 taken as one, is an unread pass."),
    key("pass", "certain_confidence", number(0.5, 1.0, 0.995), "No more readings once the vote is this sure; not below `min_confidence`."),

    key("evidence", "jpeg_quality", whole(1, 100, 85), "Of both photos."),
    key("evidence", "context_width_px", whole(320, 4096, 1280), "The context photo is scaled down to at most this width."),

    required(key("outbox", "directory", Kind::Path, "Where the queue lives; made if missing, mode 0700.")),
    key("outbox", "max_records", whole(100, 10_000_000, 600_000), "Above this the oldest records are evicted (counted, and in the ledger)."),
    key("outbox", "max_photo_bytes", whole(10_000_000, 1 << 44, 1 << 31), "Above this the oldest photos are evicted (counted, and in the ledger)."),
    key("outbox", "max_bytes", whole(20_000_000, 1 << 44, 1 << 32), "Of photos and store together; above this the oldest photos are evicted, then the oldest records."),
    key("outbox", "min_free_bytes", whole(0, 1 << 40, 64 << 20), "Of the disk, left free; below this the oldest photos are evicted, then the oldest records."),

    key("sealing", "key", Kind::Credential, "A systemd credential of 32 bytes that wraps the data keys; systemd unseals it with the TPM or the machine's own key."),
    key("sealing", "key_file", Kind::Path, "A file of 32 bytes instead, made on first use; not readable by others. Weak: who takes the box has it. Without both keys, `sealing.key` in `outbox.directory`."),

    key("retention", "max_age_h", whole(2, 17_520, 168), "Records and photos this old can't be read any more, delivered or not; two years at most. Those on hold stay, two years at most."),

    required(key("uplink", "broker", Kind::HostPort, "`host:port` of the MQTT broker; the host is checked against its certificate.")),
    required(key("uplink", "ca_file", Kind::Path, "PEM of the authority that signed the broker's certificate.")),
    required(key("uplink", "certificate_file", Kind::Path, "PEM, this pole's own certificate.")),
    required(key("uplink", "key_file", Kind::Path, "PEM, this pole's own key; not readable by others.")),
    key("uplink", "crl_file", Kind::Path, "PEM or DER, the authorities' lists of revoked certificates: each certificate of the broker's chain must be covered and on none, and a list that is missing, unreadable or past its end refuses the connection; without the key, revocation is not checked."),
    key("uplink", "delivery", word(&["receipt", "puback"], "receipt"), "What lets a read be deleted: the server's own receipt, or the broker's acknowledgement."),
    key("uplink", "resend_after_s", number(1.0, 3600.0, 30.0), "No receipt for so long sends again."),
    key("uplink", "live_window_s", number(1.0, 86_400.0, 300.0), "Events older than this are marked `historical` and sent beside the newer ones, not before them."),
    key("uplink", "max_packet_bytes", whole(4096, 64 << 20, 1 << 20), "Larger messages are refused before publishing (and counted)."),
    key("uplink", "events_bytes_per_hour", optional(10_000, 1 << 40), "At most so many bytes of events in an hour, for metered lines; what is over waits in the outbox."),
    key("uplink", "close_up_bytes_per_hour", optional(10_000, 1 << 40), "The same for plate close-ups; events do not wait for them."),
    key("uplink", "context_bytes_per_hour", optional(10_000, 1 << 40), "The same for context photos; nothing else waits for them."),
    key("uplink", "onvif", Kind::Flag(false), "Publish the ONVIF Profile M view beside ours."),

    key("lists", "authority_file", Kind::Path, "PEM of the authority whose signers answer for alert lists; without the key no list is taken. Not the authority of `uplink`: whoever it signs for could write lists."),
    key("lists", "only_hits", Kind::Flag(false), "Keep no read but those that match a list: others are counted in the ledger and dropped at once, before anything of them is written. For agencies that may keep no others. Without a list in force nothing is kept."),

    key("clock", "reference", word(REFERENCES, "auto"), "What keeps the machine's clock: `auto` asks chrony and systemd-timesyncd; name it where neither does (`ptp` with phc2sys)."),
    key("clock", "reference_error_ms", number(0.0, 10_000.0, 1.0), "How far the reference itself may be off; added to the uncertainty of every time."),

    key("local", "listen", Kind::Listen("127.0.0.1:8480"), "Address and port of the local endpoint; port 0 takes a free one."),
    key("local", "max_connections", whole(4, 1024, 64), "Open at once; above this the oldest that asks for nothing makes room."),

    key("lamp", "board", word(BOARDS, "none"), "How the lamp is wired: not at all, in memory (the health page says so), or by rppal."),
    required(with("board", "raspberry-pi", key("lamp", "enable_gpio", Kind::Whole { min: 0, max: 27, step: 1, default: None }, "BCM number of the enable line."))),
    required(with("board", "raspberry-pi", key("lamp", "pwm_channel", Kind::Whole { min: 0, max: 1, step: 1, default: None }, "Hardware PWM channel."))),
    required(with("board", "raspberry-pi", key("lamp", "frequency_hz", measured(lamp::MIN_FREQUENCY_HZ as f64, lamp::MAX_FREQUENCY_HZ as f64), "Pulse rate."))),
    required(with("board", "raspberry-pi", key("lamp", "duty", measured(0.0, lamp::MAX_DUTY_PERMILLE as f64 / 1000.0), "Share of the period that the lamp is lit; the firmware's hard limit is the most."))),
];

/// The execution providers' names.
pub const PROVIDERS: [&str; super::Provider::ALL.len()] = {
    let mut names = [""; super::Provider::ALL.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = super::Provider::ALL[i].name();
        i += 1;
    }
    names
};

/// The key `section.name`.
#[must_use]
pub fn find(section: &str, name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|k| k.section == section && k.name == name)
}

/// The keys of one table.
pub fn of_section(section: &str) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(move |k| k.section == section)
}

impl Key {
    /// `table.key`
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }
}

impl Kind {
    /// What it may hold, for a person: `a whole number, 1 to 32`.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Self::Name => "a text of letters a-z, A-Z, digits and `-`, 1 to 64 of them".into(),
            Self::Text(max) => format!("a text of 1 to {max} characters"),
            Self::Path => "a path in quotes".into(),
            Self::Device => "a path from the root, e.g. \"/dev/video0\"".into(),
            Self::Flag(_) => "`true` or `false`".into(),
            Self::Whole { min, max, step: 1, .. } => format!("a whole number, {min} to {max}"),
            Self::Whole { min, max, step, .. } => {
                format!("a whole number, {min} to {max}, a multiple of {step}")
            }
            Self::Number { min, max, .. } => format!("a number, {min} to {max}"),
            Self::Word { words, .. } => format!("one of {}", quoted(words)),
            Self::Providers => format!("a list of some of {}, each once", quoted(&PROVIDERS)),
            Self::Regions => {
                "a list of polygons, each a list of 3 to 64 points [x, y] in pixels".into()
            }
            Self::StreamUrl => {
                "an address \"rtsp://host[:port]/path\" or \"rtsps://…\", without credentials"
                    .into()
            }
            Self::Pipeline => "a `gst-launch` line in quotes, without credentials".into(),
            Self::Credential => "\"credential:NAME\", e.g. \"credential:milepost-sealing\"".into(),
            Self::HostPort => "\"host:port\", e.g. \"broker.example.org:8883\"".into(),
            Self::Listen(example) => {
                format!("\"address:port\" with the address in figures, e.g. \"{example}\"")
            }
        }
    }

    /// A value that may stand, as it would be written in the file.
    #[must_use]
    pub fn example(self) -> String {
        match self {
            Self::Name => "\"main-st-01\"".into(),
            Self::Text(_) => "\"…\"".into(),
            Self::Path => "\"/etc/milepost/…\"".into(),
            Self::Device => "\"/dev/video0\"".into(),
            Self::Whole { min, .. } => self.default_text().unwrap_or_else(|| min.to_string()),
            Self::Number { min, .. } => self.default_text().unwrap_or_else(|| min.to_string()),
            Self::Word { words, .. } => format!("\"{}\"", words[0]),
            Self::Regions => "[[[0, 400], [1920, 400], [1920, 1080], [0, 1080]]]".into(),
            Self::StreamUrl => "\"rtsp://192.0.2.10/stream1\"".into(),
            Self::Pipeline => "\"videotestsrc ! video/x-raw,format=NV12\"".into(),
            Self::Credential => "\"credential:milepost-sealing\"".into(),
            Self::HostPort => "\"broker.example.org:8883\"".into(),
            Self::Flag(_) | Self::Providers | Self::Listen(_) => {
                self.default_text().unwrap_or_default()
            }
        }
    }

    /// What stands without the key, as it would be written in the file.
    #[must_use]
    pub fn default_text(self) -> Option<String> {
        match self {
            Self::Flag(b) => Some(b.to_string()),
            Self::Whole { default, .. } => default.map(|d| d.to_string()),
            Self::Number { default, .. } => default.map(|d| d.to_string()),
            Self::Word { default, .. } => default.map(|d| format!("\"{d}\"")),
            Self::Providers => Some("[\"cpu\"]".into()),
            Self::Listen(d) => Some(format!("\"{d}\"")),
            _ => None,
        }
    }
}

/// `"a", "b", "c"`
pub(super) fn quoted(words: &[&str]) -> String {
    words.iter().map(|w| format!("\"{w}\"")).collect::<Vec<_>>().join(", ")
}

/// The reference table of every key, as Markdown: what `docs/reference/config.md` holds.
#[must_use]
pub fn reference() -> String {
    let mut text = String::new();
    for section in SECTIONS {
        text += &format!("### `[{}]`: {}\n\n", section.name, section.meaning);
        text += "| key | holds | without it | meaning |\n| --- | --- | --- | --- |\n";
        for k in of_section(section.name) {
            let without = match (k.required, k.kind.default_text()) {
                (true, _) => "required".into(),
                (false, Some(default)) => format!("`{default}`"),
                (false, None) => "not set".into(),
            };
            let only = k.only_with.map_or(String::new(), |(selector, word)| {
                format!("Only with `{selector} = \"{word}\"`. ")
            });
            text += &format!(
                "| `{}` | {} | {without} | {only}{} |\n",
                k.name,
                k.kind.describe(),
                k.meaning
            );
        }
        text += "\n";
    }
    text.truncate(text.trim_end().len());
    text += "\n";
    text
}
