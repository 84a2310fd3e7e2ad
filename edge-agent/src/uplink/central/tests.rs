//! What a server promises of single messages and their photos; of the ledger: `ledger_tests`.

use std::{path::Path, process::Command};

use milepost_wire::{
    Chain, Data, ManifestClaims, SequenceRange,
    event::{in_ledger, sending},
    examples,
};

use super::*;
use crate::{
    digest::sha256_hex,
    identity::{self, Identity},
};

const PLATE: &[u8] = b"plate";
const CONTEXT: &[u8] = b"context";

fn read() -> (Root, Event<Read>) {
    let mut event = examples::read();
    for (photo, jpeg) in
        [(&mut event.data.evidence.plate, PLATE), (&mut event.data.evidence.context, CONTEXT)]
    {
        photo.as_mut().unwrap().sha256 = sha256_hex(jpeg);
    }
    (event.source.root().clone(), event)
}

fn completes(seen: &[Seen]) -> usize {
    seen.iter().filter(|s| matches!(s, Seen::Complete { .. })).count()
}

#[test]
fn a_read_is_complete_when_the_last_right_photo_is_there_in_any_order() {
    let (root, event) = read();
    let body = sending(&event.to_json().unwrap(), &[], false);
    let topic = |leaf| root.topic(leaf);
    let photo = |kind| topic(Leaf::Evidence { read_id: event.id, kind });
    let mut messages = [
        (topic(Leaf::Reads), body.as_slice()),
        (photo(PhotoKind::Plate), PLATE),
        (photo(PhotoKind::Context), CONTEXT),
    ];
    for _ in 0..3 {
        messages.rotate_left(1);
        let mut central = Central::default();
        let counts: Vec<_> = messages.iter().map(|(t, p)| completes(&central.take(t, p))).collect();
        assert_eq!(counts, [0, 0, 1]);
        assert_eq!(central.summary().complete, 1);
        let again = central.take(&topic(Leaf::Reads), &body);
        assert!(matches!(again[0], Seen::Read { duplicate: true, .. }));
        assert_eq!(completes(&again), 1, "its receipt may have been lost");
        let summary = central.summary();
        assert_eq!((summary.distinct, summary.duplicates, summary.complete), (1, 1, 1));
    }
}

#[test]
fn a_wrong_photo_completes_nothing_and_a_foreign_source_is_bad() {
    let (root, event) = read();
    let body = event.to_json().unwrap();
    let mut central = Central::default();
    central.take(&root.topic(Leaf::Reads), &body);
    let leaf = Leaf::Evidence { read_id: event.id, kind: PhotoKind::Plate };
    let seen = central.take(&root.topic(leaf), b"forged");
    assert!(matches!(seen[..], [Seen::Photo { verified: false, .. }]), "{seen:?}");
    let other = Root::new("demo-pd", "other", "north").unwrap();
    let seen = central.take(&other.topic(Leaf::Reads), &body);
    assert!(matches!(seen[..], [Seen::Bad { .. }]), "{seen:?}");
    assert!(matches!(central.take("x/y", b"")[..], [Seen::Bad { .. }]));
    assert_eq!(central.summary().bad, 2);
}

#[test]
fn what_was_given_up_is_no_gap() {
    let mut central = Central::default();
    let event = examples::eviction();
    let root = event.source.root().clone();
    central.take(&root.topic(Leaf::Ledger), &event.to_json().unwrap());
    // 3–11 and 14 given up, 43 itself: 12, 13 and 15–42 are missing.
    assert_eq!(central.summary().gaps, 30);
}

#[test]
fn every_type_in_the_ledger_counts_and_gets_its_receipt_an_unknown_one_too() {
    let step = examples::clock_step();
    let root = step.source.root().clone();
    let known = step.to_json().unwrap();
    let text = String::from_utf8(known.clone()).unwrap();
    let newer = text
        .replace("org.milepost.alpr.clock_step.v1", "org.milepost.alpr.of_tomorrow.v1")
        .replace(&step.id.to_string(), &Uuid::from_u128(7).to_string())
        .replace("00000000000000000044", "00000000000000000045");
    let mut central = Central::default();
    for (json, name) in [(known, "clock_step"), (newer.into_bytes(), "other")] {
        let seen = central.take(&root.topic(Leaf::Ledger), &json);
        let [Seen::Ledger { event, duplicate: false }, Seen::Complete { .. }] = &seen[..] else {
            panic!("{seen:?}");
        };
        assert_eq!(event.name(), name);
    }
    assert_eq!((central.summary().gaps, central.summary().bad), (0, 0));
}

