//! Alert lists of 1,000 to 10 million entries: taking one in, opening it after a start, memory, a look by
//! a read that matches exactly, by one that only looks alike and by one that does not match, how many of
//! 100,000 random reads alert at each tolerance, and the same looks in a blind list:
//! `cargo bench -p milepost --bench lists`.
//!
//! Plates are of California's passenger format, which has 175,760,000 serials. *Index* is the look in memory
//! alone, which says whether and where a plate is listed; what a look takes beside it is all of it, from the
//! read over the entry on the disk to the verification packets. Taking in, and opening and looking, are done
//! in processes of their own, so that their memory is that of an agent.

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{self, BufReader, Write as _},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Instant,
};

use jiff::Timestamp;
use milepost::{
    config::{Sealing, SealingKey},
    health::Health,
    list_store::{ListStore, Shelf, hashed::Hashed},
    lists::{
        blind::{self, Key},
        fingerprint::KEY_BYTES,
        format,
        search::MAX_PATTERNS,
    },
    look_alikes,
    sealing::Keyring,
};
use milepost_wire::{Agreement, ListFormat, ListVersion, Read, Tolerance, examples};
use plotters::prelude::*;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

const SIZES: [u64; 5] = [1_000, 10_000, 100_000, 1_000_000, 10_000_000];
const LOOKS: usize = 20_000;
/// Entries of the blind list.
const BLIND: u64 = 1_000_000;
const RANDOM_READS: u64 = 100_000;
/// Serials of the format.
const SERIALS: u64 = 10 * 26 * 26 * 26 * 1000;
const SEED: u64 = 20_261_127;

type Failure = Box<dyn std::error::Error>;

/// The `n`th plate of a list: a walk over the serials that meets none twice.
fn plate(n: u64) -> String {
    // Odd and no multiple of 5 or 13: coprime to the number of serials.
    let serial = n.wrapping_mul(97_654_321) % SERIALS;
    let letter = |power: u32| char::from(b'A' + (serial / 1000 / 26_u64.pow(power) % 26) as u8);
    let first = serial / 1000 / 26_u64.pow(3);
    format!("{first}{}{}{}{:03}", letter(2), letter(1), letter(0), serial % 1000)
}

/// The list's text, made as it is read.
struct Text {
    entries: u64,
    next: u64,
    line: io::Cursor<Vec<u8>>,
}

impl Text {
    fn new(entries: u64) -> Self {
        let header = b"plate,state,kind,date,id,year,make,colour\n".to_vec();
        Self { entries, next: 0, line: io::Cursor::new(header) }
    }
}

impl io::Read for Text {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.line.read(buffer)? {
                0 if self.next < self.entries => {
                    let n = self.next;
                    let line = format!("{},CA,stolen,20261120,{n},2019,TOYT,BLU\n", plate(n));
                    self.line = io::Cursor::new(line.into_bytes());
                    self.next += 1;
                }
                bytes => return Ok(bytes),
            }
        }
    }
}

fn version(entries: u64, tolerance: u8) -> io::Result<ListVersion> {
    let (bytes, sha256) = Hashed::new(Text::new(entries)).finish()?;
    let now = Timestamp::now();
    Ok(ListVersion {
        list: format!("t{tolerance}"),
        version: 1,
        base: None,
        audience: "demo-pd".into(),
        agency: "bench".into(),
        purpose: "bench".into(),
        source_at: now,
        expires_at: now + jiff::SignedDuration::from_hours(24),
        aging_after_s: 86_400,
        stale_after_s: 86_400,
        tolerance: Tolerance { substitutions: tolerance, least_probability: 0.0 },
        format: ListFormat::Csv,
        bytes,
        sha256,
        key_sha256: None,
    })
}

fn keyring(folder: &Path) -> Result<Keyring, Failure> {
    let sealing = Sealing { key: SealingKey::File(folder.join("key")) };
    Ok(Keyring::open(&sealing, &folder.join("sealing"))?)
}

fn store(folder: &Path) -> Result<ListStore, Failure> {
    let health = Arc::new(Health::default());
    Ok(ListStore::open(folder.join("lists"), keyring(folder)?, 0, health)?)
}

/// What a process that opened the list measured.
#[derive(Debug, Serialize, Deserialize)]
struct Measured {
    open_s: f64,
    memory_mb: f64,
    /// Microseconds, p50 and p99: exact, look-alike, none.
    looks: [[f64; 2]; 3],
    /// The same for the index alone, exact.
    index: [f64; 2],
    /// Of [`RANDOM_READS`]: exact and only by look-alikes.
    alerts: [u64; 2],
}

