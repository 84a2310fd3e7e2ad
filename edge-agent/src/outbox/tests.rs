//! The outbox against a plain model, through reopening; and its promises one by one.

use std::{collections::BTreeMap, fs, path::Path};

use milepost_wire::{Evicted, Eviction, Root, examples};
use proptest::{collection::vec, prelude::*};

use super::*;
use crate::health::{Component, Status};

pub(super) fn source() -> Source {
    Root::new("pd", "site", "cam").unwrap().source()
}

pub(super) fn settings(directory: &Path) -> config::Outbox {
    config::Outbox {
        directory: directory.into(),
        max_records: 100_000,
        max_photo_bytes: 1 << 30,
        max_bytes: 1 << 40,
        min_free_bytes: 0,
    }
}

pub(super) fn open_with(settings: &config::Outbox, health: &Arc<Health>) -> Outbox {
    let plain = Setup::plain(settings.clone(), source(), health.clone());
    Outbox::open(Setup { thresholds: SOON, ..plain }).unwrap()
}

/// Tests have few records: what lies eight back stands in blocks.
pub(super) const SOON: Thresholds =
    Thresholds { compact_bytes: 64 << 20, exact_links: 100_000, standing_alone: 8 };

/// On disk, a photo of 8 bytes.
const PHOTO_OF_8: u64 = 8 + 37;

/// Entries that a new outbox begins with: its epoch, and the start.
const FIRST: u64 = 2;

pub(super) fn open(directory: &Path) -> Outbox {
    open_with(&settings(directory), &Arc::default())
}

pub(super) fn entry(id: u128, size: usize, photos: &[(PhotoKind, usize)]) -> Entry {
    // Letters that can't be packed much smaller.
    let mut state = id as u64;
    let fill: String = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'0' + (state >> 57) as u8 % 75)
    })
    .filter(|c| *c != '\\')
    .take(size)
    .collect();
    let body = move |ledger: Ledger| {
        Ok(format!("{{\"sequence\":{},\"fill\":\"{fill}\"}}", ledger.sequence).into_bytes())
    };
    Entry {
        id: Uuid::from_u128(id),
        kind: Kind::Read,
        captured_at: Timestamp::UNIX_EPOCH,
        body: Box::new(body),
        photos: Keeping::New(
            photos
                .iter()
                .map(|&(kind, bytes)| Photo { kind, jpeg: vec![id as u8; bytes] })
                .collect(),
        ),
    }
}

#[derive(Debug, Clone)]
enum Op {
    Keep { id: u8, size: usize, photo: Option<usize> },
    Delivered(Vec<u64>),
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0u8..24, prop_oneof![4 => 0usize..300, 1 => 5700usize..6400], proptest::option::of(1usize..500))
            .prop_map(|(id, size, photo)| Op::Keep { id, size, photo }),
        3 => vec(1u64..30, 0..4).prop_map(Op::Delivered),
        1 => Just(Op::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_outbox_does_what_a_plain_map_does(ops in vec(op(), 1..40)) {
        let scratch = tempfile::tempdir().unwrap();
        let mut outbox = open(scratch.path());
        let epoch = outbox.position().epoch;
        // Reads by sequence, and what the outbox says of itself.
        let mut model: BTreeMap<u64, (u8, Option<usize>)> = BTreeMap::new();
        let mut own: Vec<u64> = (1..=FIRST).collect();
        let mut last = FIRST;
        for op in ops {
            match op {
                Op::Keep { id, size, photo } => {
                    let photos: Vec<_> = photo.map(|n| (PhotoKind::Plate, n)).into_iter().collect();
                    let kept = outbox.keep(entry(id.into(), size, &photos));
                    let known = model.iter().find(|(_, (i, _))| *i == id).map(|(s, _)| *s);
                    match (kept, known) {
                        (Ok(sequence), Some(known)) => prop_assert_eq!(sequence, known),
                        (Ok(sequence), None) => {
                            last += 1;
                            prop_assert_eq!(sequence, last, "a gap");
                            model.insert(sequence, (id, photo));
                        }
                        (Err(OutboxError::TooLarge { bytes }), None) => {
                            prop_assert!(bytes > MAX_RECORD_BYTES && size > 5000);
                        }
                        (other, _) => prop_assert!(false, "{other:?}"),
                    }
                }
                Op::Delivered(sequences) => {
                    model.retain(|s, _| !sequences.contains(s));
                    own.retain(|s| !sequences.contains(s));
                    outbox.delivered(sequences).unwrap();
                }
                Op::Reopen => {
                    drop(outbox);
                    outbox = open(scratch.path());
                    last += 1;
                    own.push(last);
                }
            }
            let mut records = outbox.records(0, 1000).unwrap();
            let said = records.extract_if(.., |r| r.kind == Kind::Ledger).map(|r| r.sequence);
            prop_assert_eq!(said.collect::<Vec<_>>(), own.clone());
            let got: Vec<_> = records.iter().map(|r| (r.sequence, r.id.as_u128() as u8)).collect();
            let want: Vec<_> = model.iter().map(|(s, (id, _))| (*s, *id)).collect();
            prop_assert_eq!(got, want);
            prop_assert_eq!(outbox.len(), (model.len() + own.len()) as u64);
            let position = outbox.position();
            prop_assert_eq!((position.epoch, position.last_sequence), (epoch, last));
            for (sequence, (id, photo)) in &model {
                let id = Uuid::from_u128((*id).into());
                prop_assert_eq!(outbox.sequence_of(id).unwrap(), Some(*sequence));
                let jpeg = outbox.photo(id, PhotoKind::Plate).unwrap();
                prop_assert_eq!(jpeg.map(|j| j.len()), *photo);
            }
        }
        let files = fs::read_dir(scratch.path().join("photos")).unwrap().count();
        prop_assert_eq!(files, model.values().filter(|(_, p)| p.is_some()).count());
    }
}

