//! The ledger's promises: chain, manifests, restarts, holds, purges, and what comes over from a
//! damaged store.

use std::{fs, path::Path, process::Command, time::Instant};

use milepost_wire::{
    Chain, Epoch, EpochCause, Evicted, Eviction, EvictionCause, Header, Manifest, ManifestClaims,
    Restart, RestartCause, Salvage, SequenceRange,
};

use super::{
    tests::{entry, open, open_with, settings, source},
    *,
};
use crate::{
    identity,
    sealing::{KeyUse, Keyring},
};

fn ledger_events<T: Data>(outbox: &Outbox) -> Vec<Event<T>> {
    let records = outbox.records(0, 10_000).unwrap();
    records.iter().filter_map(|r| Event::from_json(&r.body).ok()).collect()
}

/// The chain over every body in order, by nothing but the contract.
fn chain_over(outbox: &Outbox) -> Chain {
    let start = Chain::start(outbox.position().epoch);
    outbox.records(0, 10_000).unwrap().iter().fold(start, |chain, r| chain.then(&r.body))
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed().as_secs() < 60, "never came: {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// As another process has it.
fn keyring(place: &Path) -> Keyring {
    let sealing = config::Sealing { key: config::SealingKey::File(place.join("sealing.key")) };
    Keyring::open(&sealing, &place.join("sealing")).unwrap()
}

fn pki(folder: &Path) -> Signer {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/pki.sh");
    assert!(Command::new(script).arg(folder).status().unwrap().success());
    Signer { certificate_file: folder.join("pole.crt"), key_file: folder.join("pole.key") }
}

#[test]
fn a_manifest_signs_for_exactly_the_bodies_of_its_stretch() {
    let scratch = tempfile::tempdir().unwrap();
    let keys = scratch.path().join("pki");
    let plain = Setup::plain(settings(scratch.path()), source(), Arc::default());
    let outbox = Outbox::open(Setup { signer: Some(pki(&keys)), ..plain }).unwrap();
    for n in 0..20 {
        outbox.keep(entry(n, 10, &[])).unwrap();
    }
    let bodies: Vec<_> = outbox.records(0, 100).unwrap().into_iter().map(|r| r.body).collect();
    let epoch = outbox.position().epoch;
    let over = |n: usize| bodies[..n].iter().fold(Chain::start(epoch), |c, b| c.then(b));
    let command_id = Some(Uuid::now_v7());
    // Delivered records are signed for all the same.
    outbox.delivered((3..=9).collect()).unwrap();
    for (from, to) in [(1, 22), (5, 9), (22, 22)] {
        let at = outbox.manifest(ManifestRequest { from, to, command_id }).unwrap();
        let event =
            Event::<Manifest>::from_json(&outbox.record(at).unwrap().unwrap().body).unwrap();
        assert_eq!((event.data.from, event.data.to, event.data.command_id), (from, to, command_id));
        let roots = identity::certificates("ca_file", &keys.join("ca.crt")).unwrap();
        let verified = identity::verify_jws::<ManifestClaims>(
            &event.data.jws,
            Manifest::JWS_TYPE,
            &roots,
            Timestamp::now(),
        );
        let claims = verified.unwrap().payload;
        assert_eq!(claims.chain_before_sha256, over(from as usize - 1));
        assert_eq!(claims.chain_after_sha256, over(to as usize));
        assert_eq!((claims.epoch, claims.source), (epoch, source()));
    }
    for (from, to) in [(0, 3), (5, 4), (1, 1000)] {
        let refused = outbox.manifest(ManifestRequest { from, to, command_id });
        assert!(matches!(refused, Err(OutboxError::Stretch(_))), "{refused:?}");
    }
}

#[test]
fn the_chain_goes_through_what_was_given_up() {
    let scratch = tempfile::tempdir().unwrap();
    let limits = config::Outbox { max_records: 100, ..settings(scratch.path()) };
    let outbox = open_with(&limits, &Arc::default());
    for n in 0..130 {
        outbox.keep(entry(n, 10, &[])).unwrap();
    }
    let records = outbox.records(0, 1000).unwrap();
    let evictions = ledger_events::<Eviction>(&outbox);
    let mut chain = Chain::start(outbox.position().epoch);
    let mut at = 0;
    for record in records {
        while record.sequence > at + 1 {
            let (range, after) = evictions
                .iter()
                .flat_map(|e| e.data.sequences.iter().zip(&e.data.chain_sha256))
                .find(|(r, _)| r.from <= at + 1 && at < r.to)
                .expect("every missing number is in an eviction");
            (at, chain) = (range.to, *after);
        }
        (at, chain) = (record.sequence, chain.then(&record.body));
    }
    assert_eq!(at, outbox.position().last_sequence);
    assert_eq!(outbox.store.chain_after(at).unwrap(), Some(chain));
}

#[test]
fn how_the_agent_ended_before_is_in_the_ledger() {
    let scratch = tempfile::tempdir().unwrap();
    let (first, copy) = (scratch.path().join("first"), scratch.path().join("copy"));
    let outbox = open(&first);
    outbox.keep(entry(1, 10, &[])).unwrap();
    // What a process that is killed leaves.
    let copied = Command::new("cp").arg("-r").args([&first, &copy]).status().unwrap();
    assert!(copied.success());
    drop(outbox);
    let causes = |outbox: &Outbox| -> Vec<_> {
        ledger_events::<Restart>(outbox).iter().map(|e| e.data.after).collect()
    };
    use RestartCause::{FirstStart, OrderlyStop, ProcessEnded};
    assert_eq!(causes(&open(&first)), [FirstStart, OrderlyStop]);
    let killed = open(&copy);
    assert_eq!(causes(&killed), [FirstStart, ProcessEnded]);
    assert_eq!(ledger_events::<Epoch>(&killed)[0].data.cause, EpochCause::FirstStart);
    let last = killed.position().last_sequence;
    assert_eq!(killed.store.chain_after(last).unwrap(), Some(chain_over(&killed)));
}

#[test]
fn what_is_past_its_time_is_purged_on_the_ledger_and_what_is_on_hold_stays() {
    let scratch = tempfile::tempdir().unwrap();
    let outbox = open(scratch.path());
    let keyring = keyring(scratch.path());
    for n in 1..=6 {
        outbox.keep(entry(n, 10, &[(PhotoKind::Plate, 8)])).unwrap();
    }
    let hold = |held, ids: &[u128]| {
        let ids = ids.iter().copied().map(Uuid::from_u128).collect();
        let (by, reason) = ("somebody".into(), "a case".into());
        let command_id = Uuid::now_v7();
        let request = HoldRequest { held, ids, by, reason, case_number: None, command_id };
        outbox.hold(request).unwrap()
    };
    let held = hold(true, &[2, 5, 99]);
    assert_eq!((held.sequence, held.missing), (Some(9), vec![Uuid::from_u128(99)]));
    assert_eq!(hold(false, &[5]).sequence, Some(10));
    assert_eq!(hold(true, &[99]).sequence, None);
    let aged: Vec<_> =
        keyring.keys().into_iter().filter(|k| k.key_use == KeyUse::Data).map(|k| k.id).collect();
    keyring.destroy(&aged).unwrap();
    let gone = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map(|s| outbox.record(s).unwrap().is_none());
    assert_eq!(
        gone,
        [true, true, true, false, true, true, true, true, true, true],
        "only the held one opens"
    );
    until("the purge", || !ledger_events::<Eviction>(&outbox).is_empty());
    let purge = ledger_events::<Eviction>(&outbox).remove(0).data;
    assert_eq!((purge.cause, purge.records), (EvictionCause::MaxAge, 9));
    let ranges = [(1, 3), (5, 10)].map(|(from, to)| SequenceRange { from, to });
    assert_eq!(purge.sequences, ranges);
    let held = Uuid::from_u128(2);
    assert_eq!(outbox.photo(held, PhotoKind::Plate).unwrap(), Some(vec![2; 8]));
    until("its end", || outbox.len() == 2);
    assert_eq!(fs::read_dir(scratch.path().join("photos")).unwrap().count(), 1);
}

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
fn a_drained_store_is_copied_into_a_small_one_and_nothing_of_it_is_lost() {
    let scratch = tempfile::tempdir().unwrap();
    let outbox = open(scratch.path());
    for n in 0..400 {
        outbox.keep(entry(n, 3000, &[])).unwrap();
    }
    outbox.delivered((3..=390).collect()).unwrap();
    let before = (outbox.position(), outbox.records(0, 1000).unwrap(), outbox.store.bytes());
    let links: Vec<_> = (0..=400).map(|n| outbox.store.chain_after(n).unwrap().unwrap()).collect();
    assert!(!outbox.store.compact(u64::MAX).unwrap());
    assert!(outbox.store.compact(0).unwrap());
    let same = |outbox: &Outbox| {
        assert_eq!(outbox.position().epoch, before.0.epoch);
        assert_eq!(outbox.records(0, 12).unwrap(), before.1[..12]);
        let now: Vec<_> =
            (0..=400).map(|n| outbox.store.chain_after(n).unwrap().unwrap()).collect();
        assert_eq!(now, links);
    };
    same(&outbox);
    assert!(
        outbox.store.bytes() < before.2,
        "{} is no less than {}",
        outbox.store.bytes(),
        before.2
    );
    assert!(scratch.path().join("store-2").exists() && !scratch.path().join("store-1").exists());
    assert_eq!(outbox.keep(entry(1000, 10, &[])).unwrap(), before.0.last_sequence + 1);
    drop(outbox);
    same(&open(scratch.path()));
}

#[test]
fn no_byte_on_the_disk_shows_what_was_kept() {
    let scratch = tempfile::tempdir().unwrap();
    let outbox = open(scratch.path());
    let (text, jpeg) = ("7ABC123", b"\xFF\xD8\xFFthe inside of a photo".to_vec());
    for _ in 0..50 {
        let mut read = milepost_wire::examples::read().data;
        (read.read_id, read.plate_text, read.raw_text) = (Uuid::now_v7(), text.into(), text.into());
        let photos = vec![Photo { kind: PhotoKind::Context, jpeg: jpeg.clone() }];
        outbox.keep(Entry::read(source(), read, photos)).unwrap();
    }
    outbox.delivered((1..=20).collect()).unwrap();
    drop(outbox);
    let (mut folders, mut files) = (vec![scratch.path().to_owned()], 0);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            let bytes = fs::read(&path).unwrap();
            for secret in [text.as_bytes(), &jpeg, b"plate_text"] {
                let there = bytes.windows(secret.len()).any(|w| w == secret);
                assert!(!there, "{} shows it", path.display());
            }
        }
    }
    assert!(files > 30);
}