fn resident_mb() -> f64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = statm.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or(f64::NAN);
    pages * 4096.0 / 1e6
}

/// Most that this process ever held.
fn peak_mb() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kb: f64 = line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(f64::NAN);
    kb * 1024.0 / 1e6
}

fn read(template: &Read, text: String) -> Read {
    let mut read = template.clone();
    read.raw_text = text.clone();
    read.plate_text = text;
    read.captured_at = Timestamp::now();
    read
}

/// The text with one character replaced by one that looks like it.
fn look_alike(text: &str, random: &mut StdRng) -> Option<String> {
    let places: Vec<usize> = (0..text.len())
        .filter(|i| look_alikes::group(char::from(text.as_bytes()[*i])).is_some())
        .collect();
    let at = *places.get(random.random_range(0..places.len().max(1)))?;
    let was = char::from(text.as_bytes()[at]);
    let other = look_alikes::group(was)?.chars().find(|c| *c != was)?;
    let mut text = text.to_owned();
    text.replace_range(at..=at, other.encode_utf8(&mut [0; 4]));
    Some(text)
}

/// Microseconds, p50 and p99, of [`LOOKS`] times.
fn shares(mut times: Vec<f64>) -> [f64; 2] {
    times.sort_by(f64::total_cmp);
    [times[times.len() / 2], times[times.len() * 99 / 100]]
}

/// Looks of the three kinds; an error where one does not find what it should.
fn looks(store: &ListStore, entries: u64, random: &mut StdRng) -> Result<[[f64; 2]; 3], Failure> {
    let template = examples::read().data;
    let mut looks = [[0.0; 2]; 3];
    for (kind, figures) in looks.iter_mut().enumerate() {
        let mut times = Vec::with_capacity(LOOKS);
        while times.len() < LOOKS {
            let on_list = plate(random.random_range(0..entries));
            let text = match kind {
                0 => Some(on_list),
                1 => look_alike(&on_list, random),
                // Of no plate's length.
                _ => Some(format!("{on_list}X")),
            };
            let Some(text) = text else { continue };
            let read = read(&template, text);
            let started = Instant::now();
            let alerts = store.alerts(&read);
            times.push(started.elapsed().as_secs_f64() * 1e6);
            if alerts.is_empty() != (kind == 2) {
                return Err("a look did not find what it should".into());
            }
        }
        *figures = shares(times);
    }
    Ok(looks)
}

fn measure(folder: &Path, entries: u64) -> Result<Measured, Failure> {
    let before = resident_mb();
    let started = Instant::now();
    let store = store(folder)?;
    let open_s = started.elapsed().as_secs_f64();
    let memory_mb = resident_mb() - before;
    let mut random = StdRng::seed_from_u64(SEED);
    let looks = looks(&store, entries, &mut random)?;
    let template = examples::read().data;
    let mut alerts = [0; 2];
    for _ in 0..RANDOM_READS {
        let found = store.alerts(&read(&template, plate(random.random_range(0..SERIALS))));
        let exact = found.iter().any(|a| a.comparison.agreement == Agreement::Exact);
        alerts[0] += u64::from(exact);
        alerts[1] += u64::from(!exact && !found.is_empty());
    }
    let list = store.versions().pop().ok_or("no list")?.list;
    let shelf =
        Shelf::open(&folder.join("lists").join(&list).join("1"), &keyring(folder)?, &list, 1)?;
    let fingerprints = shelf.list.fingerprints.get().ok_or("no key")?;
    let mut times = Vec::with_capacity(LOOKS);
    for _ in 0..LOOKS {
        let text = plate(random.random_range(0..entries));
        let started = Instant::now();
        let number = fingerprints.of_folded(&look_alikes::fold(&text));
        let places = shelf.list.index.find(number).count();
        times.push(started.elapsed().as_secs_f64() * 1e6);
        if places == 0 {
            return Err("the index does not have what it should".into());
        }
    }
    Ok(Measured { open_s, memory_mb, looks, index: shares(times), alerts })
}