const EPOCH: Uuid = Uuid::from_u128(5);

/// A pole with so many unread passes; its bodies, and its own entries after them.
struct Pole {
    root: Root,
    bodies: Vec<Vec<u8>>,
}

impl Pole {
    fn of(passes: usize) -> Self {
        let mut pole = Self { root: examples::read().source.root().clone(), bodies: Vec::new() };
        (0..passes).for_each(|n| pole.keep(n as u128 + 1, examples::unread_pass().data));
        pole
    }

    fn keep<T: Data>(&mut self, id: u128, data: T) {
        let place = Place { epoch: EPOCH, sequence: self.bodies.len() as u64 + 1 };
        let now = Timestamp::now();
        let event = Event::new(Uuid::from_u128(id), self.root.source(), now, Some(place), data);
        self.bodies.push(event.to_json().unwrap());
    }

    fn claims(&self, from: u64, to: u64) -> ManifestClaims {
        let chain = |n: u64| {
            self.bodies[..n as usize]
                .iter()
                .fold(Chain::start(EPOCH), |chain, body| chain.then(body))
        };
        ManifestClaims {
            source: self.root.source(),
            epoch: EPOCH,
            from,
            to,
            chain_before_sha256: chain(from - 1),
            chain_after_sha256: chain(to),
            issued_at: Timestamp::now(),
        }
    }

    fn sign(&mut self, signer: &Identity, claims: &ManifestClaims, typ: &str) {
        let jws = signer.sign_jws(typ, claims).unwrap();
        let (from, to) = (claims.from, claims.to);
        self.keep(1000 + to as u128, Manifest { from, to, command_id: None, jws });
    }

    /// What a server makes of a body.
    fn send(&self, central: &mut Central, sequence: u64) -> Vec<Seen> {
        let body = &self.bodies[sequence as usize - 1];
        let kind = Header::from_json(body).unwrap().kind;
        let leaf = if kind == UnreadPass::TYPE { Leaf::UnreadPasses } else { Leaf::Ledger };
        central.take(&self.root.topic(leaf), &sending(body, &[], sequence.is_multiple_of(2)))
    }
}

fn pki() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/pki.sh");
    assert!(Command::new(script).arg(folder.path()).output().unwrap().status.success());
    folder
}

fn identity(pki: &Path, name: &str) -> Identity {
    Identity::load(&pki.join(format!("{name}.crt")), &pki.join(format!("{name}.key"))).unwrap()
}

fn central(pki: &Path) -> Central {
    let mut central = Central::default();
    central.trust(identity::certificates("ca", &pki.join("ca.crt")).unwrap());
    central
}

fn verdict(seen: &[Seen]) -> &Verdict {
    let verdict = seen.iter().rev().find_map(|s| match s {
        Seen::Manifest { verdict, .. } => Some(verdict),
        _ => None,
    });
    verdict.unwrap_or_else(|| panic!("no verdict in {seen:?}"))
}

#[test]
fn a_manifest_is_verified_by_what_came_before_and_after_it_whatever_historical_says() {
    let pki = pki();
    let mut pole = Pole::of(4);
    let claims = pole.claims(1, 4);
    pole.sign(&identity(pki.path(), "pole"), &claims, Manifest::JWS_TYPE);
    let mut central = central(pki.path());
    assert_eq!(*verdict(&pole.send(&mut central, 5)), Verdict::Open(Waits::Bodies));
    for n in [3, 1, 4] {
        pole.send(&mut central, n);
    }
    assert_eq!(*verdict(&pole.send(&mut central, 2)), Verdict::Verified);
    let summary = central.summary();
    assert_eq!((summary.verified_manifests, summary.verified, summary.gaps), (1, 4, 0));
    assert_eq!(central.ledgers()[0].verified_chain, Some(claims.chain_after_sha256));
}