#[test]
fn a_photo_that_is_damaged_or_gone_is_given_up_on_the_ledger_and_its_record_stays() {
    let scratch = tempfile::tempdir().unwrap();
    let outbox = open(scratch.path());
    for n in 1..=2 {
        outbox.keep(entry(n, 10, &[(PhotoKind::Plate, 8), (PhotoKind::Context, 8)])).unwrap();
    }
    let file = |n: u128, kind: &str| {
        scratch.path().join("photos").join(format!("{}-{kind}.sealed", Uuid::from_u128(n)))
    };
    fs::write(file(1, "plate"), b"noise").unwrap();
    fs::remove_file(file(2, "context")).unwrap();
    for (n, kind, cause) in [
        (1, PhotoKind::Plate, EvictionCause::Damaged),
        (2, PhotoKind::Context, EvictionCause::Missing),
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
    assert_eq!(outbox.photo(Uuid::from_u128(3), PhotoKind::Plate).unwrap(), None);
    assert_eq!(ledger_events::<Eviction>(&outbox).len(), 2, "what nobody kept is no loss");
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
        outbox.keep(entry(1, 10, &[])).unwrap();
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
    }
}

#[test]
fn a_store_that_is_full_for_long_accounts_for_every_number_in_few_entries() {
    let scratch = tempfile::tempdir().unwrap();
    let limits = config::Outbox { max_records: 100, ..settings(scratch.path()) };
    let outbox = open_with(&limits, &Arc::default());
    for n in 0..600 {
        outbox.keep(entry(n, 10, &[])).unwrap();
    }
    let mut accounted: Vec<u64> =
        outbox.records(0, 1000).unwrap().iter().map(|r| r.sequence).collect();
    let evictions = ledger_events::<Eviction>(&outbox);
    assert!(evictions.len() < 5, "{} entries say what was given up", evictions.len());
    for event in evictions {
        accounted.extend(event.data.sequences.iter().flat_map(|r| r.from..=r.to));
    }
    accounted.sort_unstable();
    assert_eq!(accounted, (1..=outbox.position().last_sequence).collect::<Vec<_>>());
}