/// Takes a list in; how long that took, in seconds.
fn take_in(folder: &Path, entries: u64, tolerance: u8) -> Result<f64, Failure> {
    let version = version(entries, tolerance)?;
    let started = Instant::now();
    let store = store(folder)?;
    let report = store.install(&version, Timestamp::now(), &mut Text::new(entries))?;
    assert_eq!(report.entries, entries);
    Ok(started.elapsed().as_secs_f64())
}

/// A look by a read on no list, past as many entries with open characters as a list may have.
fn open_entries(folder: &Path) -> Result<[f64; 2], Failure> {
    let (mut lines, mut random) = (String::from("plate\n"), StdRng::seed_from_u64(SEED));
    for n in 0..MAX_PATTERNS as u64 {
        let mut text = plate(random.random_range(0..SERIALS));
        text.replace_range(3..4, if n % 4 == 0 { "*" } else { "?" });
        lines += &format!("{text}\n");
    }
    let (bytes, sha256) = Hashed::new(lines.as_bytes()).finish()?;
    let version = ListVersion { bytes, sha256, ..version(0, 1)? };
    let store = store(folder)?;
    store.install(&version, Timestamp::now(), &mut lines.as_bytes())?;
    let template = examples::read().data;
    let mut times = Vec::with_capacity(LOOKS);
    for _ in 0..LOOKS {
        let read = read(&template, plate(random.random_range(0..SERIALS)));
        let started = Instant::now();
        std::hint::black_box(store.alerts(&read));
        times.push(started.elapsed().as_secs_f64() * 1e6);
    }
    Ok(shares(times))
}

/// The looks in a blind list.
fn blind(folder: &Path, entries: u64) -> Result<[[f64; 2]; 3], Failure> {
    let key = Key::new(Zeroizing::new([7; KEY_BYTES]));
    let fingerprints = key.fingerprints();
    let mut lines = Vec::new();
    format::read(ListFormat::Csv, &mut BufReader::new(Text::new(entries)), |entry| {
        lines.extend(blind::line(&entry, &fingerprints));
    })?;
    lines.sort_unstable();
    let text = [blind::first_line(&key), lines.join("\n")].join("\n") + "\n";
    let (bytes, sha256) = Hashed::new(text.as_bytes()).finish()?;
    let format = ListFormat::Blind;
    let key_sha256 = Some(key.digest());
    let version = ListVersion { bytes, sha256, format, key_sha256, ..version(0, 1)? };
    let store = store(folder)?;
    store.install(&version, Timestamp::now(), &mut text.as_bytes())?;
    store.unlock(&key, Timestamp::now()).ok_or("the key does not fit")?;
    looks(&store, entries, &mut StdRng::seed_from_u64(SEED))
}

/// This program again, as a process of its own.
fn child(arguments: &[&OsStr]) -> Result<Vec<u8>, Failure> {
    let child = Command::new(env::current_exe()?).args(arguments).output()?;
    io::stderr().write_all(&child.stderr)?;
    if !child.status.success() {
        return Err(format!("{arguments:?}: {}", child.status).into());
    }
    Ok(child.stdout)
}

/// The verbs of such a process.
fn part(arguments: &[String]) -> Result<(), Failure> {
    let [verb, folder, entries, rest @ ..] = arguments else { return Err("a verb".into()) };
    let (folder, entries) = (Path::new(folder), entries.parse()?);
    let said = match (verb.as_str(), rest) {
        ("--take-in", [tolerance]) => {
            let seconds = take_in(folder, entries, tolerance.parse()?)?;
            serde_json::to_string(&(seconds, peak_mb()))?
        }
        ("--measure", []) => serde_json::to_string(&measure(folder, entries)?)?,
        ("--blind", []) => serde_json::to_string(&blind(folder, entries)?)?,
        _ => return Err("another verb".into()),
    };
    println!("{said}");
    Ok(())
}

fn words([p50, p99]: [f64; 2]) -> String {
    format!("{p50:.1} / {p99:.1}")
}

