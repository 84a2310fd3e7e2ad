//! The status page: plain HTML made here, readable on a phone, without scripts or anything loaded.
//!
//! It says first whether the pole works, then what does not, worst first, each with what to do;
//! numbers come last. Every text that comes from elsewhere goes through [`escape`].

use std::fmt::Write as _;

use jiff::{Timestamp, tz::TimeZone};
use sha2::{Digest as _, Sha256};

use crate::health::{Check, Component, Health, Status};

/// The page's style sheet; it stands in the page, and its hash in the policy.
pub const STYLE: &str = include_str!("style.css");

/// Seconds until the page asks again by itself.
const REFRESH_S: u32 = 5;

/// SHA-256 of [`STYLE`], in base64, as a content security policy wants it.
#[must_use]
pub fn style_hash() -> String {
    base64(&Sha256::digest(STYLE))
}

/// The page as it stands now.
#[must_use]
pub fn status_page(health: &Health, now: Timestamp) -> String {
    let ranked = health.ranked();
    let (class, headline) = headline(&ranked);
    let id = escape(&health.service_id);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta http-equiv=\"refresh\" content=\"{REFRESH_S}\">\
         <title>{headline} · {id}</title><style>{STYLE}</style></head><body>\n\
         <header><strong>Milepost</strong><span>{id}</span></header>\n\
         <main><h1 class=\"{class}\">{headline}</h1>\n<ul>\n"
    );
    for (component, check) in &ranked {
        component_item(&mut page, *component, check, now);
    }
    page += "</ul>\n";
    numbers(&mut page, health, now);
    facts(&mut page, health);
    let _ = writeln!(
        page,
        "</main><footer>As of {} · refreshes by itself · for machines: <a href=\"/health\">health</a>, \
         <a href=\"/metrics\">metrics</a>. No plate is shown here.</footer></body></html>",
        clock_time(now, None)
    );
    page
}

fn headline(ranked: &[(Component, Check)]) -> (&'static str, String) {
    let named = |status, word: &str| {
        let titles: Vec<_> =
            ranked.iter().filter(|(_, c)| c.status == status).map(|(c, _)| c.title()).collect();
        let plural = if titles.len() == 1 { "" } else { "s" };
        let text =
            format!("{} {word}{plural} ({})", titles.len(), titles.join(", ").to_lowercase());
        (titles.len(), text)
    };
    let ((fails, faults), (warns, warnings)) =
        (named(Status::Fail, "fault"), named(Status::Warn, "warning"));
    let reads = ranked.iter().all(|(c, check)| !c.is_essential() || check.status != Status::Fail);
    match (fails, warns) {
        (0, 0) => ("pass", "Everything works".into()),
        (0, _) => ("warn", format!("Works, with {warnings}")),
        _ if reads => ("fail", format!("Reads plates, but has {faults}")),
        _ => ("fail", format!("Does not read plates: {faults}")),
    }
}

fn component_item(page: &mut String, component: Component, check: &Check, now: Timestamp) {
    // The word says it too: colour alone would leave some readers out.
    let (class, word) = match check.status {
        Status::Pass => ("pass", "✓ works"),
        Status::Warn => ("warn", "! warning"),
        Status::Fail => ("fail", "✕ fault"),
    };
    let _ = writeln!(
        page,
        "<li class=\"{class}\"><b>{}</b><span class=\"tag\">{word}</span><p>{}</p><small>since {} ({})</small></li>",
        component.title(),
        escape(&sentence(&check.output)),
        clock_time(check.since, Some(now)),
        duration(now, check.since),
    );
}

fn numbers(page: &mut String, health: &Health, now: Timestamp) {
    let m = &health.metrics;
    let traffic = health.traffic();
    let since = clock_time(traffic.since, Some(now));
    let connected =
        if m.uplink_connected.get() > 0 { "server connected" } else { "server not connected" };
    page.push_str("<h2>Numbers</h2>\n<dl class=\"numbers\">");
    for (name, value, detail) in [
        (
            "Passes today",
            (traffic.reads + traffic.unread).to_string(),
            format!("{} read, {} not read, since {since}", traffic.reads, traffic.unread),
        ),
        (
            "Frames a second",
            format!("{:.1}", traffic.frames_per_s),
            format!("{} dropped since the start", m.frames_dropped.get()),
        ),
        ("Waiting to be sent", m.outbox_records.get().to_string(), connected.into()),
        (
            "Running for",
            duration(now, now.checked_sub(health.uptime()).unwrap_or(now)),
            format!("{} restarts of the camera stream", m.pipeline_rebuilds.get()),
        ),
    ] {
        let _ = write!(page, "<div><dt>{name}</dt><dd>{value}<small>{detail}</small></dd></div>");
    }
    page.push_str("</dl>\n");
}

