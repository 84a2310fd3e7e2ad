//! A read against every list in force.

use jiff::Timestamp;
use milepost_wire::Alert;
use uuid::Uuid;

use super::ListStore;

/// What a read gives by the lists in force.
#[derive(Debug, Default)]
pub struct Matched {
    /// Each under a new id.
    pub alerts: Vec<Alert>,
    /// Matches without an alert, as their entries are muted.
    pub muted: u64,
    /// Entries that look like it and could not be read.
    pub unread: usize,
    /// Lists that were not searched, or not whole: they can't be read, or wait for their key.
    pub not_searched: Vec<String>,
    /// Lists that have expired: nothing is matched by them.
    pub expired: Vec<String>,
}

impl Matched {
    /// Whether it is on a list, as far as that can be told.
    #[must_use]
    pub const fn is_hit(&self) -> bool {
        !self.alerts.is_empty() || self.muted > 0 || self.unread > 0
    }
}

impl ListStore {
    /// The alerts that a read gives, by every list in force, each under a new id.
    #[must_use]
    pub fn alerts(&self, read: &milepost_wire::Read) -> Vec<Alert> {
        self.matched(read).alerts
    }

    /// The same of a vehicle that is still in view: its read, with the alerts that count, follows.
    #[must_use]
    pub fn previews(&self, read: &milepost_wire::Read) -> Vec<Alert> {
        let alerts = self.search(read, true).alerts;
        alerts.into_iter().map(|alert| Alert { preview: true, ..alert }).collect()
    }

    /// What a read gives by every list in force.
    #[must_use]
    pub fn matched(&self, read: &milepost_wire::Read) -> Matched {
        let matched = self.search(read, true);
        self.health.metrics.alerts_muted.inc_by(matched.muted);
        matched
    }

    /// What a read gives where nothing is muted.
    #[must_use]
    pub fn look_up(&self, read: &milepost_wire::Read) -> Matched {
        self.search(read, false)
    }

    fn search(&self, read: &milepost_wire::Read, mutes: bool) -> Matched {
        let in_force = self.in_force();
        let mut matched = Matched {
            not_searched: self.troubles().keys().cloned().collect(),
            ..Matched::default()
        };
        for (name, shelf) in &*in_force {
            if shelf.list.has_expired(read) {
                matched.expired.push(name.clone());
                continue;
            }
            if shelf.waits_for_key() {
                matched.not_searched.push(name.clone());
                continue;
            }
            let is_muted = |id: &str| mutes && self.mutes.is_muted(name, id);
            let found = shelf.list.search(read, |place| shelf.entry(place), is_muted);
            matched.muted += found.muted;
            if let Some(error) = found.failed.first() {
                tracing::error!(list = name, %error, "entries of an alert list can't be read");
                let why = format!("entries can't be read: {error}");
                self.troubles().insert(name.clone(), why);
                self.report(Timestamp::now());
                matched.unread += found.failed.len();
            }
            if found.more > 0 {
                tracing::warn!(
                    list = name,
                    more = found.more,
                    "a read has more matches than are told"
                );
            }
            let made = found.matches.into_iter();
            matched.alerts.extend(made.map(|found| shelf.list.alert(Uuid::now_v7(), read, found)));
        }
        matched
    }
}
