//! What is promised where a store, a photo or the keys are damaged or lost.

use std::{fs, path::Path, process::Command};

use milepost_wire::{
    Epoch, EpochCause, Evicted, Eviction, EvictionCause, Header, Salvage, SequenceRange,
};

use super::{
    ledger_tests::{chain_over, hold, keyring, ledger_events, until},
    tests::{SOON, entry, open, open_with, settings, source},
    *,
};
use crate::{
    health::{Component, Status},
    sealing::ManualClock,
};

/// Within the id of the data key at the head of what is sealed.
const KEY_BYTE: usize = 5;

#[test]
fn what_can_be_read_of_a_damaged_store_comes_over_with_its_ids_and_photos() {
    let scratch = tempfile::tempdir().unwrap();
    let outbox = open(scratch.path());
    let read = || {
        let mut read = milepost_wire::examples::read().data;
        read.read_id = Uuid::now_v7();
        read
    };
    let photo = || vec![Photo { kind: PhotoKind::Plate, jpeg: vec![7; 8] }];
    let kept: Vec<_> = (0..5).map(|_| read()).collect();
    for read in &kept {
        outbox.keep(Entry::read(source(), read.clone(), photo())).unwrap();
    }
    hold(&outbox, true, vec![kept[1].read_id]);
    let seal = |outbox: &Outbox, id| {
        let sequence = outbox.sequence_of(id).unwrap().unwrap();
        let record = outbox.record(sequence).unwrap().unwrap();
        (record.held, record.key)
    };
    let seals: Vec<_> = kept.iter().map(|read| seal(&outbox, read.read_id)).collect();
    let reads: Vec<Uuid> = kept.iter().map(|read| read.read_id).collect();
    let before = outbox.position();
    drop(outbox);
    drop(open(scratch.path()));
    // Its count is wrong: the rest is as it was.
    {
        let db = loop {
            match sled::open(scratch.path().join("store-1")) {
                Ok(db) => break db,
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(5)),
            }
        };
        db.insert(b"mcount", &77u64.to_be_bytes()).unwrap();
        db.flush().unwrap();
    }
    until("sled's lock", || {
        let opened = SledStore::open(scratch.path(), keyring(scratch.path()), false);
        !matches!(opened, Err(StoreError::InUse))
    });
    let outbox = open(scratch.path());
    until("the salvage", || !ledger_events::<Salvage>(&outbox).is_empty());
    let salvage = ledger_events::<Salvage>(&outbox).remove(0).data;
    assert_eq!((salvage.complete, salvage.failed, salvage.photos), (true, 0, 5));
    assert_eq!(salvage.previous.unwrap().epoch, before.epoch);
    for read in kept {
        let sequence = outbox.sequence_of(read.read_id).unwrap().expect("it came over");
        let record = outbox.record(sequence).unwrap().unwrap();
        let ledger = Header::from_json(&record.body).unwrap().ledger().unwrap();
        assert_eq!((ledger.sequence, ledger.epoch), (sequence, outbox.position().epoch));
        assert_eq!(Event::<Read>::from_json(&record.body).unwrap().data, read);
        assert_eq!(outbox.photo(read.read_id, PhotoKind::Plate).unwrap(), Some(vec![7; 8]));
    }
    for (n, read) in reads.iter().enumerate() {
        assert_eq!(seal(&outbox, *read), seals[n], "it ages on, and a hold lasts");
    }
    let last = outbox.position().last_sequence;
    assert_eq!(outbox.store.chain_after(last).unwrap(), Some(chain_over(&outbox)));
    drop(outbox);
    assert_eq!(ledger_events::<Salvage>(&open(scratch.path())).len(), 1, "once is enough");
    // As if the process had been cut off in the middle of it.
    let mut folders = fs::read_dir(scratch.path()).unwrap().map(|f| f.unwrap().path());
    let aside = folders.find(|p| p.to_string_lossy().contains("damaged")).unwrap();
    fs::remove_file(aside.join("salvaged")).unwrap();
    let outbox = open(scratch.path());
    until("the salvage again", || ledger_events::<Salvage>(&outbox).len() == 2);
}