fn scratch() -> io::Result<tempfile::TempDir> {
    let target = env::var_os("CARGO_TARGET_TMPDIR").map_or(env::temp_dir(), PathBuf::from);
    tempfile::tempdir_in(target)
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = env::args().skip(1).collect();
    if args.first().is_some_and(|verb| ["--take-in", "--measure", "--blind"].contains(&&**verb)) {
        return part(&args);
    }
    let most = env::var("LIST_ENTRIES").ok().map(|n| n.parse()).transpose()?.unwrap_or(u64::MAX);
    println!(
        "| entries | take in, s | peak, MB | disk, MB | open, s | memory, MB | index, µs p50 / p99 | exact | look-alike | none | random reads that alert: exact | by 1 look-alike | by 2 |"
    );
    println!(
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    );
    let mut measured_at = Vec::new();
    for entries in SIZES.into_iter().filter(|size| *size <= most) {
        let mut row = Vec::new();
        let mut alerts = [0; 3];
        for tolerance in [1_u8, 2] {
            let scratch = scratch()?;
            let (folder, number) = (scratch.path().as_os_str(), entries.to_string());
            let taken = child(&[
                "--take-in".as_ref(),
                folder,
                number.as_ref(),
                tolerance.to_string().as_ref(),
            ])?;
            let (taken_s, peak_mb): (f64, f64) = serde_json::from_slice(&taken)?;
            let measured = child(&["--measure".as_ref(), folder, number.as_ref()])?;
            let measured: Measured = serde_json::from_slice(&measured)?;
            (alerts[0], alerts[usize::from(tolerance)]) = (measured.alerts[0], measured.alerts[1]);
            if tolerance == 1 {
                let folder = scratch.path().join("lists/t1/1");
                let bytes: u64 = fs::read_dir(folder)?
                    .filter_map(|f| f.ok()?.metadata().ok())
                    .map(|m| m.len())
                    .sum();
                row = vec![
                    format!("{taken_s:.2}"),
                    format!("{peak_mb:.0}"),
                    format!("{:.1}", bytes as f64 / 1e6),
                    format!("{:.3}", measured.open_s),
                    format!("{:.1}", measured.memory_mb),
                    words(measured.index),
                ];
                row.extend(measured.looks.map(words));
                measured_at.push((entries, measured));
            }
        }
        let share = |n: u64| format!("{:.3} %", n as f64 * 100.0 / RANDOM_READS as f64);
        row.extend(alerts.map(share));
        println!("| {entries} | {} |", row.join(" | "));
    }
    let blind_entries = BLIND.min(most);
    let scratch = scratch()?;
    let arguments = ["--blind".as_ref(), scratch.path().as_os_str()];
    let looks = child(&[&arguments[..], &[blind_entries.to_string().as_ref()]].concat())?;
    let looks: [[f64; 2]; 3] = serde_json::from_slice(&looks)?;
    println!(
        "\n| blind list, entries | exact, µs p50 / p99 | look-alike | none |\n| ---: | ---: | ---: | ---: |"
    );
    println!("| {blind_entries} | {} |", looks.map(words).join(" | "));
    let past = open_entries(self::scratch()?.path())?;
    println!("\nPast {MAX_PATTERNS} entries with ? or *, on none: {} µs p50 / p99.", words(past));
    if let Some(path) = env::var_os("LIST_PLOT") {
        plot(Path::new(&path), &measured_at)?;
    }
    Ok(())
}

/// Looks by the number of entries, both on logarithmic axes.
fn plot(path: &Path, measured: &[(u64, Measured)]) -> Result<(), Failure> {
    let root = SVGBackend::new(path, (800, 480)).into_drawing_area();
    root.fill(&WHITE)?;
    let (least, most) = (SIZES[0] as f64, SIZES[SIZES.len() - 1] as f64);
    let mut chart = ChartBuilder::on(&root)
        .caption("One read against a list", ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d((least..most).log_scale(), (0.1..1000.0).log_scale())?;
    chart.configure_mesh().x_desc("entries").y_desc("microseconds").draw()?;
    type Figure = fn(&Measured) -> f64;
    let lines: [(&str, Figure, RGBColor); 5] = [
        ("index, p99", |m| m.index[1], BLACK),
        ("exact, p50", |m| m.looks[0][0], BLUE),
        ("exact, p99", |m| m.looks[0][1], CYAN),
        ("look-alike, p99", |m| m.looks[1][1], GREEN),
        ("none, p99", |m| m.looks[2][1], RED),
    ];
    for (name, figure, colour) in lines {
        let points = measured.iter().map(|(n, m)| (*n as f64, figure(m)));
        let series = LineSeries::new(points, colour.stroke_width(2)).point_size(3);
        let key = move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2));
        chart.draw_series(series)?.label(name).legend(key);
    }
    let mut labels = chart.configure_series_labels();
    labels.position(SeriesLabelPosition::UpperLeft).border_style(BLACK).background_style(WHITE);
    labels.draw()?;
    root.present()?;
    Ok(())
}
