//! Single values out of a [`Reader`], each checked against its row in [`super::keys`].
//!
//! Every getter gives a value in any case: the file's, else the default, else a stand-in that is
//! thrown away because a problem was noted. So one walk finds every problem, and nothing here
//! stops half way.

use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use toml_span::Value;

use super::{
    addresses,
    keys::{self, Kind, quoted},
    problem::shown,
    reader::{Reader, nearest},
    settings::Provider,
    syntax::place,
};
use crate::geometry::{Point, Polygon};

/// Most polygons in `vision.regions`.
const MAX_REGIONS: usize = 32;
/// Most points of one of them.
const MAX_REGION_POINTS: usize = 64;
/// Furthest coordinate of a point: wider than any sensor that is decoded here.
const MAX_COORDINATE_PX: f64 = 16_384.0;
/// Longest path (Linux's `PATH_MAX`).
const MAX_PATH_CHARS: usize = 4095;

impl<'t> Reader<'t> {
    fn take(&mut self, section: &'static str, name: &'static str) -> (Kind, Option<Value<'t>>) {
        let kind = keys::find(section, name).map_or(Kind::Path, |k| k.kind);
        debug_assert!(keys::find(section, name).is_some(), "{section}.{name} is in the table");
        (kind, self.found.remove(&(section, name)))
    }

    fn wrong_type(&mut self, section: &str, name: &str, kind: Kind, value: &Value<'_>) {
        let found = value.as_ref().type_str();
        let remedy = match (kind, value.as_str()) {
            (Kind::Whole { .. } | Kind::Number { .. }, Some(s)) if s.parse::<f64>().is_ok() => {
                format!("write the number without quotes: `{name} = {}`", shown(s))
            }
            (Kind::Flag(_), Some("true" | "false")) => "write it without quotes".into(),
            _ => format!("write e.g. `{name} = {}`", kind.example()),
        };
        self.note_at(section, name, format!("must be {}, found {found}", kind.describe()), remedy);
    }

    /// `true` or `false`.
    pub fn flag(&mut self, section: &'static str, name: &'static str) -> bool {
        let (kind, value) = self.take(section, name);
        let default = matches!(kind, Kind::Flag(true));
        let Some(value) = value else { return default };
        value.as_bool().unwrap_or_else(|| {
            self.wrong_type(section, name, kind, &value);
            default
        })
    }

    /// A whole number, as the type that the setting has.
    pub fn whole<T: TryFrom<i64> + Default>(
        &mut self,
        section: &'static str,
        name: &'static str,
    ) -> T {
        let (kind, value) = self.take(section, name);
        let Kind::Whole { min, max, step, default } = kind else { return T::default() };
        let mut number = default.unwrap_or(min);
        if let Some(value) = value {
            match value.as_integer() {
                Some(n) if (min..=max).contains(&n) && n % step == 0 => number = n,
                Some(n) => {
                    let multiple =
                        if step > 1 { format!(", a multiple of {step}") } else { String::new() };
                    self.note_at(
                        section,
                        name,
                        format!("{n} is not within {min} to {max}{multiple}"),
                        self.choose(kind, format!("from {min} to {max}{multiple}")),
                    );
                }
                None => self.wrong_type(section, name, kind, &value),
            }
        }
        T::try_from(number).unwrap_or_default()
    }

    /// A whole number that need not be there.
    pub fn optional<T: TryFrom<i64> + Default>(
        &mut self,
        section: &'static str,
        name: &'static str,
    ) -> Option<T> {
        self.found.contains_key(&(section, name)).then(|| self.whole(section, name))
    }

