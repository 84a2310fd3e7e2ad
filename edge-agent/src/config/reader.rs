//! A parsed TOML tree → known keys in their places; what is unknown, misplaced or missing is noted.
//!
//! Fails: never; problems are collected, not returned.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use toml_span::{
    Value,
    value::{Table, ValueInner},
};

use super::{
    keys::{self, KEYS, Kind, SECTIONS},
    problem::{Place, Problem, shown},
    syntax::{Mended, place},
};

/// A configuration file being read.
pub(super) struct Reader<'t> {
    pub text: &'t str,
    pub base: &'t Path,
    pub found: BTreeMap<(&'static str, &'static str), Value<'t>>,
    /// Where each key stands, `table.key`, and each table, `table`.
    pub places: BTreeMap<String, Place>,
    /// What is wrong so far.
    pub problems: Vec<Problem>,
}

impl<'t> Reader<'t> {
    /// Sorts the tree into known keys; notes what is unknown, misplaced or missing. `text` is the
    /// text that `root` was parsed from.
    pub fn new(text: &'t str, mut root: Value<'t>, mended: Mended, base: &'t Path) -> Self {
        let mut reader = Self {
            text,
            base,
            found: BTreeMap::new(),
            places: BTreeMap::new(),
            problems: mended.problems,
        };
        let mut excused = mended.blanked;
        if let ValueInner::Table(tables) = root.take() {
            for (name, mut value) in tables {
                let at = place(text, name.span.start);
                let section = SECTIONS.iter().find(|s| s.name == name.name);
                match (section, value.take()) {
                    (Some(section), ValueInner::Table(table)) => {
                        reader.places.insert(section.name.into(), at);
                        reader.sort(section.name, table, &mut excused);
                    }
                    (Some(section), other) => {
                        excused.insert(section.name.into());
                        let (found, table) = (other.type_str(), section.name);
                        reader.note(
                            at,
                            table,
                            format!("must be a table, found {found}"),
                            format!(
                                "write `[{table}]` on a line of its own, once, and its keys below"
                            ),
                        );
                    }
                    (None, other) => reader.unknown_root(&name.name, &other, at, &mut excused),
                }
            }
        }
        reader.note_missing(&excused);
        reader
    }

    pub fn note(&mut self, place: Place, key: &str, message: String, remedy: String) {
        self.problems.push(Problem { place, key: key.into(), message, remedy });
    }

    /// Notes a problem of a key that the file has, or of its table where it has not.
    pub fn note_at(&mut self, section: &str, name: &str, message: String, remedy: String) {
        let path = format!("{section}.{name}");
        let at = self.places.get(&path).or_else(|| self.places.get(section));
        self.note(at.copied().unwrap_or(Place::START), &path, message, remedy);
    }

    fn unknown_root(
        &mut self,
        name: &str,
        value: &ValueInner<'_>,
        at: Place,
        excused: &mut BTreeSet<String>,
    ) {
        let home = KEYS.iter().find(|k| k.name == name);
        let remedy = match (home, value) {
            (Some(k), value) if !matches!(value, ValueInner::Table(_)) => {
                excused.insert(format!("{}.{}", k.section, k.name));
                format!("move it below the line `[{}]`", k.section)
            }
            _ => match nearest(name, SECTIONS.iter().map(|s| s.name)) {
                Some(near) => {
                    excused.insert(near.into());
                    format!("did you mean `[{near}]`?")
                }
                None => {
                    let names = SECTIONS.map(|s| format!("[{}]", s.name)).join(", ");
                    format!("remove it; the tables are {names}")
                }
            },
        };
        let what = if matches!(value, ValueInner::Table(_)) { "table" } else { "key" };
        self.note(at, &shown(name), format!("no {what} of this name is known here"), remedy);
    }