#[test]
fn keepers_at_once_share_commits_and_leave_no_gap() {
    let scratch = tempfile::tempdir().unwrap();
    let outbox = open(scratch.path());
    let mut sequences: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8u128)
            .map(|t| {
                let outbox = outbox.clone();
                scope.spawn(move || {
                    (0..25)
                        .map(|n| outbox.keep(entry(t * 100 + n, 10, &[])).unwrap())
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
    });
    sequences.sort_unstable();
    assert_eq!(sequences, (1 + FIRST..=200 + FIRST).collect::<Vec<_>>());
    let body = outbox.record(200).unwrap().unwrap().body;
    assert!(body.starts_with(b"{\"sequence\":200,"), "the body carries its own sequence");
}

#[test]
fn a_full_outbox_gives_up_the_oldest_and_says_which() {
    let scratch = tempfile::tempdir().unwrap();
    let health: Arc<Health> = Arc::default();
    let settings = config::Outbox { max_records: 200, ..settings(scratch.path()) };
    let outbox = open_with(&settings, &health);
    for n in 0..260 {
        outbox.keep(entry(n, 10, &[(PhotoKind::Plate, 8)])).unwrap();
        assert!(outbox.len() <= 200);
    }
    let records = outbox.records(0, 1000).unwrap();
    let mut accounted: Vec<u64> = records.iter().map(|r| r.sequence).collect();
    let mut photo_bytes = 0;
    for record in records.iter().filter(|r| r.kind == Kind::Ledger) {
        let Ok(event) = Event::<Eviction>::from_json(&record.body) else { continue };
        assert_eq!(event.data.evicted, Evicted::Records);
        accounted.extend(event.data.sequences.iter().flat_map(|r| r.from..=r.to));
        photo_bytes += event.data.photo_bytes;
        assert_eq!(event.data.chain_sha256.len(), event.data.sequences.len());
    }
    accounted.sort_unstable();
    let last = outbox.position().last_sequence;
    assert_eq!(accounted, (1..=last).collect::<Vec<_>>(), "every sequence is there or given up");
    assert!(health.metrics.outbox_evictions.get() >= 60);
    assert_eq!(health.checks()[&Component::Outbox].status, Status::Warn);
    let photos = fs::read_dir(scratch.path().join("photos")).unwrap().count() as u64;
    let reads = records.iter().filter(|r| r.kind == Kind::Read).count() as u64;
    assert_eq!(photos, reads);
    assert_eq!(photo_bytes, (260 - reads) * PHOTO_OF_8);
}

#[test]
fn photos_over_their_cap_are_given_up_and_their_records_stay() {
    let scratch = tempfile::tempdir().unwrap();
    let settings = config::Outbox { max_photo_bytes: 10_000, ..settings(scratch.path()) };
    let outbox = open_with(&settings, &Arc::default());
    outbox.delivered((1..=FIRST).collect()).unwrap();
    for n in 0..15 {
        outbox.keep(entry(n, 10, &[(PhotoKind::Plate, 900), (PhotoKind::Context, 100)])).unwrap();
    }
    let bytes: u64 = fs::read_dir(scratch.path().join("photos"))
        .unwrap()
        .map(|f| f.unwrap().metadata().unwrap().len())
        .sum();
    assert!((8_800..=10_000).contains(&bytes), "{bytes}");
    let records = outbox.records(0, 100).unwrap();
    assert_eq!(records.iter().filter(|r| r.kind == Kind::Read).count(), 15);
    assert!(records[0].photos.is_empty() && !records[0].body.is_empty());
    assert!(records.iter().any(|r| r.kind == Kind::Ledger));
    assert_eq!(outbox.photo(records[0].id, PhotoKind::Plate).unwrap(), None);
}

/// Overwrites every file of the store.
fn wreck(directory: &Path) {
    for file in fs::read_dir(directory.join("store-1")).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            fs::write(path, [0xA5; 4096]).unwrap();
        }
    }
}