    /// A number; a whole one will do.
    pub fn number(&mut self, section: &'static str, name: &'static str) -> f64 {
        let (kind, value) = self.take(section, name);
        let Kind::Number { min, max, default } = kind else { return 0.0 };
        let fallback = default.unwrap_or(min);
        let Some(value) = value else { return fallback };
        #[expect(clippy::cast_precision_loss, reason = "every range is far below 2^53")]
        match value.as_float().or_else(|| value.as_integer().map(|i| i as f64)) {
            Some(n) if (min..=max).contains(&n) => n,
            Some(n) => {
                self.note_at(
                    section,
                    name,
                    format!("{} is not within {min} to {max}", shown(&n.to_string())),
                    self.choose(kind, format!("from {min} to {max}")),
                );
                fallback
            }
            None => {
                self.wrong_type(section, name, kind, &value);
                fallback
            }
        }
    }

    #[expect(clippy::unused_self, reason = "reads as the others do where it is called")]
    fn choose(&self, kind: Kind, range: String) -> String {
        match kind.default_text() {
            Some(default) => format!("choose a value {range}; without the key it is {default}"),
            None => format!("choose a value {range}"),
        }
    }

    /// One of the key's words.
    pub fn word(&mut self, section: &'static str, name: &'static str) -> &'static str {
        let (kind, value) = self.take(section, name);
        let Kind::Word { words, default } = kind else { return "" };
        let fallback = default.unwrap_or("");
        let Some(value) = value else { return fallback };
        let Some(text) = value.as_str() else {
            self.wrong_type(section, name, kind, &value);
            return fallback;
        };
        words.iter().find(|w| **w == text).copied().unwrap_or_else(|| {
            let (message, remedy) = not_a_word(text, words);
            self.note_at(section, name, message, remedy);
            fallback
        })
    }

    /// A text, checked by what its kind says. `None` without the key, or with a wrong one.
    pub fn text(&mut self, section: &'static str, name: &'static str) -> Option<String> {
        let (kind, value) = self.take(section, name);
        let value = value?;
        let Some(text) = value.as_str() else {
            self.wrong_type(section, name, kind, &value);
            return None;
        };
        let fault = match kind {
            _ if text.chars().any(char::is_control) => Some((
                "holds a control character".into(),
                "remove it; it may have come in by copying".into(),
            )),
            Kind::Name => addresses::name(text),
            Kind::StreamUrl => addresses::stream_url(text),
            Kind::Pipeline => addresses::pipeline(text),
            Kind::HostPort => addresses::host_port(text),
            Kind::Credential => addresses::credential(text),
            Kind::Path | Kind::Device => addresses::path(text, MAX_PATH_CHARS),
            Kind::Text(max) if text.is_empty() || text.chars().count() > max => Some((
                format!("{} characters long", text.chars().count()),
                format!("write 1 to {max}"),
            )),
            _ => None,
        };
        let fault = fault.or_else(|| {
            (kind == Kind::Device && !text.starts_with('/')).then(|| {
                ("must start with `/`".into(), "write it in full, e.g. /dev/video0".into())
            })
        });
        match fault {
            None => Some(text.into()),
            Some((message, remedy)) => {
                self.note_at(section, name, message, remedy);
                None
            }
        }
    }

    /// A path, taken from the file's folder.
    pub fn path(&mut self, section: &'static str, name: &'static str) -> Option<PathBuf> {
        self.text(section, name).map(|p| self.base.join(p))
    }

    /// The local endpoint's address.
    pub fn listen(&mut self, section: &'static str, name: &'static str) -> SocketAddr {
        let (kind, _) = (keys::find(section, name).map(|k| k.kind), ());
        let Some(Kind::Listen(default)) = kind else { return unspecified() };
        let text = self.text(section, name).unwrap_or_else(|| default.into());
        SocketAddr::from_str(&text).unwrap_or_else(|_| {
            self.note_at(
                section,
                name,
                format!("`{}` is no address and port", shown(&text)),
                format!(
                    "write the address in figures and a port, e.g. \"{default}\" or \"[::]:8480\""
                ),
            );
            unspecified()
        })
    }

    /// Execution providers, in order.
    pub fn providers(&mut self, section: &'static str, name: &'static str) -> Vec<Provider> {
        let (kind, value) = self.take(section, name);
        let Some(value) = value else { return vec![Provider::Cpu] };
        let Some(list) = value.as_array() else {
            self.wrong_type(section, name, kind, &value);
            return Vec::new();
        };
        let mut providers = Vec::new();
        for item in list {
            let text = item.as_str().unwrap_or_default();
            match Provider::ALL.into_iter().find(|p| p.name() == text) {
                Some(p) if providers.contains(&p) => self.note_at(
                    section,
                    name,
                    format!("\"{}\" stands in the list twice", p.name()),
                    "name each once".into(),
                ),
                Some(p) => providers.push(p),
                None if item.as_str().is_none() => {
                    self.wrong_type(section, name, kind, item);
                }
                None => {
                    let (message, remedy) = not_a_word(text, &keys::PROVIDERS);
                    self.note_at(section, name, message, remedy);
                }
            }
        }
        if list.is_empty() {
            self.note_at(section, name, "the list is empty".into(), "write [\"cpu\"]".into());
        }
        providers
    }

    /// Regions of interest.
    pub fn regions(&mut self, section: &'static str, name: &'static str) -> Vec<Polygon> {
        let (kind, value) = self.take(section, name);
        let Some(value) = value else { return Vec::new() };
        let Some(list) = value.as_array() else {
            self.wrong_type(section, name, kind, &value);
            return Vec::new();
        };
        let mut regions = Vec::new();
        for (i, item) in list.iter().take(MAX_REGIONS).enumerate() {
            match polygon(item) {
                Ok(polygon) => regions.push(polygon),
                Err(fault) => self.note(
                    place(self.text, item.span.start),
                    &format!("{section}.{name}[{i}]"),
                    fault,
                    "write 3 to 64 corners in order, e.g. [[0, 400], [1920, 400], [1920, 1080], [0, 1080]]"
                        .into(),
                ),
            }
        }
        if list.len() > MAX_REGIONS {
            self.note_at(
                section,
                name,
                format!("{} regions, more than {MAX_REGIONS}", list.len()),
                "join some".into(),
            );
        }
        regions
    }
}