    fn sort(&mut self, section: &'static str, table: Table<'t>, excused: &mut BTreeSet<String>) {
        for (name, value) in table {
            let at = place(self.text, name.span.start);
            if let Some(key) = keys::find(section, &name.name) {
                self.places.insert(format!("{section}.{}", key.name), at);
                self.found.insert((section, key.name), value);
                continue;
            }
            let near = nearest(&name.name, keys::of_section(section).map(|k| k.name));
            let remedy = if let Some(home) = KEYS.iter().find(|k| k.name == name.name) {
                excused.insert(format!("{}.{}", home.section, home.name));
                format!("it belongs below the line `[{}]`", home.section)
            } else if let Some(near) = near {
                excused.insert(format!("{section}.{near}"));
                format!("did you mean `{near}`?")
            } else {
                let names: Vec<_> = keys::of_section(section).map(|k| k.name).collect();
                format!("remove it; the keys of `[{section}]` are {}", names.join(", "))
            };
            let path = format!("{section}.{}", shown(&name.name));
            self.note(at, &path, format!("no key of this name is known in `[{section}]`"), remedy);
        }
    }

    /// Required keys that are not there, and keys that stand beside the wrong kind.
    fn note_missing(&mut self, excused: &BTreeSet<String>) {
        let end = place(self.text, self.text.trim_end().len());
        for section in SECTIONS.map(|s| s.name) {
            let here = self.places.get(section).copied();
            let needs: Vec<_> =
                keys::of_section(section).filter(|k| k.required && k.only_with.is_none()).collect();
            if excused.contains(section) {
                continue;
            }
            let Some(here) = here else {
                if needs.iter().any(|k| !excused.contains(&format!("{section}.{}", k.name))) {
                    let names: Vec<_> = needs.iter().map(|k| k.name).collect();
                    self.note(
                        end,
                        section,
                        format!("the table `[{section}]` is missing"),
                        format!("add `[{section}]` with {}", names.join(", ")),
                    );
                }
                continue;
            };
            for key in keys::of_section(section) {
                let chosen = key.only_with.map(|(selector, _)| self.selected(section, selector));
                let fits = match (key.only_with, chosen) {
                    (Some((_, word)), Some(Some(chosen))) => word == chosen,
                    // The selector itself is missing or wrong: nothing can be said.
                    (Some(_), _) => continue,
                    (None, _) => true,
                };
                let path = format!("{section}.{}", key.name);
                let there = self.found.contains_key(&(section, key.name));
                if fits && key.required && !there && !excused.contains(&path) {
                    let because = key
                        .only_with
                        .map_or(String::new(), |(s, w)| format!(" with `{s} = \"{w}\"`"));
                    self.note(
                        here,
                        &path,
                        format!("the key is required{because} and missing"),
                        format!("add `{} = …`: {}", key.name, key.kind.describe()),
                    );
                } else if !fits && there {
                    let (selector, word) = key.only_with.unwrap_or_default();
                    self.found.remove(&(section, key.name));
                    self.note_at(
                        section,
                        key.name,
                        format!(
                            "the key has no meaning here: it goes with `{selector} = \"{word}\"`"
                        ),
                        "remove it".into(),
                    );
                }
            }
        }
    }

    /// The word that a selector holds, where it is a known one (or the default).
    fn selected(&self, section: &str, selector: &str) -> Option<&'static str> {
        let key = keys::find(section, selector)?;
        let Kind::Word { words, default } = key.kind else { return None };
        match self.found.get(&(key.section, key.name)) {
            Some(value) => words.iter().find(|w| value.as_str() == Some(**w)).copied(),
            None => default,
        }
    }
}

/// The known word that was probably meant: at most a third of its characters away, or one that
/// begins as the other does (`queue`, `path_x`).
pub(super) fn nearest(
    word: &str,
    known: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    // Longer than any known word: comparing would only cost time.
    if word.len() > 64 {
        return None;
    }
    let small = word.to_lowercase().replace('-', "_");
    let begins = |k: &str| small.len() >= 3 && (small.starts_with(k) || k.starts_with(&small));
    known
        .map(|k| (strsim::osa_distance(&small, &k.replace('-', "_")), k))
        .filter(|(distance, k)| *distance <= (k.len() / 3).max(1) || begins(k))
        .min()
        .map(|(_, k)| k)
}