fn facts(page: &mut String, health: &Health) {
    page.push_str("<h2>In use</h2>\n<dl class=\"facts\">");
    let mut fact = |subject: &str, value: &str| {
        let _ = write!(page, "<div><dt>{}</dt><dd>{}</dd></div>", escape(subject), escape(value));
    };
    for (subject, value) in health.facts() {
        fact(subject, &value);
    }
    fact("Version", env!("CARGO_PKG_VERSION"));
    page.push_str("</dl>\n");
}

/// With a capital first letter.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |c| c.to_uppercase().chain(chars).collect())
}

/// The machine's own time of day, with the date where that is not the day of `today`.
fn clock_time(t: Timestamp, today: Option<Timestamp>) -> String {
    let zoned = t.to_zoned_datetime(TimeZone::system());
    let same_day =
        today.is_some_and(|d| d.to_zoned_datetime(TimeZone::system()).date() == zoned.date());
    zoned.strftime(if same_day { "%H:%M" } else { "%Y-%m-%d %H:%M %Z" }).to_string()
}

/// `3 d 4 h`, `2 h 10 min`, `5 min`, `12 s`: two units at most. A clock that was set back gives 0.
fn duration(now: Timestamp, since: Timestamp) -> String {
    let s = now.duration_since(since).as_secs().max(0);
    match (s / 86_400, s / 3600 % 24, s / 60 % 60) {
        (0, 0, 0) => format!("{s} s"),
        (0, 0, min) => format!("{min} min"),
        (0, h, min) => format!("{h} h {min} min"),
        (d, h, _) => format!("{d} d {h} h"),
    }
}

/// Text made safe to stand in HTML, in attributes too; control characters are left out.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

/// RFC 4648, section 4; a dozen lines for one hash are less than a dependency.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, b| word << 8 | u32::from(*b));
        let word = word << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let digit = ALPHABET[(word >> (18 - 6 * i) & 63) as usize];
            text.push(if i <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn text_from_elsewhere_cannot_become_html() {
        let health = Health::new("a\"><script>alert(1)</script>");
        health.set(Component::Capture, Status::Fail, "<img src=x onerror='alert(2)'>\u{7}&");
        health.fact("Execution provider", "<b>cpu</b>");
        let page = status_page(&health, Timestamp::now());
        for raw in ["<script", "<img", "onerror='", "<b>cpu", "\u{7}"] {
            assert!(!page.contains(raw), "{raw} in\n{page}");
        }
        assert!(page.contains("&lt;img src=x onerror=&#39;alert(2)&#39;&gt; &amp;"));
    }

    #[test]
    fn the_page_is_small_whole_and_ranked() {
        let health = Health::new("demo-pd/main-st/north");
        for c in Component::ALL {
            health.set(c, Status::Pass, "works");
        }
        health.set(Component::Lamp, Status::Fail, "bank B is dark: check its plug");
        let page = status_page(&health, Timestamp::now());
        assert!(page.len() < 50_000);
        assert!(page.contains("Reads plates, but has 1 fault (lamp)"));
        let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("no {text}"));
        assert!(at("Bank B is dark") < at(">Camera<"));
        // Nothing is loaded and nothing runs.
        for external in ["<script", "src=", "http://", "https://", "url(", "@import"] {
            assert!(!page.contains(external), "{external}");
        }
    }

    #[test]
    fn durations_have_two_units_and_are_never_negative() {
        let start = Timestamp::UNIX_EPOCH;
        for (seconds, text) in [
            (-5, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (7_800, "2 h 10 min"),
            (3 * 86_400 + 4 * 3600 + 59, "3 d 4 h"),
        ] {
            assert_eq!(duration(start + SignedDuration::from_secs(seconds), start), text);
        }
    }

    #[test]
    fn base64_gives_the_rfcs_vectors() {
        for (plain, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
