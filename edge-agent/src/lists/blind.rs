//! Blind lists: keyed hashes in place of plates, so that a read finds its entry and nobody reads the list.
//!
//! An entry says the number of its plate and of all that look like it ([`Fingerprints`]), and the tag of the
//! plate itself. The number finds it, as in any list; the tag says which of the texts that look like the read
//! it is, which gives back the plate, of what drove by and of nothing else.

use std::{collections::HashMap, fmt};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use milepost_wire::{ListKey, Read};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    entry::{Entry, MAX_PLATE, Plate, Wanted},
    fingerprint::{Fingerprints, KEY_BYTES, TAG_BYTES, Tag},
};
use crate::{digest::sha256_hex, look_alikes};

/// The key of a blind list. Its bytes are zeroed when it goes.
#[derive(Clone)]
pub struct Key(Zeroizing<[u8; KEY_BYTES]>);

/// A text is no key. It does not repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no key of a blind list: it is {KEY_BYTES} bytes in base64url without padding")]
pub struct NoKey;

impl Key {
    /// Of its bytes, which must be random.
    #[must_use]
    pub const fn new(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        Self(bytes)
    }

    /// Of its text.
    ///
    /// # Errors
    /// [`NoKey`].
    pub fn parse(text: &str) -> Result<Self, NoKey> {
        // One more than a key has, so that a longer text is none.
        let mut bytes = Zeroizing::new([0; KEY_BYTES + 1]);
        match URL_SAFE_NO_PAD.decode_slice(text.trim(), &mut *bytes) {
            Ok(KEY_BYTES) => {
                let mut key = Zeroizing::new([0; KEY_BYTES]);
                key.copy_from_slice(&bytes[..KEY_BYTES]);
                Ok(Self(key))
            }
            _ => Err(NoKey),
        }
    }

    /// As an announcement and a key's file have it.
    #[must_use]
    pub fn text(&self) -> ListKey {
        ListKey(URL_SAFE_NO_PAD.encode(self.0.as_slice()))
    }

    /// What a signed version says of it: its SHA-256, lower-case hexadecimal.
    #[must_use]
    pub fn digest(&self) -> String {
        sha256_hex(self.0.as_slice())
    }

    /// What makes the list's numbers and tags.
    #[must_use]
    pub fn fingerprints(&self) -> Fingerprints {
        Fingerprints::new(&self.0)
    }
}

/// Not its bytes.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// A whole plate as a blind list has it.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hidden {
    /// The number of the plate and of all that look like it.
    pub number: u64,
    /// The tag of the plate itself.
    pub tag: Tag,
}

/// Not its numbers.
impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden")
    }
}

/// The first line of a blind list.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FirstLine {
    /// [`Key::digest`].
    pub(super) key_sha256: String,
}

/// One more line of a blind list.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    number: String,
    tag: String,
    pub(super) id: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) state: String,
}

impl Line {
    /// What it looks for; `None` where a hash is not as long as it should be.
    pub(super) fn hidden(&self) -> Option<Hidden> {
        Some(Hidden {
            number: u64::from_be_bytes(bytes(&self.number)?),
            tag: Tag(bytes(&self.tag)?),
        })
    }
}

fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

/// The first line of a list that is made with a key, without an end.
#[must_use]
pub fn first_line(key: &Key) -> String {
    let line = serde_json::to_string(&FirstLine { key_sha256: key.digest() });
    line.unwrap_or_default()
}

/// The line of an entry, without an end; `None` where the plate has open characters: what it may match has no
/// one number. Of the rest of an entry only the state is kept, without which an alert could not say
/// whether the read's agrees.
#[must_use]
pub fn line(entry: &Entry, fingerprints: &Fingerprints) -> Option<String> {
    let Wanted::Plate(plate) = &entry.wanted else { return None };
    let line = Line {
        number: URL_SAFE_NO_PAD.encode(fingerprints.of(plate.as_str()).to_be_bytes()),
        tag: URL_SAFE_NO_PAD.encode(fingerprints.tag_of_plate(plate.as_str()).0),
        id: opaque_id(&entry.id, fingerprints),
        state: entry.state.clone().unwrap_or_default(),
    };
    serde_json::to_string(&line).ok()
}

/// The id of an entry in a blind list, which tells nothing to who does not have the key: an id of the list's
/// own may name a case, or, being a line's number in a sorted list, the beginning of a plate.
#[must_use]
pub fn opaque_id(id: &str, fingerprints: &Fingerprints) -> String {
    URL_SAFE_NO_PAD.encode(fingerprints.tag_of_id(id).0)
}

