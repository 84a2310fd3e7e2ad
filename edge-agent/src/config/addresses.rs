//! Texts that name something: topic levels, stream addresses, pipelines, brokers, paths.
//!
//! Pure. Each check gives `None`, or what is wrong and what to do. A fault never repeats the text
//! of an address or a pipeline: someone may have written a password into it.

use super::problem::shown;

/// What is wrong, and what to do.
pub(super) type Fault = (String, String);

/// Longest topic level; the same in the wire contract.
const MAX_NAME_CHARS: usize = 64;
/// Longest stream address.
const MAX_URL_CHARS: usize = 2048;
/// Longest pipeline.
const MAX_PIPELINE_CHARS: usize = 4096;
/// Longest host name (RFC 1035, 2.3.4).
const MAX_HOST_CHARS: usize = 253;

/// Longest name of a systemd credential.
const MAX_CREDENTIAL_CHARS: usize = 64;
/// What a systemd credential's name stands behind.
pub(super) const CREDENTIAL: &str = "credential:";

/// Parameters that carry credentials, as cameras and GStreamer elements call them.
const SECRET_PARAMETERS: [&str; 12] = [
    "password=",
    "passwd=",
    "pwd=",
    "pass=",
    "passphrase=",
    "token=",
    "auth=",
    "authorization",
    "secret=",
    "key=",
    "user-pw=",
    "user-id=",
];

fn fault(message: impl Into<String>, remedy: impl Into<String>) -> Option<Fault> {
    Some((message.into(), remedy.into()))
}

/// A topic level of its own: nothing that MQTT or a file name could read as more.
pub(super) fn name(text: &str) -> Option<Fault> {
    let odd = text.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '-');
    match odd {
        Some(c) => fault(
            format!("`{}` may not stand in a name", shown(&c.to_string())),
            "write letters a-z, A-Z, digits and `-` only, e.g. \"main-st-01\"",
        ),
        None if text.is_empty() || text.len() > MAX_NAME_CHARS => {
            fault(format!("{} characters long", text.len()), format!("write 1 to {MAX_NAME_CHARS}"))
        }
        None => None,
    }
}

/// `credential:` and a name that is a plain file name: systemd lays each out as a file.
pub(super) fn credential(text: &str) -> Option<Fault> {
    let name = text.strip_prefix(CREDENTIAL).unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let good = (1..=MAX_CREDENTIAL_CHARS).contains(&name.len())
        && name.chars().all(plain)
        && !name.starts_with('.');
    if good {
        return None;
    }
    fault(
        format!("is not `{CREDENTIAL}` and a name of letters, digits, `-`, `_` and `.`"),
        "write e.g. \"credential:milepost-sealing\", the name in the unit's LoadCredentialEncrypted= (never the key itself)",
    )
}