/// Closes it and waits for sled's own threads.
fn close(outbox: Outbox, directory: &Path) {
    drop(outbox);
    drop(open(directory));
}

#[test]
fn a_damaged_store_is_set_aside_and_a_new_epoch_begins_that_says_so() {
    let scratch = tempfile::tempdir().unwrap();
    let outbox = open(scratch.path());
    outbox.keep(entry(1, 10, &[(PhotoKind::Plate, 8)])).unwrap();
    let epoch = outbox.position().epoch;
    close(outbox, scratch.path());
    wreck(scratch.path());
    let health: Arc<Health> = Arc::default();
    let outbox = open_with(&settings(scratch.path()), &health);
    assert_ne!(outbox.position().epoch, epoch);
    let first = outbox.record(1).unwrap().unwrap();
    let first = Event::<milepost_wire::Epoch>::from_json(&first.body).unwrap();
    assert_eq!(first.data.cause, milepost_wire::EpochCause::StoreDamaged);
    outbox.keep(entry(2, 10, &[])).unwrap();
    let check = health.checks()[&Component::Outbox].clone();
    assert_eq!(check.status, Status::Warn);
    assert!(check.output.contains("store-1.damaged-"), "{}", check.output);
    let aside = fs::read_dir(scratch.path())
        .unwrap()
        .filter(|f| f.as_ref().unwrap().file_name().to_string_lossy().contains(".damaged-"));
    assert_eq!(aside.count(), 1, "it is there to be looked at");
}

#[test]
fn a_second_agent_is_kept_out_and_harms_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let outbox = open(scratch.path());
    let second = Setup::plain(settings(scratch.path()), source(), Arc::default());
    let second = Outbox::open(second);
    assert!(matches!(second, Err(OutboxError::InUse(_))), "{second:?}");
    assert_eq!(outbox.keep(entry(1, 1, &[])).unwrap(), FIRST + 1);
}

#[test]
fn photos_that_no_record_names_are_deleted_at_open_and_foreign_files_stay() {
    let scratch = tempfile::tempdir().unwrap();
    drop(open(scratch.path()));
    let photos = scratch.path().join("photos");
    fs::write(photos.join(format!("{}-plate.sealed", Uuid::now_v7())), b"x").unwrap();
    fs::write(photos.join(format!("{}-context.tmp", Uuid::now_v7())), b"x").unwrap();
    fs::write(photos.join("README.txt"), b"x").unwrap();
    drop(open(scratch.path()));
    let left: Vec<_> = fs::read_dir(&photos).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert_eq!(left, ["README.txt"]);
}

#[test]
fn photos_that_can_not_be_kept_use_up_no_sequence() {
    let scratch = tempfile::tempdir().unwrap();
    let outbox = open(scratch.path());
    for photos in [&[(PhotoKind::Plate, 0)][..], &[(PhotoKind::Plate, 1), (PhotoKind::Plate, 2)]] {
        let error = outbox.keep(entry(1, 1, photos)).unwrap_err();
        assert!(matches!(error, OutboxError::Photos(_)), "{error}");
    }
    assert_eq!(outbox.keep(entry(1, 1, &[])).unwrap(), FIRST + 1);
}

#[test]
fn a_read_with_everything_in_it_fits_into_a_record() {
    let scratch = tempfile::tempdir().unwrap();
    let outbox = open(scratch.path());
    let mut read = examples::read().data;
    let alternative =
        milepost_wire::TextAlternative { text: "W".into(), probability: 0.012_345_678 };
    for character in &mut read.characters {
        character.alternatives = vec![alternative.clone(); crate::vision::MAX_ALTERNATIVES];
    }
    let whole = milepost_wire::TextAlternative { text: "8MPX4021".into(), ..alternative };
    read.alternatives = vec![whole; 8];
    outbox.keep(Entry::read(source(), read, Vec::new())).unwrap();
}
