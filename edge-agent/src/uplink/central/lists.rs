//! The server's part in alert lists: announce what a pole does not have in force, and send the parts that
//! it asks for. Pure; what is sent comes from memory.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use milepost_wire::{
    Heartbeat, ListAnnouncement, ListChange, ListInForce, ListKey, ListOutcome, ListRequest,
    ListVersion, Root,
    list::{MAX_PARTS, PART_BYTES},
};

/// A version to be handed out.
#[derive(Debug, Clone)]
pub struct Offer {
    /// What its signature is over.
    pub version: ListVersion,
    /// The signed version.
    pub announcement: ListAnnouncement,
    /// The list itself.
    pub list: Vec<u8>,
}

impl Offer {
    /// Ending of the file of a list.
    pub const LIST: &str = "list";
    /// Ending of the file of a blind list's key.
    pub const KEY: &str = "key";
    /// Ending of the file of what is signed.
    pub const SIGNED: &str = "jws";

    /// Of a signed version; its signature is for the poles to check.
    ///
    /// # Errors
    /// Where it is no token of this kind.
    pub fn new(jws: String, key: Option<ListKey>, list: Vec<u8>) -> Result<Self, String> {
        let payload = jws.split('.').nth(1).unwrap_or_default();
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|e| e.to_string())?;
        let version = serde_json::from_slice(&payload).map_err(|e| e.to_string())?;
        Ok(Self { version, announcement: ListAnnouncement { jws, key }, list })
    }

    fn is_same_version(&self, other: &ListVersion) -> bool {
        (&self.version.list, self.version.version) == (&other.list, other.version)
    }
}

/// The versions that a server hands out: whole lists, and deltas beside them.
#[derive(Debug, Clone, Default)]
pub struct Offers {
    /// All of them.
    pub offers: Vec<Offer>,
    /// What poles refused: they get the whole list where that was a delta.
    refused: BTreeSet<(Root, String, u64)>,
}

impl Offers {
    /// To be handed out.
    #[must_use]
    pub const fn new(offers: Vec<Offer>) -> Self {
        Self { offers, refused: BTreeSet::new() }
    }

    /// What is to be announced to a pole, by what it has in force: what is newer, as a delta where one fits,
    /// and what waits for its key.
    pub fn news<'a>(
        &'a self,
        root: &'a Root,
        heartbeat: &'a Heartbeat,
    ) -> impl Iterator<Item = &'a ListAnnouncement> {
        let news = move |offer: &&Offer| {
            let Offer { version, .. } = offer;
            let here = heartbeat.lists.iter().find(|here| here.list == version.list);
            let has = here.is_some_and(|here| {
                here.version > version.version
                    || here.version == version.version && !here.waits_for_key
            });
            let mut deltas = self.offers.iter().filter(|o| self.is_delta_for(root, here, o));
            let is_next = match version.base {
                Some(_) => self.is_delta_for(root, here, offer),
                None => !deltas.any(|delta| delta.is_same_version(version)),
            };
            version.audience == root.agency.as_str() && !has && is_next
        };
        self.offers.iter().filter(news).map(|offer| &offer.announcement)
    }

    fn is_delta_for(&self, root: &Root, here: Option<&ListInForce>, offer: &Offer) -> bool {
        let ListVersion { list, version, base, .. } = &offer.version;
        let fits = here.is_some_and(|here| here.list == *list && Some(here.version) == *base);
        fits && !self.refused.contains(&(root.clone(), list.clone(), *version))
    }

    /// Takes note of what became of a version on a pole.
    pub fn changed(&mut self, root: &Root, change: &ListChange) {
        if let ListChange { list: Some(list), version: Some(version), outcome, .. } = change
            && *outcome == ListOutcome::Refused
        {
            self.refused.insert((root.clone(), list.clone(), *version));
        }
    }

    /// The parts that a request asks for, with their numbers; none of a list that is not handed out.
    pub fn parts(&self, request: &ListRequest) -> impl Iterator<Item = (u32, &[u8])> {
        let asked = |v: &ListVersion| {
            (&v.list, v.version, v.base) == (&request.list, request.version, request.base)
        };
        let offer = self.offers.iter().find(|offer| asked(&offer.version));
        let parts = offer.into_iter().flat_map(|offer| (0..).zip(offer.list.chunks(PART_BYTES)));
        let many = request.parts.min(MAX_PARTS) as usize;
        parts.skip(request.first_part as usize).take(many)
    }
}