#[test]
fn what_was_sealed_with_a_key_that_can_not_be_used_is_kept_and_health_says_so() {
    let scratch = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::default());
    let open = || {
        let health = Arc::new(Health::default());
        let plain = Setup::plain(settings(scratch.path()), source(), health.clone());
        (
            Outbox::open(Setup { clock: Some(clock.clone()), thresholds: SOON, ..plain }).unwrap(),
            health,
        )
    };
    let said = |health: &Health| health.checks()[&Component::Outbox].output.clone();
    let (outbox, _) = open();
    outbox.keep(entry(1, 10, &[])).unwrap();
    clock.pass(std::time::Duration::from_secs(7200));
    outbox.keep(entry(2, 10, &[])).unwrap();
    drop(outbox);
    let [first, .., last] = &keyring(scratch.path()).keys()[..] else { panic!("two keys") };
    let file = |key: KeyId| scratch.path().join(format!("sealing/{key}.key"));
    let whole = fs::read(file(first.id)).unwrap();
    fs::copy(file(last.id), file(first.id)).unwrap();
    let (outbox, health) = open();
    until("the word on health", || said(&health).contains("is kept and not sent"));
    let at = outbox.sequence_of(Uuid::from_u128(1)).unwrap().unwrap();
    assert_eq!(outbox.page(at..=at, true, 1).unwrap().out_of_reach, [at]);
    drop(outbox);
    fs::write(file(first.id), whole).unwrap();
    let (outbox, health) = open();
    assert_eq!(outbox.record(at).unwrap().unwrap().id, Uuid::from_u128(1));
    until("all is well", || said(&health) == "durable");
}

#[test]
fn a_photo_that_is_damaged_or_gone_is_given_up_on_the_ledger_and_its_record_stays() {
    let scratch = tempfile::tempdir().unwrap();
    let outbox = open(scratch.path());
    for n in 1..=3 {
        outbox.keep(entry(n, 10, &[(PhotoKind::Plate, 8), (PhotoKind::Context, 8)])).unwrap();
    }
    let file = |n: u128, kind: &str| {
        scratch.path().join("photos").join(format!("{}-{kind}.sealed", Uuid::from_u128(n)))
    };
    fs::write(file(1, "plate"), b"noise").unwrap();
    fs::remove_file(file(2, "context")).unwrap();
    // It names another data key, of which there is none.
    let mut sealed = fs::read(file(3, "plate")).unwrap();
    sealed[KEY_BYTE] ^= 1;
    fs::write(file(3, "plate"), sealed).unwrap();
    for (n, kind, cause) in [
        (1, PhotoKind::Plate, EvictionCause::Damaged),
        (2, PhotoKind::Context, EvictionCause::Missing),
        (3, PhotoKind::Plate, EvictionCause::Damaged),
    ] {
        let id = Uuid::from_u128(n);
        assert_eq!(outbox.photo(id, kind).unwrap(), None);
        let sequence = outbox.sequence_of(id).unwrap().unwrap();
        let record = outbox.record(sequence).unwrap().unwrap();
        assert_eq!(record.photos.len(), 1, "the other photo stays");
        let said = ledger_events::<Eviction>(&outbox).pop().unwrap().data;
        assert_eq!((said.evicted, said.cause), (Evicted::Photos, cause));
        assert_eq!(said.sequences, [SequenceRange { from: sequence, to: sequence }]);
    }
    assert!(!file(1, "plate").exists());
    assert_eq!(outbox.photo(Uuid::from_u128(4), PhotoKind::Plate).unwrap(), None);
    assert_eq!(ledger_events::<Eviction>(&outbox).len(), 3, "what nobody kept is no loss");
}

#[test]
fn a_store_that_has_gone_back_or_lost_everything_is_never_gone_on_with() {
    for lose_all in [false, true] {
        let scratch = tempfile::tempdir().unwrap();
        let outbox = open(scratch.path());
        outbox.keep(entry(1, 10, &[])).unwrap();
        drop(outbox);
        let (store, before) = (scratch.path().join("store-1"), scratch.path().join("before"));
        let copied = Command::new("cp").arg("-r").args([&store, &before]).status().unwrap();
        assert!(copied.success());
        let outbox = open(scratch.path());
        outbox.keep(entry(2, 10, &[])).unwrap();
        let position = outbox.position();
        drop(outbox);
        fs::remove_dir_all(&store).unwrap();
        if !lose_all {
            fs::rename(&before, &store).unwrap();
        }
        let outbox = open(scratch.path());
        let epoch = ledger_events::<Epoch>(&outbox).remove(0).data;
        assert_eq!((epoch.cause, epoch.previous), (EpochCause::StoreDamaged, Some(position)));
        assert_ne!(outbox.position().epoch, position.epoch);
    }
}