const fn unspecified() -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0)
}

fn not_a_word(text: &str, words: &[&'static str]) -> (String, String) {
    let near = nearest(text, words.iter().copied())
        .map_or(String::new(), |near| format!("did you mean \"{near}\"? "));
    (
        format!("\"{}\" is not known here", shown(text)),
        format!("{near}choose one of {}", quoted(words)),
    )
}

fn polygon(value: &Value<'_>) -> Result<Polygon, String> {
    let corners = value.as_array().ok_or("a region must be a list of points")?;
    if !(3..=MAX_REGION_POINTS).contains(&corners.len()) {
        return Err(format!("a region of {} points", corners.len()));
    }
    let mut points = Vec::with_capacity(corners.len());
    for corner in corners {
        let [x, y] = corner.as_array().map_or(&[][..], Vec::as_slice) else {
            return Err("a point must be two numbers [x, y]".into());
        };
        #[expect(clippy::cast_precision_loss, reason = "checked against a small range just below")]
        let number = |v: &Value<'_>| v.as_float().or_else(|| v.as_integer().map(|i| i as f64));
        let (Some(x), Some(y)) = (number(x), number(y)) else {
            return Err("a point must be two numbers [x, y]".into());
        };
        let range = 0.0..=MAX_COORDINATE_PX;
        if !range.contains(&x) || !range.contains(&y) {
            return Err(format!("a coordinate is not within 0 to {MAX_COORDINATE_PX}"));
        }
        #[expect(clippy::cast_possible_truncation, reason = "pixels need no more")]
        points.push(Point::new(x as f32, y as f32));
    }
    // Twice the area by the shoelace formula.
    let twice: f32 = (0..points.len())
        .map(|i| (points[i], points[(i + 1) % points.len()]))
        .map(|(a, b)| a.x * b.y - b.x * a.y)
        .sum();
    if twice.abs() < 2.0 {
        return Err("the region has no area".into());
    }
    Ok(Polygon(points))
}
