//! Damage to a good store on disk: bits flipped, files cut short, zeroed, overwritten, deleted.
//! Then the pole must run again soon, and say what it has lost.
//!
//! Opening and a first record kept, in a process of its own with a time limit, whatever the damage.
//! A record or a photo that has gone, or comes out other than it went in, must be said: on the
//! health page (a warning or failure of the component) and in the ledger.

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use milepost_wire::{Data, Epoch, Eviction};
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};

use crate::{
    child::Options,
    context::{Context, RowName},
    line::Line,
    model::Model,
    process::{Child, HUNG, Next},
    table::Row,
};

/// Keeping must go on after so long, counted from the start of the process.
const LIMIT: Duration = Duration::from_secs(10);
/// Records in the good store.
const RECORDS: u32 = 240;
/// Most bits flipped, most bytes zeroed or overwritten.
const MAX_FLIPS: u32 = 64;
const MAX_SPAN: u64 = 64 << 10;

/// Entries that tell of damage.
const TELLS: [&str; 2] = [Eviction::TYPE, Epoch::TYPE];

/// What one damaged store came to.
#[derive(Debug, Default)]
struct Outcome {
    /// Started to kept; `None` where it did not keep.
    running: Option<Duration>,
    /// The component warned or failed.
    said: bool,
    /// The ledger says that something was given up, or that this is another one, and did not before.
    entered: bool,
    /// It went on with a new store.
    replaced: bool,
    /// The damaged store lies beside the new one.
    set_aside: bool,
    /// Records that are not as they were.
    missing: u64,
    /// Photos that are not as they were.
    photos: u64,
    texts: Vec<String>,
    ended: String,
}

/// The row.
pub fn row(context: &Context) -> Row {
    let mut row = Row::new(RowName::Damage.fault());
    let good = context.folder(RowName::Damage, "good");
    let mut before = Model::default();
    make(&good, &mut before);
    if before.tally.total() > 0 || before.acknowledged != u64::from(RECORDS) {
        row.fail(format!("the store to be damaged is not good: {:?}", before.tally));
        return row;
    }
    let (mut worst, mut harmless, mut replaced, mut said) = (Duration::ZERO, 0, 0, 0);
    let (mut hung, mut unsaid_records, mut unsaid_photos, mut entered) = (0, 0, 0, 0);
    for (unit, _) in context.units(RowName::Damage, 1) {
        row.runs += 1;
        let mut choices = context.choices(RowName::Damage, unit);
        let folder = context.folder(RowName::Damage, &unit.to_string());
        copy(&good, &folder);
        let what = damage(&folder.join("outbox"), &mut choices);
        let outcome = open(&folder, &before, false, LIMIT * 3);
        let fast = outcome.running.is_some_and(|t| t < LIMIT);
        worst = worst.max(outcome.running.unwrap_or_default());
        let lost = outcome.missing + outcome.photos;
        harmless += u32::from(lost == 0 && !outcome.replaced);
        replaced += u32::from(outcome.replaced);
        said += u32::from(outcome.said);
        entered += u32::from(outcome.entered);
        // In the same ledger each loss must be named (the model knows which are); a new ledger says why
        // it began, and what was set aside is there.
        let told = outcome.replaced && outcome.said && outcome.entered && outcome.set_aside;
        let silent = lost > 0 && !told;
        let kept = context.close(&folder, fast && !silent);
        let again = context.again(RowName::Damage, unit);
        if !fast {
            hung += 1;
            let time = outcome.running.map_or("never".into(), |t| format!("after {t:?}"));
            row.fail(format!("{what}: kept {time}; {}; {kept}; {again}", outcome.ended));
        } else if silent {
            let counter =
                if outcome.missing > 0 { &mut unsaid_records } else { &mut unsaid_photos };
            *counter += 1;
            let n = lost;
            row.fail(format!(
                "{what}: {n} lost without a word (on health: {}, in the ledger: {}): {:?}; {kept}; {again}",
                outcome.said, outcome.entered, outcome.texts
            ));
        }
    }
    row.held = vec![
        format!("{harmless} harmless, {replaced} replaced by a new store, {said} said on health"),
        format!("{entered} in the ledger"),
        format!("{hung} not running again"),
        format!("without a word: {unsaid_records} lost records, {unsaid_photos} only photos"),
    ];
    row.worst = vec![format!("start to first record kept {:.1} s", worst.as_secs_f64())];
    control(context, &good, &before, &mut row);
    context.close(&good, true);
    row
}

/// A hanging open and a store that has silently lost its newest records must be caught.
fn control(context: &Context, good: &Path, before: &Model, row: &mut Row) {
    let folder = context.folder(RowName::Damage, "control");
    let hung = open(&folder, before, true, Duration::from_secs(1));
    copy(good, &folder);
    let mut later = before.known();
    let mut options = Options::new(folder.join("outbox"));
    (options.threads, options.keeps, options.stay) = (1, 5, 0);
    let child = Child::start(&options, &folder.join("child.log"));
    child.until(&mut later, HUNG, |l| *l == Line::Done);
    child.kill(&mut later);
    fs::remove_dir_all(folder.join("outbox")).expect("the later store");
    copy(good, &folder);
    let rolled_back = open(&folder, &later, false, LIMIT);
    context.close(&folder, true);
    if hung.running.is_some() || rolled_back.missing == 0 {
        row.fail(format!("control: {hung:?}, {rolled_back:?}: the harness is blind"));
    } else {
        row.held.push("control: a hanging open and a store set back by 5 records caught".into());
    }
}

