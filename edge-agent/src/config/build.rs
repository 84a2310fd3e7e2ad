//! Checked values → [`Config`], and what must hold between them.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{addresses, reader::Reader, settings::*};
use crate::clock::ClockSource;

/// The whole of the settings; only good if the reader noted no problem.
pub(super) fn config(r: &mut Reader<'_>) -> Config {
    let outbox_directory = path(r, "outbox", "directory");
    let config = Config {
        site: Site {
            agency: r.text("site", "agency").unwrap_or_default(),
            site: r.text("site", "site").unwrap_or_default(),
            camera: r.text("site", "camera").unwrap_or_default(),
            latitude_deg: r.number("site", "latitude_deg"),
            longitude_deg: r.number("site", "longitude_deg"),
            heading_deg: r.number("site", "heading_deg"),
        },
        capture: Capture {
            source: source(r),
            silence_timeout: seconds(r, "capture", "silence_timeout_s"),
            queue_frames: r.whole("capture", "queue_frames"),
            decode: match r.word("capture", "decode") {
                "software" => Decode::Software,
                _ => Decode::Auto,
            },
        },
        vision: Vision {
            models_dir: path(r, "vision", "models_dir"),
            onnxruntime_library: r.path("vision", "onnxruntime_library"),
            execution_providers: r.providers("vision", "execution_providers"),
            precision: Precision::from_name(r.word("vision", "precision")).unwrap_or_default(),
            threads: r.whole("vision", "threads"),
            detect_width: r.whole("vision", "detect_width_px"),
            detect_every: r.whole("vision", "detect_every"),
            min_score: single(r, "vision", "min_score"),
            min_plate_width: single(r, "vision", "min_plate_width_px"),
            motion_gate: r.flag("vision", "motion_gate"),
            regions: r.regions("vision", "regions"),
        },
        pass: Pass {
            lost_after: Duration::from_millis(r.whole("pass", "lost_after_ms")),
            rejoin_within: Duration::from_millis(r.whole("pass", "rejoin_within_ms")),
            parked_after: seconds(r, "pass", "parked_after_s"),
            min_sightings: r.whole("pass", "min_sightings"),
            min_characters: r.whole("pass", "min_characters"),
            max_characters: r.whole("pass", "max_characters"),
            min_confidence: single(r, "pass", "min_confidence"),
            certain_confidence: single(r, "pass", "certain_confidence"),
        },
        evidence: Evidence {
            jpeg_quality: r.whole("evidence", "jpeg_quality"),
            context_width: r.whole("evidence", "context_width_px"),
        },
        outbox: Outbox {
            directory: outbox_directory.clone(),
            max_records: r.whole("outbox", "max_records"),
            max_photo_bytes: r.whole("outbox", "max_photo_bytes"),
            max_bytes: r.whole("outbox", "max_bytes"),
            min_free_bytes: r.whole("outbox", "min_free_bytes"),
        },
        sealing: Sealing { key: sealing_key(r, &outbox_directory) },
        retention: Retention {
            max_age: Duration::from_secs(r.whole::<u64>("retention", "max_age_h") * 3600),
        },
        uplink: Uplink {
            broker: r.text("uplink", "broker").unwrap_or_default(),
            ca_file: path(r, "uplink", "ca_file"),
            certificate_file: path(r, "uplink", "certificate_file"),
            key_file: path(r, "uplink", "key_file"),
            crl_file: r.path("uplink", "crl_file"),
            delivery: match r.word("uplink", "delivery") {
                "puback" => Delivery::Puback,
                _ => Delivery::Receipt,
            },
            resend_after: seconds(r, "uplink", "resend_after_s"),
            live_window: seconds(r, "uplink", "live_window_s"),
            max_packet_bytes: r.whole("uplink", "max_packet_bytes"),
            caps: Caps {
                events: r.optional("uplink", "events_bytes_per_hour"),
                close_ups: r.optional("uplink", "close_up_bytes_per_hour"),
                contexts: r.optional("uplink", "context_bytes_per_hour"),
            },
            onvif: r.flag("uplink", "onvif"),
        },
        lists: Lists {
            authority_file: r.path("lists", "authority_file"),
            only_hits: r.flag("lists", "only_hits"),
        },
        clock: Clock {
            reference: match r.word("clock", "reference") {
                "ntp" => Some(ClockSource::Ntp),
                "ptp" => Some(ClockSource::Ptp),
                "gps" => Some(ClockSource::Gps),
                _ => None,
            },
            reference_error: seconds(r, "clock", "reference_error_ms") / 1000,
        },
        local: Local {
            listen: r.listen("local", "listen"),
            max_connections: r.whole("local", "max_connections"),
        },
        lamp: lamp(r),
    };
    let Pass { min_confidence, certain_confidence, .. } = config.pass;
    if certain_confidence < min_confidence {
        r.note_at(
            "pass",
            "certain_confidence",
            format!("{certain_confidence} is below `min_confidence` ({min_confidence})"),
            "raise it to `min_confidence` or above, or lower that".into(),
        );
    }
    config
}