/// The plates that a read may mean, with `most` look-alikes in place of what either of its texts says; by
/// their tags.
#[must_use]
pub fn within(read: &Read, most: u8, fingerprints: &Fingerprints) -> HashMap<Tag, Plate> {
    let texts = [&read.plate_text, &read.raw_text].map(|text| variants(text, most));
    let plates = texts.iter().flatten().filter_map(|text| Plate::parse(text).ok());
    plates.map(|plate| (fingerprints.tag_of_plate(plate.as_str()), plate)).collect()
}

/// A text and all that differ from it in `most` look-alikes: 436 at most, of two and ten characters.
fn variants(text: &str, most: u8) -> Vec<String> {
    if text.chars().count() > MAX_PLATE {
        return Vec::new();
    }
    let mut begun = vec![(most, String::new())];
    for c in text.chars() {
        let alike = look_alikes::group(c).unwrap_or_default();
        let mut longer = Vec::with_capacity(begun.len());
        for (left, beginning) in begun {
            let others = alike.chars().filter(|other| *other != c && left > 0);
            for (left, c) in others.map(|other| (left - 1, other)).chain([(left, c)]) {
                longer.push((left, format!("{beginning}{c}")));
            }
        }
        begun = longer;
    }
    begun.into_iter().map(|(_, text)| text).collect()
}

const _: () = assert!(TAG_BYTES == 16, "what the contract says of tags and ids");

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use milepost_wire::examples;

    use super::*;

    #[test]
    fn a_key_is_what_its_text_says_and_shows_in_no_debug_text() {
        let key = Key::new(Zeroizing::new([0xa5; KEY_BYTES]));
        let ListKey(text) = key.text();
        assert_eq!(Key::parse(&format!("{text}\n")).unwrap().digest(), key.digest());
        assert!(!format!("{key:?} {:?}", key.text()).contains(&text[..4]));
        for bad in ["", "AAAA", &text[1..], &format!("{text}AA"), &text.replace('a', "+")] {
            assert!(Key::parse(bad).is_err());
        }
    }

    /// What a server in another language goes by.
    #[test]
    fn plates_are_folded_as_the_contract_says() {
        assert_eq!(look_alikes::fold("0ODQ1I8B5S2Z6GA7"), "00001188552266A7");
    }

    #[test]
    fn all_texts_within_the_tolerance_are_tried_and_no_other() {
        assert_eq!(variants("7AB", 0), ["7AB"]);
        let of = |most| variants("7AB0", most).into_iter().collect::<BTreeSet<_>>();
        let one = ["7AB0", "7A80", "7ABO", "7ABD", "7ABQ"].map(String::from);
        assert_eq!(of(1), BTreeSet::from(one.clone()));
        let two = one.into_iter().chain(["7A8O", "7A8D", "7A8Q"].map(String::from));
        assert_eq!(of(2), two.collect());
        assert_eq!(variants("0000000000", 2).len(), 436);
        assert_eq!(variants("00000000000", 2).len(), 0);
    }

    #[test]
    fn a_line_tells_nothing_but_the_state_and_a_read_finds_its_plate_by_the_tag() {
        let key = Key::new(Zeroizing::new([7; KEY_BYTES])).fingerprints();
        let entry = Entry {
            id: "case-4711".into(),
            wanted: Wanted::Plate(Plate::parse("7AB0123").unwrap()),
            state: Some("CA".into()),
            kind: Some("stolen".into()),
            date: None,
            vehicle: milepost_wire::ListedVehicle {
                make: Some("TOYT".into()),
                ..Default::default()
            },
        };
        let line = line(&entry, &key).unwrap();
        for told in ["7AB0123", "4711", "stolen", "TOYT"] {
            assert!(!line.contains(told), "{line}");
        }
        let parsed: Line = serde_json::from_str(&line).unwrap();
        assert_eq!((parsed.state.as_str(), parsed.id), ("CA", opaque_id("case-4711", &key)));
        let hidden = serde_json::from_str::<Line>(&line).unwrap().hidden().unwrap();
        assert_eq!(hidden.number, key.of("7A80I23"));
        let mut read = examples::read().data;
        (read.plate_text, read.raw_text) = ("7ABO123".into(), "7A8O123".into());
        assert_eq!(within(&read, 1, &key)[&hidden.tag].as_str(), "7AB0123");
        assert_eq!(within(&read, 0, &key).get(&hidden.tag), None);
    }
}
