//! The settings in force, as a configuration file that gives the same settings: for the log.
//!
//! Nothing is left out: there are no secrets in a [`Config`], the file that holds one is only
//! named.

use std::fmt::{self, Display, Formatter};

use super::{keys::quoted, settings::*};

fn text(f: &mut Formatter<'_>, key: &str, value: impl Display) -> fmt::Result {
    // JSON's escapes are TOML's, and control characters were refused.
    writeln!(f, "{key} = {}", serde_json::Value::String(value.to_string()))
}

fn bare(f: &mut Formatter<'_>, key: &str, value: impl Display) -> fmt::Result {
    writeln!(f, "{key} = {value}")
}

impl Display for Config {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            site,
            capture,
            vision,
            pass,
            evidence,
            outbox,
            sealing,
            retention,
            uplink,
            lists,
            clock,
            local,
            lamp,
        } = self;
        writeln!(f, "[site]")?;
        text(f, "agency", &site.agency)?;
        text(f, "site", &site.site)?;
        text(f, "camera", &site.camera)?;
        bare(f, "latitude_deg", site.latitude_deg)?;
        bare(f, "longitude_deg", site.longitude_deg)?;
        bare(f, "heading_deg", site.heading_deg)?;

        writeln!(f, "\n[capture]")?;
        source(f, &capture.source)?;
        bare(f, "silence_timeout_s", capture.silence_timeout.as_secs_f64())?;
        bare(f, "queue_frames", capture.queue_frames)?;
        let decode = match capture.decode {
            Decode::Auto => "auto",
            Decode::Software => "software",
        };
        text(f, "decode", decode)?;

        writeln!(f, "\n[vision]")?;
        text(f, "models_dir", vision.models_dir.display())?;
        if let Some(library) = &vision.onnxruntime_library {
            text(f, "onnxruntime_library", library.display())?;
        }
        let providers: Vec<_> = vision.execution_providers.iter().map(|p| p.name()).collect();
        bare(f, "execution_providers", format_args!("[{}]", quoted(&providers)))?;
        text(f, "precision", vision.precision.name())?;
        bare(f, "threads", vision.threads)?;
        bare(f, "detect_width_px", vision.detect_width)?;
        bare(f, "detect_every", vision.detect_every)?;
        bare(f, "min_score", vision.min_score)?;
        bare(f, "min_plate_width_px", vision.min_plate_width)?;
        bare(f, "motion_gate", vision.motion_gate)?;
        let regions: Vec<Vec<[f32; 2]>> =
            vision.regions.iter().map(|r| r.0.iter().map(|p| [p.x, p.y]).collect()).collect();
        bare(f, "regions", format_args!("{regions:?}"))?;

        writeln!(f, "\n[pass]")?;
        bare(f, "lost_after_ms", pass.lost_after.as_millis())?;
        bare(f, "rejoin_within_ms", pass.rejoin_within.as_millis())?;
        bare(f, "parked_after_s", pass.parked_after.as_secs_f64())?;
        bare(f, "min_sightings", pass.min_sightings)?;
        bare(f, "min_characters", pass.min_characters)?;
        bare(f, "max_characters", pass.max_characters)?;
        bare(f, "min_confidence", pass.min_confidence)?;
        bare(f, "certain_confidence", pass.certain_confidence)?;

        writeln!(f, "\n[evidence]")?;
        bare(f, "jpeg_quality", evidence.jpeg_quality)?;
        bare(f, "context_width_px", evidence.context_width)?;

        writeln!(f, "\n[outbox]")?;
        text(f, "directory", outbox.directory.display())?;
        bare(f, "max_records", outbox.max_records)?;
        bare(f, "max_photo_bytes", outbox.max_photo_bytes)?;
        bare(f, "max_bytes", outbox.max_bytes)?;
        bare(f, "min_free_bytes", outbox.min_free_bytes)?;

        writeln!(f, "\n[sealing]")?;
        match &sealing.key {
            SealingKey::Credential(name) => text(f, "key", format_args!("credential:{name}"))?,
            SealingKey::File(path) => text(f, "key_file", path.display())?,
        }

        writeln!(f, "\n[retention]")?;
        bare(f, "max_age_h", retention.max_age.as_secs() / 3600)?;

        writeln!(f, "\n[uplink]")?;
        text(f, "broker", &uplink.broker)?;
        text(f, "ca_file", uplink.ca_file.display())?;
        text(f, "certificate_file", uplink.certificate_file.display())?;
        text(f, "key_file", uplink.key_file.display())?;
        if let Some(revoked) = &uplink.crl_file {
            text(f, "crl_file", revoked.display())?;
        }
        let delivery = match uplink.delivery {
            Delivery::Receipt => "receipt",
            Delivery::Puback => "puback",
        };
        text(f, "delivery", delivery)?;
        bare(f, "resend_after_s", uplink.resend_after.as_secs_f64())?;
        bare(f, "live_window_s", uplink.live_window.as_secs_f64())?;
        bare(f, "max_packet_bytes", uplink.max_packet_bytes)?;
        let Caps { events, close_ups, contexts } = uplink.caps;
        for (key, cap) in [
            ("events_bytes_per_hour", events),
            ("close_up_bytes_per_hour", close_ups),
            ("context_bytes_per_hour", contexts),
        ] {
            cap.map_or(Ok(()), |bytes| bare(f, key, bytes))?;
        }
        bare(f, "onvif", uplink.onvif)?;

        writeln!(f, "\n[lists]")?;
        if let Some(authority) = &lists.authority_file {
            text(f, "authority_file", authority.display())?;
        }
        bare(f, "only_hits", lists.only_hits)?;

        writeln!(f, "\n[clock]")?;
        let reference = clock.reference.map_or("auto", |source| source.wire().name());
        text(f, "reference", reference)?;
        bare(f, "reference_error_ms", clock.reference_error.as_secs_f64() * 1000.0)?;

        writeln!(f, "\n[local]")?;
        text(f, "listen", local.listen)?;
        bare(f, "max_connections", local.max_connections)?;

        writeln!(f, "\n[lamp]")?;
        match lamp {
            Lamp::None => text(f, "board", "none"),
            Lamp::Simulated => text(f, "board", "simulated"),
            Lamp::RaspberryPi { enable_gpio, pwm_channel, frequency_hz, duty } => {
                text(f, "board", "raspberry-pi")?;
                bare(f, "enable_gpio", enable_gpio)?;
                bare(f, "pwm_channel", pwm_channel)?;
                bare(f, "frequency_hz", frequency_hz)?;
                bare(f, "duty", duty)
            }
        }
    }
}