/// `rtsp://` or `rtsps://`, a host, no credentials anywhere.
pub(super) fn stream_url(text: &str) -> Option<Fault> {
    if text.contains('@') || secret_parameter(text) {
        return fault(
            "credentials may not stand in the address: this file is shown in logs",
            "put `user:password` into a file of its own, mode 0600, and name it in credentials_file (an @ in the path is written %40)",
        );
    }
    let Some(rest) = text.strip_prefix("rtsp://").or_else(|| text.strip_prefix("rtsps://")) else {
        return fault("must start with rtsp:// or rtsps://", "write rtsp://host[:port]/path");
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (host, port) = split_port(authority);
    if !is_host(host) || port.is_some_and(|p| !is_port(p)) {
        return fault(
            "no valid host (and port) after ://",
            "write rtsp://host[:port]/path, IPv6 addresses in brackets",
        );
    }
    if text.contains(char::is_whitespace) || text.len() > MAX_URL_CHARS {
        return fault(
            format!("holds a space or is longer than {MAX_URL_CHARS} characters"),
            "write a space as %20",
        );
    }
    None
}

/// A free GStreamer description: only its length and credentials are looked at here.
pub(super) fn pipeline(text: &str) -> Option<Fault> {
    let user_info = text.split("://").skip(1).any(|rest| {
        rest.split(['/', '?', '#', ' ', '"'])
            .next()
            .is_some_and(|authority| authority.contains('@'))
    });
    if user_info || secret_parameter(text) {
        return fault(
            "credentials may not stand in the pipeline: this file is shown in logs",
            "use `source = \"rtsp\"` with credentials_file",
        );
    }
    let length = text.chars().count();
    if text.trim().is_empty() || length > MAX_PIPELINE_CHARS {
        return fault(
            format!("{length} characters long"),
            format!(
                "write 1 to {MAX_PIPELINE_CHARS}, e.g. \"videotestsrc ! video/x-raw,format=NV12\""
            ),
        );
    }
    None
}

/// `host:port`.
pub(super) fn host_port(text: &str) -> Option<Fault> {
    let example = "write host:port alone, e.g. \"broker.example.org:8883\"";
    if text.contains('@') {
        return fault(
            "credentials may not stand in the address",
            "write host:port alone; the pole shows its certificate_file instead",
        );
    }
    if text.contains("://") {
        return fault("must be a host and a port, without a scheme", example);
    }
    let (host, port) = split_port(text);
    match port {
        None => fault("the port is missing", example),
        Some(port) if !is_port(port) => fault("the port is not within 1 to 65535", example),
        Some(_) if !is_host(host) => fault("the host is no valid name or address", example),
        Some(_) => None,
    }
}

/// A path that means the same to everyone.
pub(super) fn path(text: &str, max_chars: usize) -> Option<Fault> {
    if text.is_empty() || text.chars().count() > max_chars {
        return fault(
            format!("a path of {} characters", text.chars().count()),
            format!("write a path of 1 to {max_chars} characters"),
        );
    }
    if text.starts_with('~') || text.starts_with('$') {
        return fault(
            "`~` and `$` are not expanded here",
            "write the path in full, or relative to this file's folder",
        );
    }
    None
}

fn secret_parameter(text: &str) -> bool {
    let small = text.to_ascii_lowercase();
    SECRET_PARAMETERS.iter().any(|p| {
        small
            .match_indices(p)
            .any(|(i, _)| !small[..i].ends_with(|c: char| c.is_ascii_alphanumeric()))
    })
}

/// `host:port` or `[v6]:port` → host, port.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !authority.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

fn is_port(text: &str) -> bool {
    !text.starts_with('+') && text.parse::<u16>().is_ok_and(|p| p > 0)
}

fn is_host(text: &str) -> bool {
    if let Some(v6) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        return v6.parse::<std::net::Ipv6Addr>().is_ok();
    }
    // Figures and dots alone are an IPv4 address or nothing.
    if text.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return text.parse::<std::net::Ipv4Addr>().is_ok();
    }
    text.len() <= MAX_HOST_CHARS
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_addresses_pass() {
        for url in
            ["rtsp://10.0.0.5/stream1", "rtsps://cam-1.example.org:322/a?channel=1&subtype=0"]
        {
            assert_eq!(stream_url(url), None, "{url}");
        }
        assert_eq!(stream_url("rtsp://[fe80::1]:554/"), None);
        for broker in ["localhost:8883", "192.0.2.7:1", "[::1]:8883", "b.example.org:65535"] {
            assert_eq!(host_port(broker), None, "{broker}");
        }
        assert_eq!(pipeline("v4l2src device=/dev/video2 ! video/x-raw,format=NV12"), None);
        assert_eq!(pipeline("souphttpsrc location=http://cam/a@b ! jpegdec"), None);
    }

    #[test]
    fn credentials_are_refused_and_never_repeated() {
        let refused = [
            stream_url("rtsp://admin:hunter2@10.0.0.5/stream1"),
            stream_url("rtsp://10.0.0.5/?user=admin&password=hunter2"),
            stream_url("rtsp://10.0.0.5/user=admin_password=hunter2_channel=1"),
            stream_url("admin:hunter2@10.0.0.5"),
            stream_url("rtsp://admin:hunter2"),
            pipeline("rtspsrc location=rtsp://admin:hunter2@10.0.0.5/ ! decodebin"),
            pipeline("rtspsrc location=rtsp://10.0.0.5/ user-id=admin user-pw=hunter2"),
            host_port("pole:hunter2@broker:8883"),
        ];
        for (i, fault) in refused.into_iter().enumerate() {
            let (message, remedy) = fault.unwrap_or_else(|| panic!("number {i} was accepted"));
            assert!(!format!("{message}{remedy}").contains("hunter2"), "{message} {remedy}");
        }
    }

    #[test]
    fn bad_brokers_say_what_is_missing() {
        for (text, word) in [
            ("broker", "port is missing"),
            ("broker:0", "1 to 65535"),
            ("broker:99999", "1 to 65535"),
            ("mqtts://broker:8883", "scheme"),
            ("-b-:8883", "host"),
            ("1.2.3:8883", "host"),
            ("::1:8883", "host"),
        ] {
            let (message, _) = host_port(text).unwrap_or_else(|| panic!("{text} was accepted"));
            assert!(message.contains(word), "{text}: {message}");
        }
    }

    #[test]
    fn names_are_topic_levels() {
        assert_eq!(name("Demo-PD-7"), None);
        for bad in ["", "a/b", "a b", "a+b", "#", "pölice", "a_b", &"x".repeat(65)] {
            assert!(name(bad).is_some(), "{bad}");
        }
    }
}