#[test]
fn a_manifest_that_is_not_the_poles_word_is_wrong_and_says_why() {
    let pki = pki();
    let signer = identity(pki.path(), "pole");
    let other = Root::new("demo-pd", "main-street", "south").unwrap().source();
    let stranger = self::pki();
    let right = Pole::of(3).claims(1, 3);
    let cases = [
        (&signer, ManifestClaims { source: other, ..right.clone() }, "not of this camera"),
        (&identity(stranger.path(), "pole"), right.clone(), "not to be trusted"),
        (
            &signer,
            ManifestClaims { chain_before_sha256: Chain::from([1; 32]), ..right.clone() },
            "does not begin",
        ),
        (
            &signer,
            ManifestClaims { chain_after_sha256: Chain::from([1; 32]), ..right.clone() },
            "was changed or put",
        ),
        (&signer, ManifestClaims { to: 4, ..right.clone() }, "comes after it"),
    ];
    for (signer, claims, why) in cases {
        let mut pole = Pole::of(3);
        pole.sign(signer, &claims, Manifest::JWS_TYPE);
        let mut central = central(pki.path());
        (1..=3).for_each(|n| drop(pole.send(&mut central, n)));
        let seen = pole.send(&mut central, 4);
        let Verdict::Wrong(words) = verdict(&seen) else { panic!("{why}: {seen:?}") };
        assert!(words.contains(why), "{words}");
        assert_eq!((central.summary().wrong_manifests, central.summary().verified), (1, 0));
        assert_eq!(completes(&seen), 1, "it is a record like any other, and gets its receipt");
    }
    let mut pole = Pole::of(3);
    pole.sign(&signer, &right, "another+jws");
    assert!(matches!(verdict(&pole.send(&mut central(pki.path()), 4)), Verdict::Wrong(_)));
    let unchecked = pole.send(&mut Central::default(), 4);
    assert_eq!(*verdict(&unchecked), Verdict::Open(Waits::Authority));
}

#[test]
fn a_second_name_does_not_sign_for_the_same_camera() {
    let pki = pki();
    let mut pole = Pole::of(2);
    let first = pole.claims(1, 2);
    pole.sign(&identity(pki.path(), "pole"), &first, Manifest::JWS_TYPE);
    let second = pole.claims(3, 3);
    pole.sign(&identity(pki.path(), "server"), &second, Manifest::JWS_TYPE);
    let mut central = central(pki.path());
    (1..=3).for_each(|n| drop(pole.send(&mut central, n)));
    let seen = pole.send(&mut central, 4);
    assert!(matches!(verdict(&seen), Verdict::Wrong(why) if why.contains("another name")));
    assert_eq!(central.summary().verified_manifests, 1);
}

#[test]
fn another_body_under_an_id_or_a_sequence_is_a_conflict_and_gets_no_receipt() {
    let pole = Pole::of(2);
    let mut central = Central::default();
    pole.send(&mut central, 1);
    let topic = pole.root.topic(Leaf::UnreadPasses);
    let text = String::from_utf8(sending(&pole.bodies[0], &[], false)).unwrap();
    let changed = text.replace("receding", "approaching");
    let second = "00000000000000000002";
    let moved = changed.replace("00000000000000000001", second);
    let taken = text.replace("-000000000001", "-000000000009");
    for forged in [changed, moved, taken] {
        let seen = central.take(&topic, forged.as_bytes());
        assert!(matches!(seen[..], [Seen::Conflict { .. }]), "{seen:?}");
    }
    assert_eq!((central.summary().conflicts, central.summary().distinct), (3, 0));
}

#[test]
fn a_record_that_comes_over_from_a_damaged_store_is_a_duplicate_that_counts_in_its_new_place() {
    let pki = pki();
    let old = Pole::of(3);
    let mut central = central(pki.path());
    (1..=3).for_each(|n| drop(old.send(&mut central, n)));
    let place = Place { epoch: Uuid::from_u128(6), sequence: 1 };
    let body = in_ledger(&old.bodies[1], place).unwrap();
    let seen = central.take(&old.root.topic(Leaf::UnreadPasses), &sending(&body, &[], true));
    assert!(matches!(seen[0], Seen::UnreadPass { duplicate: true, .. }), "{seen:?}");
    assert_eq!(completes(&seen), 1, "it gets its receipt");
    let ledgers = central.ledgers();
    assert_eq!(ledgers.iter().map(|l| (l.first, l.last)).collect::<Vec<_>>(), [(1, 3), (1, 1)]);
    assert_eq!(central.summary().unread_passes, 3);
}

