//! The server's part in alert lists: announce what a pole does not have in force, and send the parts that
//! it asks for. Pure; what is sent comes from memory.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use milepost_wire::{
    Heartbeat, ListAnnouncement, ListKey, ListRequest, ListVersion,
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
}

/// The versions that a server hands out.
#[derive(Debug, Clone, Default)]
pub struct Offers(pub Vec<Offer>);

impl Offers {
    /// What is to be announced to a pole of this agency, by what it has in force: what is newer, and what
    /// waits for its key.
    pub fn news<'a>(
        &'a self,
        agency: &'a str,
        heartbeat: &'a Heartbeat,
    ) -> impl Iterator<Item = &'a ListAnnouncement> {
        let news = move |offer: &&Offer| {
            let Offer { version, .. } = offer;
            let has = |l: &milepost_wire::ListInForce| {
                let has =
                    l.version > version.version || l.version == version.version && !l.waits_for_key;
                l.list == version.list && has
            };
            version.audience == agency && !heartbeat.lists.iter().any(has)
        };
        self.0.iter().filter(news).map(|offer| &offer.announcement)
    }

    /// The parts that a request asks for, with their numbers; none of a list that is not handed out.
    pub fn parts(&self, request: &ListRequest) -> impl Iterator<Item = (u32, &[u8])> {
        let offer = self.0.iter().find(|offer| {
            offer.version.list == request.list && offer.version.version == request.version
        });
        let parts = offer.into_iter().flat_map(|offer| (0..).zip(offer.list.chunks(PART_BYTES)));
        let many = request.parts.min(MAX_PARTS) as usize;
        parts.skip(request.first_part as usize).take(many)
    }
}

#[cfg(test)]
mod tests {
    use milepost_wire::examples;

    use super::*;

    fn offers() -> Offers {
        Offers(vec![Offer {
            version: examples::list_version(),
            announcement: examples::list_announcement(),
            list: vec![7; 2 * PART_BYTES + 1],
        }])
    }

    #[test]
    fn a_list_is_announced_to_poles_of_its_audience_that_do_not_have_it() {
        let (offers, mut heartbeat) = (offers(), examples::heartbeat().data);
        assert_eq!(offers.news("demo-pd", &heartbeat).count(), 0, "in force");
        heartbeat.lists[0].waits_for_key = true;
        assert_eq!(offers.news("demo-pd", &heartbeat).count(), 1);
        heartbeat.lists[0].version += 1;
        assert_eq!(offers.news("demo-pd", &heartbeat).count(), 0, "this key would not open it");
        heartbeat.lists[0].version -= 1;
        heartbeat.lists[0].waits_for_key = false;
        heartbeat.lists[0].version -= 1;
        assert_eq!(offers.news("demo-pd", &heartbeat).count(), 1);
        assert_eq!(offers.news("other-pd", &heartbeat).count(), 0);
        heartbeat.lists.clear();
        assert_eq!(offers.news("demo-pd", &heartbeat).count(), 1);
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
