//! What is said of the lists in force: on the health page, as metrics, in the heartbeat.

use std::sync::Arc;

use jiff::Timestamp;
use milepost_wire::{ListInForce, ListVersion, TimeSource};

use super::{ListStore, Shelf};
use crate::{
    health::{Component, Status},
    lists::search,
};

impl ListStore {
    /// The versions in force as a heartbeat tells of them.
    #[must_use]
    pub fn in_heartbeat(&self) -> Vec<ListInForce> {
        let in_force = self.in_force();
        let of = |shelf: &Arc<Shelf>| {
            let (entries, waits_for_key) = (shelf.entries() as u64, shelf.waits_for_key());
            let ListVersion { list, version, source_at, expires_at, .. } =
                shelf.list.version.clone();
            ListInForce { list, version, source_at, expires_at, entries, waits_for_key }
        };
        // One that can't be read is to be sent again.
        let troubles = self.troubles();
        in_force
            .iter()
            .filter(|(name, _)| !troubles.contains_key(*name))
            .map(|(_, s)| of(s))
            .collect()
    }

    /// Says on the health page which lists are in force, and what is wrong with them.
    pub fn report(&self, now: Timestamp) {
        let broken = self.broken();
        let mut words: Vec<String> = broken
            .iter()
            .map(|(list, why)| format!("{list}: {why}: send the list again"))
            .collect();
        let mut status = if broken.is_empty() { Status::Pass } else { Status::Fail };
        if let Some(damage) = self.mutes.damage() {
            status = status.max(Status::Warn);
            words.push(damage);
        }
        for (name, shelf) in &*self.in_force() {
            let version = &shelf.list.version;
            let (_, freshness) = search::freshness(version, now, TimeSource::Kernel);
            let state = if version.expires_at <= now {
                status = status.max(Status::Fail);
                format!("expired at {}, nothing is matched by it", version.expires_at)
            } else if shelf.waits_for_key() {
                status = status.max(Status::Warn);
                "waits for its key, nothing is matched by it until the server announces it again"
                    .into()
            } else {
                if freshness == milepost_wire::Freshness::Stale {
                    status = status.max(Status::Warn);
                }
                let muted = match self.mutes.count(name) {
                    0 => String::new(),
                    muted => format!(" ({muted} muted)"),
                };
                format!("{}, {} entries{muted}", word(freshness), shelf.entries())
            };
            let label = vec![("list".to_owned(), name.clone())];
            let metrics = &self.health.metrics;
            metrics.list_source.get_or_create(&label).set(version.source_at.as_second());
            let entries = i64::try_from(shelf.entries()).unwrap_or(i64::MAX);
            metrics.list_entries.get_or_create(&label).set(entries);
            words.push(format!(
                "{name} version {} of {}: {state}",
                version.version, version.source_at
            ));
        }
        let words = if words.is_empty() { "no list".into() } else { words.join("; ") };
        self.health.set(Component::Lists, status, words);
    }
}

const fn word(freshness: milepost_wire::Freshness) -> &'static str {
    match freshness {
        milepost_wire::Freshness::Fresh => "fresh",
        milepost_wire::Freshness::Aging => "aging",
        milepost_wire::Freshness::Stale => "stale",
    }
}
