//! Alert lists: altered on their way, and power cuts while one is taken in.
//!
//! Altered: half of them on the way, from the announcement to the parts ([`announced`]), half as the store gets
//! them: bytes flipped, cut, swapped, repeated, not text; what is signed altered as well. Each must be refused
//! with a reason and leave the version in force as it was. Cuts: after each, the version in force is
//! the last that was taken in or the one under way, whole: every plate of it is found and none of another.
//! The control takes lists in with `fsync` made to do nothing, and must lose one.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use milepost::{
    config::{Sealing, SealingKey},
    list_store::{ListStore, hashed::Hashed},
    sealing::Keyring,
};
use milepost_wire::{ListFormat, ListVersion, Read, Tolerance, examples};
use rand::{RngExt, rngs::StdRng, seq::SliceRandom as _};

use crate::{
    announced::{self, Announced},
    context::{Context, RowName},
    disk::Disk,
    no_fsync,
    table::Row,
};

/// One power cut for so many altered lists.
const CUTS: u32 = 10;
/// Entries of a version.
pub const ENTRIES: u64 = 200;
/// Size of the disk.
const DISK_MB: u64 = 64;
/// A cut comes within so long.
const RUN_MS: u64 = 250;
/// Cuts of the control.
const CONTROL: u32 = 10;

/// The row.
pub fn row(context: &Context) -> Row {
    let mut row = Row::new(RowName::Lists.fault());
    let mut choices = context.choices(RowName::Lists, 0);
    altered(context, &mut row, &mut choices);
    if !context.own_mounts {
        row.held.push("power cuts not done: no mount namespace of our own".into());
        return row;
    }
    let cuts = context.runs(RowName::Lists).div_ceil(CUTS);
    match cut(context, "cuts", cuts, false, &mut choices) {
        Ok(Cuts { taken, lost }) if lost.is_empty() => {
            row.held.push(format!("{cuts} power cuts while {taken} versions were taken in"));
        }
        Ok(Cuts { lost, .. }) => lost.into_iter().for_each(|why| row.fail(why)),
        Err(why) => row.fail(why),
    }
    match cut(context, "control", CONTROL, true, &mut choices) {
        Ok(Cuts { lost, .. }) if lost.is_empty() => {
            row.fail(format!(
                "control: {CONTROL} cuts without fsync lost nothing: the row is blind"
            ));
        }
        Ok(Cuts { lost, .. }) => {
            row.held.push(format!(
                "control without fsync: {} of {CONTROL} cuts lost a list",
                lost.len()
            ));
        }
        Err(why) => row.fail(format!("control: {why}")),
    }
    row
}

/// What seals the lists of a folder.
pub fn keyring(folder: &Path) -> Result<Keyring, String> {
    let sealing = Sealing { key: SealingKey::File(folder.join("key")) };
    Keyring::open(&sealing, &folder.join("sealing")).map_err(|e| e.to_string())
}

fn store(folder: &Path) -> Result<ListStore, String> {
    let opened = ListStore::open(folder.join("lists"), keyring(folder)?, 0, Arc::default());
    opened.map_err(|e| e.to_string())
}

/// The `n`th plate of a version; of no other.
fn plate(version: u64, n: u64) -> String {
    format!("{:04}K{:03}", version % 10_000, n)
}

/// The lines of a version.
pub fn text(version: u64) -> String {
    let lines: String = (0..ENTRIES).map(|n| format!("{},CA,{n}\n", plate(version, n))).collect();
    format!("plate,state,id\n{lines}")
}

/// A CLEW table with so many lines.
fn clew(lines: u64) -> String {
    let line = |n| format!("{:8}CA3420261120\n", plate(2, n));
    let lines_of_it: String = (0..lines).map(line).collect();
    format!("LICENSE STCODATE\n{lines_of_it}TOTAL RECORD {lines}\n")
}

/// What is said of a version with these bytes.
pub fn version(number: u64, text: &[u8]) -> ListVersion {
    let (bytes, sha256) = Hashed::new(text).finish().expect("memory can be read");
    let now = Timestamp::now();
    ListVersion {
        list: "svs".into(),
        version: number,
        audience: "demo-pd".into(),
        agency: "torture".into(),
        purpose: "torture".into(),
        source_at: now,
        expires_at: now + SignedDuration::from_hours(24),
        aging_after_s: 3600,
        stale_after_s: 7200,
        tolerance: Tolerance { substitutions: 0, least_probability: 0.0 },
        format: ListFormat::Csv,
        key_sha256: None,
        base: None,
        bytes,
        sha256,
    }
}