fn source(r: &mut Reader<'_>) -> Source {
    match r.word("capture", "source") {
        "rtsp" => Source::Rtsp {
            url: r.text("capture", "url").unwrap_or_default(),
            transport: match r.word("capture", "transport") {
                "udp" => Transport::Udp,
                _ => Transport::Tcp,
            },
            credentials_file: r.path("capture", "credentials_file"),
        },
        "v4l2" => Source::V4l2 { device: path(r, "capture", "device") },
        "libcamera" => Source::Libcamera { camera_name: r.text("capture", "camera_name") },
        "nvarguscamera" => Source::NvArgus { sensor_id: r.whole("capture", "sensor_id") },
        "gstreamer" => {
            Source::Gstreamer { description: r.text("capture", "description").unwrap_or_default() }
        }
        "test-pattern" => Source::TestPattern {
            width: r.whole("capture", "width_px"),
            height: r.whole("capture", "height_px"),
            frames_per_s: r.whole("capture", "frames_per_s"),
        },
        _ => Source::File {
            path: path(r, "capture", "path"),
            repeat: r.flag("capture", "repeat"),
            realtime: r.flag("capture", "realtime"),
        },
    }
}

fn sealing_key(r: &mut Reader<'_>, outbox: &Path) -> SealingKey {
    let credential = r.text("sealing", "key");
    let file = r.path("sealing", "key_file");
    if credential.is_some() && file.is_some() {
        r.note_at(
            "sealing",
            "key_file",
            "stands beside `key`: one key wraps the data keys".into(),
            "keep `key`, and remove `key_file`; `milepost rekey` goes from one to the other".into(),
        );
    }
    match (credential, file) {
        (Some(text), _) => {
            SealingKey::Credential(text.trim_start_matches(addresses::CREDENTIAL).into())
        }
        (None, Some(file)) => SealingKey::File(file),
        (None, None) => SealingKey::File(outbox.join("sealing.key")),
    }
}

fn lamp(r: &mut Reader<'_>) -> Lamp {
    match r.word("lamp", "board") {
        "simulated" => Lamp::Simulated,
        "raspberry-pi" => Lamp::RaspberryPi {
            enable_gpio: r.whole("lamp", "enable_gpio"),
            pwm_channel: r.whole("lamp", "pwm_channel"),
            frequency_hz: r.number("lamp", "frequency_hz"),
            duty: single(r, "lamp", "duty"),
        },
        _ => Lamp::None,
    }
}

fn path(r: &mut Reader<'_>, section: &'static str, name: &'static str) -> PathBuf {
    r.path(section, name).unwrap_or_default()
}

fn seconds(r: &mut Reader<'_>, section: &'static str, name: &'static str) -> Duration {
    Duration::try_from_secs_f64(r.number(section, name)).unwrap_or_default()
}

#[expect(clippy::cast_possible_truncation, reason = "shares and scores need no more")]
fn single(r: &mut Reader<'_>, section: &'static str, name: &'static str) -> f32 {
    r.number(section, name) as f32
}