#[cfg(test)]
mod tests {
    use milepost_wire::{TopicLevel, examples};

    use super::*;

    fn offers() -> Offers {
        Offers::new(vec![Offer {
            version: examples::list_version(),
            announcement: examples::list_announcement(),
            list: vec![7; 2 * PART_BYTES + 1],
        }])
    }

    #[test]
    fn a_list_is_announced_to_poles_of_its_audience_that_do_not_have_it() {
        let (offers, heartbeat) = (offers(), examples::heartbeat());
        let (ours, mut heartbeat) = (heartbeat.source.root().clone(), heartbeat.data);
        let theirs = Root { agency: TopicLevel::new("other-pd").unwrap(), ..ours.clone() };
        assert_eq!(offers.news(&ours, &heartbeat).count(), 0, "in force");
        heartbeat.lists[0].waits_for_key = true;
        assert_eq!(offers.news(&ours, &heartbeat).count(), 1);
        heartbeat.lists[0].version += 1;
        assert_eq!(offers.news(&ours, &heartbeat).count(), 0, "this key would not open it");
        heartbeat.lists[0].version -= 1;
        heartbeat.lists[0].waits_for_key = false;
        heartbeat.lists[0].version -= 1;
        assert_eq!(offers.news(&ours, &heartbeat).count(), 1);
        assert_eq!(offers.news(&theirs, &heartbeat).count(), 0);
        heartbeat.lists.clear();
        assert_eq!(offers.news(&ours, &heartbeat).count(), 1);
    }

    #[test]
    fn a_delta_goes_to_who_has_its_base_and_the_whole_list_to_who_refused_it() {
        let (mut offers, mut heartbeat) = (offers(), examples::heartbeat());
        let root = heartbeat.source.root().clone();
        let mut delta = offers.offers[0].clone();
        delta.version.base = Some(811);
        delta.announcement.jws = "delta".into();
        delta.list = vec![8; 5];
        offers.offers.push(delta);
        let news = |offers: &Offers, heartbeat: &Heartbeat| -> Vec<bool> {
            offers.news(&root, heartbeat).map(|a| a.jws == "delta").collect()
        };
        assert_eq!(news(&offers, &heartbeat.data), [false; 0]);
        heartbeat.data.lists[0].version = 810;
        assert_eq!(news(&offers, &heartbeat.data), [false]);
        heartbeat.data.lists[0].version = 811;
        assert_eq!(news(&offers, &heartbeat.data), [true]);
        let mut request = examples::list_request().data;
        request.base = Some(811);
        assert_eq!(offers.parts(&request).map(|(_, bytes)| bytes.len()).collect::<Vec<_>>(), [5]);

        let mut change = examples::list_change().data;
        offers.changed(&root, &change);
        assert_eq!(news(&offers, &heartbeat.data), [true]);
        change.outcome = ListOutcome::Refused;
        offers.changed(&root, &change);
        assert_eq!(news(&offers, &heartbeat.data), [false]);
    }

    #[test]
    fn the_parts_asked_for_are_those_of_the_list_and_no_more_than_it_has() {
        let offers = offers();
        let mut request = examples::list_request().data;
        let parts = |request: &ListRequest| -> Vec<_> {
            offers.parts(request).map(|(part, bytes)| (part, bytes.len())).collect()
        };
        assert_eq!(parts(&request), [(0, PART_BYTES), (1, PART_BYTES), (2, 1)]);
        (request.first_part, request.parts) = (1, 1);
        assert_eq!(parts(&request), [(1, PART_BYTES)]);
        request.first_part = u32::MAX;
        assert_eq!(parts(&request), []);
        (request.first_part, request.version) = (0, 1);
        assert_eq!(parts(&request), []);
    }
}