#[test]
fn limits_that_are_lowered_leave_a_sound_store_that_accounts_for_everything() {
    let scratch = tempfile::tempdir().unwrap();
    let outbox = open(scratch.path());
    for n in 0..150 {
        outbox.keep(entry(n, 10, &[(PhotoKind::Plate, 100)])).unwrap();
    }
    drop(outbox);
    let limits =
        config::Outbox { max_records: 100, max_photo_bytes: 5_000, ..settings(scratch.path()) };
    let outbox = open_with(&limits, &Arc::default());
    let epoch = outbox.position().epoch;
    for n in 200..210 {
        outbox.keep(entry(n, 10, &[(PhotoKind::Plate, 100)])).unwrap();
    }
    let records = outbox.records(0, 1000).unwrap();
    assert_eq!(outbox.len(), records.len() as u64);
    assert!(outbox.len() <= 100, "{}", outbox.len());
    let mut accounted: Vec<u64> = records.iter().map(|r| r.sequence).collect();
    for event in ledger_events::<Eviction>(&outbox) {
        if event.data.evicted == Evicted::Records {
            accounted.extend(event.data.sequences.iter().flat_map(|r| r.from..=r.to));
        }
    }
    accounted.sort_unstable();
    assert_eq!(accounted, (1..=outbox.position().last_sequence).collect::<Vec<_>>());
    drop(outbox);
    assert_eq!(open(scratch.path()).position().epoch, epoch, "sound at the next start");
}