fn read(text: String) -> Read {
    let mut read = examples::read().data;
    (read.raw_text, read.captured_at) = (text.clone(), Timestamp::now());
    read.plate_text = text;
    read
}

/// How many plates of a version are found, of [`ENTRIES`].
pub fn found(store: &ListStore, version: u64) -> usize {
    (0..ENTRIES).filter(|n| store.alerts(&read(plate(version, *n))).len() == 1).count()
}

/// Whether this version is in force: one plate of it is looked up each time, all of them now and then.
pub fn in_force(store: &ListStore, number: u64, run: u32) -> bool {
    let one = || store.alerts(&read(plate(number, u64::from(run) % ENTRIES))).len() == 1;
    let all = || !run.is_multiple_of(50) || found(store, number) as u64 == ENTRIES;
    store.versions().first().is_some_and(|v| v.version == number) && one() && all()
}

fn altered(context: &Context, row: &mut Row, choices: &mut StdRng) {
    let folder = context.folder(RowName::Lists, "altered");
    let store = store(&folder).expect("an empty folder");
    let good = text(1);
    let now = Timestamp::now();
    store.install(&version(1, good.as_bytes()), now, &mut good.as_bytes()).expect("a good list");
    let (mut reasons, before) =
        (std::collections::BTreeMap::<String, u32>::new(), row.failures.len());
    let on_the_way = context.runs(RowName::Lists) / 2;
    for _ in on_the_way..context.runs(RowName::Lists) {
        row.runs += 1;
        let (what, version, bytes) = alteration(choices);
        match store.install(&version, now, &mut &bytes[..]) {
            Ok(_) => row.fail(format!("{what}: was taken in")),
            Err(error) => {
                let why = error.to_string();
                let kind: String = why.chars().filter(|c| !c.is_ascii_digit()).take(24).collect();
                *reasons.entry(kind).or_default() += 1;
            }
        }
        if !in_force(&store, 1, row.runs) {
            row.fail(format!("{what}: the version in force is not whole any more"));
        }
    }
    let held = row.failures.len() == before;
    context.close(&folder, held);
    row.held.push(format!("{} altered lists refused for {} reasons", row.runs, reasons.len()));
    let folder = context.folder(RowName::Lists, "announced");
    let announced = announced::altered(&folder, on_the_way, choices);
    context.close(&folder, announced.is_ok());
    match announced {
        Ok(Announced { reasons }) => {
            row.runs += on_the_way;
            row.held.push(format!(
                "{on_the_way} altered on the way (signature, key, parts, deltas), all refused, {reasons} reasons in the ledger"
            ));
        }
        Err(why) => row.fail(format!("on the way: {why}")),
    }
}

