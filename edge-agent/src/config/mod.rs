//! One TOML file → typed, validated settings. Every problem is reported at once, with its line,
//! its key and what to do; unknown keys are refused.
//!
//! Units stand in the key names (`_s`, `_ms`, `_px`, `_bytes`). Relative paths are taken from the
//! configuration file's folder. What each key may hold stands in one table, [`keys::KEYS`].
//!
//! Invariants: a [`Config`] holds only values within their documented ranges, and no secret.
//! Fails by [`ConfigErrors`], never by a panic, whatever the file holds.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

mod addresses;
mod build;
mod display;
pub mod keys;
mod problem;
mod reader;
mod settings;
mod syntax;
#[cfg(test)]
mod tests;
mod values;

pub use problem::{ConfigErrors, MAX_PROBLEMS, Place, Problem, shown};
pub use settings::*;

/// Larger files are refused unread: a good one has a few kilobytes.
pub const MAX_CONFIG_BYTES: usize = 256 << 10;

/// Where each key stands in its file, by `table.key` and by `table`.
#[derive(Debug, Clone, Default)]
pub struct Places(BTreeMap<String, Place>);

impl Places {
    /// Where the key stands; where the file leaves it out, where its table does, else the start.
    #[must_use]
    pub fn of(&self, key: &str) -> Place {
        let table = key.split('.').next().unwrap_or_default();
        self.0.get(key).or_else(|| self.0.get(table)).copied().unwrap_or(Place::START)
    }
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// Everything that is wrong in it, or that it cannot be read.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        Self::load_with_places(path).map(|(config, _)| config)
    }

    /// As [`Self::load`], and where each key stands.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_with_places(path: &Path) -> Result<(Self, Places), ConfigErrors> {
        let whole = |message: String, remedy: &str| ConfigErrors {
            file: path.into(),
            problems: vec![Problem {
                place: Place::START,
                key: String::new(),
                message,
                remedy: remedy.into(),
            }],
            more: 0,
        };
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(MAX_CONFIG_BYTES as u64 + 1).read_to_end(&mut bytes))
            .map_err(|e| {
                whole(
                    format!("the file cannot be read: {e}"),
                    "check the path after --config and the file's mode",
                )
            })?;
        // From the root, so that a later change of folder does not move the paths.
        let file = std::path::absolute(path).unwrap_or_else(|_| path.into());
        let base = file.parent().unwrap_or(Path::new("/"));
        Self::parse_bytes(&bytes, base)
            .map_err(|errors| ConfigErrors { file: path.into(), ..errors })
    }

    /// The settings that `make run` starts from, for verbs that need a whole configuration and were
    /// given none; paths are taken from the build tree.
    ///
    /// # Errors
    /// None: a test holds the embedded file to that.
    pub fn embedded() -> Result<Self, ConfigErrors> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        Self::parse(include_str!("../../default.toml"), folder)
    }

    /// Checks a configuration given as text; relative paths are taken from `base_dir`.
    ///
    /// # Errors
    /// Everything that is wrong in it; [`ConfigErrors::file`] is `configuration`.
    pub fn parse(text: &str, base_dir: &Path) -> Result<Self, ConfigErrors> {
        Self::parse_bytes(text.as_bytes(), base_dir).map(|(config, _)| config)
    }

    /// As [`Self::parse`], for bytes that may be no text, and where each key stands.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_bytes(bytes: &[u8], base_dir: &Path) -> Result<(Self, Places), ConfigErrors> {
        let errors = |problems| ConfigErrors::new(PathBuf::from("configuration"), problems);
        if bytes.len() > MAX_CONFIG_BYTES {
            return Err(errors(vec![Problem {
                place: Place::START,
                key: String::new(),
                message: format!("the file is larger than {MAX_CONFIG_BYTES} bytes"),
                remedy: "is this the right file? A configuration has a few kilobytes".into(),
            }]));
        }
        let text = match str::from_utf8(bytes) {
            Ok(text) => text,
            Err(e) => return Err(errors(vec![not_utf8(bytes, e.valid_up_to())])),
        };
        let mut mended = syntax::mend(text);
        let Some(text) = mended.text.take() else { return Err(errors(mended.problems)) };
        // What `mend` gives parses: it was the last thing that it did.
        let Ok(root) = toml_span::parse(&text) else { return Err(errors(mended.problems)) };
        let mut reader = reader::Reader::new(&text, root, mended, base_dir);
        let config = build::config(&mut reader);
        if reader.problems.is_empty() {
            Ok((config, Places(reader.places)))
        } else {
            Err(errors(reader.problems))
        }
    }
}

fn not_utf8(bytes: &[u8], valid: usize) -> Problem {
    let before = String::from_utf8_lossy(&bytes[..valid]);
    let place = syntax::place(&before, before.len());
    Problem {
        place,
        key: syntax::key_of_line(&before),
        message: format!("byte 0x{:02x} is no UTF-8 text", bytes[valid]),
        remedy: "save the file as UTF-8, or write the character anew".into(),
    }
}