/// A store with records that were kept, delivered and given up.
fn make(folder: &Path, model: &mut Model) {
    let mut options = Options::new(folder.join("outbox"));
    (options.keeps, options.threads, options.stay) = (RECORDS / 3, 3, 100);
    let log = folder.join("child.log");
    let child = Child::start(&options, &log);
    child.until(model, HUNG, |l| *l == Line::Done);
    child.kill(model);
    crate::process::look(&options, &log, model);
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("the good store").map_while(Result::ok) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir_all(&target).expect("a folder");
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map_while(Result::ok)
        .map(|e| e.path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// Damages one to three files; says what was done.
fn damage(outbox: &Path, choices: &mut StdRng) -> String {
    let (mut store, mut photos) = (Vec::new(), Vec::new());
    files(outbox, &mut store);
    store.retain(|p| {
        let photo = p.parent().is_some_and(|f| f.ends_with("photos"));
        if photo {
            photos.push(p.clone());
        }
        // A lock has no content.
        !photo && p.file_name().is_some_and(|n| n != "lock")
    });
    let mut done = Vec::new();
    for _ in 0..choices.random_range(1..=3) {
        // Mostly the store itself: the photos are many and small.
        let from = if choices.random_ratio(1, 8) { &photos } else { &store };
        if let Some(path) = from.choose(choices)
            && let Ok(what) = spoil(path, choices)
        {
            let name = path.strip_prefix(outbox).unwrap_or(path).display().to_string();
            done.push(format!("{name}: {what}"));
        }
    }
    done.join(", ")
}

fn spoil(path: &Path, choices: &mut StdRng) -> std::io::Result<String> {
    let length = fs::metadata(path)?.len();
    let mut file = File::options().read(true).write(true).open(path)?;
    let place = choices.random_range(0..length.max(1));
    let span = choices.random_range(1..=MAX_SPAN).min(length - place.min(length));
    let mut write =
        |bytes: &[u8]| file.seek(SeekFrom::Start(place)).and_then(|_| file.write_all(bytes));
    Ok(match choices.random_range(0..6) {
        0 => {
            let flips = choices.random_range(1..=MAX_FLIPS);
            for _ in 0..flips {
                let place = choices.random_range(0..length.max(1));
                let mut byte = [0];
                file.seek(SeekFrom::Start(place))?;
                if file.read(&mut byte)? == 1 {
                    byte[0] ^= 1 << choices.random_range(0..8);
                    file.seek(SeekFrom::Start(place))?;
                    file.write_all(&byte)?;
                }
            }
            format!("{flips} bits of {length} bytes flipped")
        }
        1 => {
            file.set_len(place)?;
            format!("cut from {length} to {place} bytes")
        }
        2 => {
            write(&vec![0; usize::try_from(span).unwrap_or(0)])?;
            format!("{span} bytes zeroed at {place} of {length}")
        }
        3 => {
            let noise: Vec<u8> = (0..span).map(|_| choices.random()).collect();
            write(&noise)?;
            format!("{span} bytes of noise at {place} of {length}")
        }
        4 => {
            file.set_len(0)?;
            format!("emptied of {length} bytes")
        }
        _ => {
            fs::remove_file(path)?;
            format!("deleted, {length} bytes")
        }
    })
}

/// Opens the damaged store as a pole would, keeps a record, and compares.
fn open(folder: &Path, before: &Model, hang: bool, limit: Duration) -> Outcome {
    let mut options = Options::new(folder.join("outbox"));
    (options.threads, options.keeps, options.stay, options.hang) = (1, 1, 0, hang);
    let mut model = before.known();
    let mut outcome = Outcome::default();
    let started = Instant::now();
    let child = Child::start(&options, &folder.join("damaged.log"));
    let until = started + limit;
    outcome.ended = loop {
        match child.next(until) {
            Next::Line(line) => {
                model.take(&line);
                match line {
                    Line::Kept { .. } if outcome.running.is_none() => {
                        outcome.running = Some(started.elapsed());
                    }
                    Line::Entry { id, event } if TELLS.contains(&&*event) && !before.knows(id) => {
                        outcome.entered = true;
                    }
                    Line::Health { status, .. } if status != "pass" => outcome.said = true,
                    Line::Done => break "done".into(),
                    _ => {}
                }
            }
            Next::Ended => break "ended".into(),
            Next::Time => break format!("hung for {} s", limit.as_secs()),
        }
    };
    let status = child.kill(&mut model);
    if outcome.ended == "ended" {
        outcome.ended = format!("its process ended with {status}");
    }
    let tally = model.tally;
    outcome.replaced = tally.replaced > 0;
    let names = fs::read_dir(&options.directory).into_iter().flatten().map_while(Result::ok);
    outcome.set_aside = names.into_iter().any(|n| {
        let name = n.file_name().to_string_lossy().into_owned();
        name.starts_with("store-") && name.contains(".damaged-")
    });
    outcome.missing = tally.lost + tally.gaps + tally.doubled + tally.invented;
    outcome.photos = tally.photos;
    outcome.texts = tally.texts.into_iter().take(2).collect();
    outcome
}