/// A list that must be refused: what was done to it, what is said of it, its bytes.
fn alteration(choices: &mut StdRng) -> (&'static str, ListVersion, Vec<u8>) {
    let good = text(2).into_bytes();
    let said = version(2, &good);
    let at = choices.random_range(0..good.len());
    let lines = || good.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
    // As if its authority had signed it so: its format is what is wrong.
    let signed = |bytes: Vec<u8>| (version(2, &bytes), bytes);
    match choices.random_range(0..15) {
        0 => {
            let mut bytes = good;
            bytes[at] ^= 1 << choices.random_range(0..8);
            ("a flipped bit", said, bytes)
        }
        1 => ("cut", said, good[..at].to_vec()),
        2 => ("longer", said, [&good[..], &good[..at.max(1)]].concat()),
        3 => {
            let mut lines = lines();
            lines[1..].shuffle(choices);
            lines.swap(1, 2);
            let bytes = lines.concat();
            let bytes = if bytes == good { bytes[1..].to_vec() } else { bytes };
            ("lines in another order", said, bytes)
        }
        4 => {
            let mut bytes = good;
            bytes[at.max(20)] = 0xff;
            let (said, bytes) = signed(bytes);
            ("not text, signed", said, bytes)
        }
        5 => {
            let text = String::from_utf8(good).expect("text").replace("plate,state,id", "id,state");
            let (said, bytes) = signed(text.into_bytes());
            ("another header, signed", said, bytes)
        }
        6 => {
            // The state where the plate was, the plate where the state was.
            let text = String::from_utf8(good).expect("text");
            let text = text.replace("plate,state,id", "state,plate,id");
            let (said, bytes) = signed(text.into_bytes());
            ("swapped columns, signed", said, bytes)
        }
        7 => {
            let end = good.len() - choices.random_range(1..5);
            let (said, bytes) = signed(good[..end].to_vec());
            ("cut in its last line, signed", said, bytes)
        }
        8 => {
            ("an older version", ListVersion { version: choices.random_range(0..2), ..said }, good)
        }
        9 => {
            let hours = SignedDuration::from_hours(choices.random_range(1..1000));
            ("expired", ListVersion { expires_at: said.source_at - hours, ..said }, good)
        }
        10 => {
            let format = [ListFormat::Ncic, ListFormat::Clew, ListFormat::Jsonl, ListFormat::Blind];
            let format = format[choices.random_range(0..format.len())];
            let key_sha256 = (format == ListFormat::Blind).then(|| "0".repeat(64));
            ("said to be in another format", ListVersion { format, key_sha256, ..said }, good)
        }
        11 => {
            let clew = clew(choices.random_range(1..ENTRIES));
            let end = clew.rfind("TOTAL").expect("a footer") - choices.random_range(0..40);
            let (mut said, bytes) = signed(clew.as_bytes()[..end].to_vec());
            said.format = ListFormat::Clew;
            ("a CLEW table cut before its end, signed", said, bytes)
        }
        12 => {
            let (mut said, bytes) =
                signed(clew(ENTRIES).replace("RECORD 200", "RECORD 199").into_bytes());
            said.format = ListFormat::Clew;
            ("a CLEW table with another count, signed", said, bytes)
        }
        13 => (
            "too large",
            ListVersion { bytes: u64::MAX >> choices.random_range(0..20), ..said },
            good,
        ),
        _ => {
            let names = ["", "../svs", "a/b", "svs ", "#", "s\u{e9}", &"x".repeat(65)];
            let list = names[choices.random_range(0..names.len())].to_owned();
            ("a name that is none", ListVersion { list, ..said }, good)
        }
    }
}

struct Cuts {
    taken: u64,
    lost: Vec<String>,
}

fn cut(
    context: &Context,
    unit: &str,
    cuts: u32,
    careless: bool,
    choices: &mut StdRng,
) -> Result<Cuts, String> {
    let folder = context.folder(RowName::Lists, unit);
    let mut disk = Disk::new(&folder, DISK_MB)?;
    let place = disk.path().join("outbox");
    std::fs::create_dir_all(&place).map_err(|e| e.to_string())?;
    drop(store(&place)?);
    let (mut lost, mut last) = (Vec::new(), 0);
    for n in 0..cuts {
        let taken = Arc::new(AtomicU64::new(last));
        let (said, at) = (taken.clone(), place.clone());
        let taking = thread::spawn(move || {
            if careless {
                no_fsync::begin();
            }
            let Ok(store) = store(&at) else { return };
            for number in said.load(Ordering::SeqCst) + 1.. {
                let text = text(number);
                let version = version(number, text.as_bytes());
                let now = Timestamp::now();
                if store.install(&version, now, &mut text.as_bytes()).is_err() {
                    return;
                }
                said.store(number, Ordering::SeqCst);
            }
        });
        thread::sleep(Duration::from_millis(choices.random_range(0..RUN_MS)));
        disk.cut()?;
        taking.join().map_err(|_| "the thread that takes lists in panicked")?;
        disk.remount()?;
        let acknowledged = taken.load(Ordering::SeqCst);
        let store = match store(&place) {
            Ok(store) => store,
            Err(why) if careless => {
                lost.push(why);
                break;
            }
            Err(why) => return Err(why),
        };
        let now = store.versions().first().map_or(0, |v| v.version);
        let whole = now == 0 || found(&store, now) as u64 == ENTRIES;
        let others = [now.saturating_sub(1), now + 1].map(|other| found(&store, other));
        // The cut may have come after the name and before the word that it is taken.
        if !(acknowledged..=acknowledged + 1).contains(&now) || !whole || others != [0, 0] {
            lost.push(format!(
                "cut {n}: version {acknowledged} was taken in, {now} is in force, whole: {whole}"
            ));
        }
        last = now.max(acknowledged);
    }
    drop(disk);
    context.close(&folder, lost.is_empty() || careless);
    Ok(Cuts { taken: last, lost })
}