#[test]
fn a_read_whose_photos_were_given_up_is_complete_without_them() {
    let (root, event) = read();
    let body = sending(&event.to_json().unwrap(), &[], false);
    let Place { epoch, sequence } = event.ledger().unwrap();
    let mut eviction = examples::eviction();
    eviction.data = Eviction {
        evicted: Evicted::Photos,
        epoch,
        sequences: vec![SequenceRange { from: sequence - 2, to: sequence }],
        chain_sha256: vec![],
        ..eviction.data
    };
    let eviction = sending(&eviction.to_json().unwrap(), &[], false);
    let mut messages = [(Leaf::Reads, body), (Leaf::Ledger, eviction)];
    for _ in 0..2 {
        messages.rotate_left(1);
        let mut central = Central::default();
        let seen: Vec<_> =
            messages.iter().flat_map(|(leaf, m)| central.take(&root.topic(*leaf), m)).collect();
        let complete = |s: &&Seen| matches!(s, Seen::Complete { id, .. } if *id == event.id);
        assert_eq!(seen.iter().filter(complete).count(), 1, "{seen:?}");
        assert_eq!((central.summary().complete, central.summary().gaps), (1, 1), "42 is missing");
    }
}

#[test]
fn a_read_that_says_that_its_photos_are_gone_is_complete_at_once_and_fits_the_chain() {
    let (root, event) = read();
    let body = event.to_json().unwrap();
    let gone = sending(&body, &PhotoKind::ALL, true);
    let mut central = Central::default();
    assert_eq!(completes(&central.take(&root.topic(Leaf::Reads), &gone)), 1);
    assert_eq!(central.summary().complete, 1);
    // Sent before they were given up, and again after: one photo had come meanwhile.
    let mut central = Central::default();
    assert_eq!(completes(&central.take(&root.topic(Leaf::Reads), &sending(&body, &[], false))), 0);
    let photo = Leaf::Evidence { read_id: event.id, kind: PhotoKind::Plate };
    assert_eq!(completes(&central.take(&root.topic(photo), PLATE)), 0);
    let gone = sending(&body, &[PhotoKind::Context], true);
    for _ in 0..2 {
        let seen = central.take(&root.topic(Leaf::Reads), &gone);
        assert_eq!(completes(&seen), 1, "{seen:?}");
    }
    let summary = central.summary();
    assert_eq!((summary.complete, summary.conflicts, summary.duplicates), (1, 0, 2));
}

#[test]
fn a_damaged_photo_is_not_waited_for_once_its_read_says_so_and_the_other_one_is() {
    let (root, event) = read();
    let body = event.to_json().unwrap();
    let Place { epoch, sequence } = event.ledger().unwrap();
    let mut eviction = examples::eviction();
    eviction.data = Eviction {
        evicted: Evicted::Photos,
        cause: EvictionCause::Damaged,
        epoch,
        sequences: vec![SequenceRange { from: sequence, to: sequence }],
        chain_sha256: vec![],
        ..eviction.data
    };
    let eviction = sending(&eviction.to_json().unwrap(), &[], false);
    let gone = sending(&body, &[PhotoKind::Plate], true);
    let messages =
        [(Leaf::Reads, sending(&body, &[], false)), (Leaf::Ledger, eviction), (Leaf::Reads, gone)];
    for order in [[0, 1, 2], [1, 0, 2], [0, 2, 1]] {
        let mut central = Central::default();
        for (leaf, message) in order.map(|n| &messages[n]) {
            central.take(&root.topic(*leaf), message);
            assert_eq!(central.summary().complete, 0, "the other one may come");
        }
        let photo = Leaf::Evidence { read_id: event.id, kind: PhotoKind::Context };
        let seen = central.take(&root.topic(photo), CONTEXT);
        assert_eq!((completes(&seen), central.summary().complete), (1, 1));
    }
}

#[test]
fn an_eviction_of_itself_or_of_what_comes_after_it_is_not_taken() {
    let eviction = examples::eviction();
    let root = eviction.source.root().clone();
    for bad in [(40, 43), (50, 60), (0, 3), (5, 4)] {
        let mut eviction = eviction.clone();
        eviction.data.sequences[1] = SequenceRange { from: bad.0, to: bad.1 };
        let mut central = Central::default();
        let seen = central.take(&root.topic(Leaf::Ledger), &eviction.to_json().unwrap());
        assert!(matches!(seen[..], [Seen::Bad { .. }]), "{bad:?}: {seen:?}");
    }
}