fn source(f: &mut Formatter<'_>, source: &Source) -> fmt::Result {
    match source {
        Source::Rtsp { url, transport, credentials_file } => {
            text(f, "source", "rtsp")?;
            text(f, "url", url)?;
            let transport = match transport {
                Transport::Tcp => "tcp",
                Transport::Udp => "udp",
            };
            text(f, "transport", transport)?;
            credentials_file
                .as_ref()
                .map_or(Ok(()), |file| text(f, "credentials_file", file.display()))
        }
        Source::V4l2 { device } => {
            text(f, "source", "v4l2")?;
            text(f, "device", device.display())
        }
        Source::Libcamera { camera_name } => {
            text(f, "source", "libcamera")?;
            camera_name.as_ref().map_or(Ok(()), |name| text(f, "camera_name", name))
        }
        Source::NvArgus { sensor_id } => {
            text(f, "source", "nvarguscamera")?;
            bare(f, "sensor_id", sensor_id)
        }
        Source::File { path, repeat, realtime } => {
            text(f, "source", "file")?;
            text(f, "path", path.display())?;
            bare(f, "repeat", repeat)?;
            bare(f, "realtime", realtime)
        }
        Source::TestPattern { width, height, frames_per_s } => {
            text(f, "source", "test-pattern")?;
            bare(f, "width_px", width)?;
            bare(f, "height_px", height)?;
            bare(f, "frames_per_s", frames_per_s)
        }
        Source::Gstreamer { description } => {
            text(f, "source", "gstreamer")?;
            text(f, "description", description)
        }
    }
}