#[test]
fn keys_that_are_lost_do_not_stop_the_pole_and_it_says_so() {
    let key_file = |place: &Path| {
        let mut files = fs::read_dir(place.join("sealing")).unwrap().map(|f| f.unwrap().path());
        files.find(|path| path.extension().is_some_and(|e| e == "key")).unwrap()
    };
    for data_key in [false, true] {
        let scratch = tempfile::tempdir().unwrap();
        let outbox = open(scratch.path());
        outbox.keep(entry(1, 10, &[(PhotoKind::Plate, 8)])).unwrap();
        drop(outbox);
        if data_key {
            let file = key_file(scratch.path());
            let mut bytes = fs::read(&file).unwrap();
            bytes[40..].fill(7);
            fs::write(file, bytes).unwrap();
        } else {
            fs::write(scratch.path().join("sealing.key"), b"short").unwrap();
        }
        let health: Arc<Health> = Arc::default();
        let outbox = open_with(&settings(scratch.path()), &health);
        outbox.keep(entry(2, 10, &[])).unwrap();
        let said = health.checks()[&crate::health::Component::Outbox].output.clone();
        assert!(said.contains("the store was damaged"), "{said}");
        assert_eq!(ledger_events::<Epoch>(&outbox)[0].data.cause, EpochCause::StoreDamaged);
        if !data_key {
            // Key, data keys and photos wait for somebody who has the key; they age meanwhile.
            let keys = scratch.path().join("sealing");
            let clock = crate::sealing::PoleClock::open(&keys).unwrap();
            let week = std::time::Duration::from_secs(7 * 86_400);
            crate::sealing::Purger::new(&keys, scratch.path(), week).run(&clock).unwrap();
            let photos = crate::durable::asides(&scratch.path().join("photos")).unwrap();
            assert_eq!(fs::read_dir(&photos[0]).unwrap().count(), 1);
            assert_eq!(crate::durable::asides(&keys).unwrap().len(), 1);
        }
    }
}

#[test]
fn damage_that_a_reader_meets_opens_the_store_again_and_then_replaces_it() {
    let scratch = tempfile::tempdir().unwrap();
    let health: Arc<Health> = Arc::default();
    let outbox = open_with(&settings(scratch.path()), &health);
    outbox.keep(entry(1, 10, &[])).unwrap();
    let epoch = outbox.position().epoch;
    let meet = || {
        let why = "a page can't be read".to_owned();
        let error = outbox.read(|_| Err::<(), _>(StoreError::Damaged(why))).unwrap_err();
        assert!(matches!(error, OutboxError::Store(_)), "{error}");
        // The first may share its commit with the word on the damage, the second comes after it.
        outbox.keep(entry(2, 10, &[])).unwrap();
        outbox.keep(entry(3, 10, &[])).unwrap();
    };
    meet();
    assert_eq!(outbox.position().epoch, epoch, "it may have been a passing one");
    let status = || health.checks()[&Component::Outbox].status;
    assert_eq!(status(), Status::Fail, "long enough to be seen");
    until("all is well", || status() == Status::Pass);
    meet();
    assert_ne!(outbox.position().epoch, epoch);
    until("the word on what was set aside", || status() == Status::Warn);
    let check = health.checks()[&Component::Outbox].clone();
    assert!(check.output.contains("a page"), "{check:?}");
    until("the salvage", || outbox.sequence_of(Uuid::from_u128(1)).unwrap().is_some());
}

#[test]
fn a_store_and_its_mark_that_are_gone_together_are_no_new_pole_while_photos_are_there() {
    let scratch = tempfile::tempdir().unwrap();
    let outbox = open(scratch.path());
    outbox.keep(entry(1, 10, &[(PhotoKind::Plate, 8)])).unwrap();
    drop(outbox);
    fs::remove_file(scratch.path().join("store.mark")).unwrap();
    fs::remove_file(scratch.path().join("store-1/db")).unwrap();
    let health: Arc<Health> = Arc::default();
    let outbox = open_with(&settings(scratch.path()), &health);
    outbox.keep(entry(2, 10, &[])).unwrap();
    assert_eq!(ledger_events::<Epoch>(&outbox)[0].data.cause, EpochCause::StoreDamaged);
    assert_eq!(health.checks()[&Component::Outbox].status, Status::Warn);
}
