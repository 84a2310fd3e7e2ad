//! `milepost list blind`: a list as keyed hashes, for poles that must not have it in a readable form.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufReader, BufWriter, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use milepost_wire::ListFormat;
use zeroize::Zeroizing;

use crate::{
    list_store::{ListError, rules},
    lists::{
        Report,
        blind::{self, Key},
        fingerprint::KEY_BYTES,
        format,
    },
};

/// Make a blind list of one: keyed hashes in place of plates
#[derive(Debug, Args)]
#[command(after_long_help = "\
A pole that has a blind list matches by it and can't say what it holds. What it is made with is a new
key, which goes with the announcement and never onto the pole's disk; the list goes as any other.

Not in a blind list: entries with ? or *, which have no one hash (they are left out and counted), kinds,
dates and vehicles. The state stays. An entry's id is base64url of the first 16 bytes of
HMAC-SHA256(key, 'id' and the id in the list that it was made of): keep both, to know what an alert is by.

Exit code 0 where every line was taken, left out or skipped by rule, 3 where some were bad, 1 where the
list can't be used.

Examples:
  milepost list blind svs.txt --format clew --out svs.blind --key-out svs.key
  milepost list sign svs.blind --format blind --key-of-list svs.key --list svs ...")]
pub struct BlindArgs {
    /// The list
    file: PathBuf,
    /// Its format: csv, jsonl, clew or ncic
    #[arg(long)]
    format: ListFormat,
    /// The blind list
    #[arg(long)]
    out: PathBuf,
    /// Its key, a new file that only its owner may read
    #[arg(long)]
    key_out: PathBuf,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
enum BlindError {
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    #[error("{0}: {1}")]
    List(PathBuf, ListError),
    #[error("the list is blind already")]
    Blind,
    #[error("the system has no random numbers")]
    Random,
}

pub(super) fn run(args: &BlindArgs) -> ExitCode {
    match make(args) {
        Ok((report, open)) => {
            println!("{}", super::words(&report));
            if open > 0 {
                println!("left out {open}: plates with open characters can't be hashed");
            }
            if report.bad == 0 { ExitCode::SUCCESS } else { ExitCode::from(super::SOME_BAD) }
        }
        Err(error) => {
            eprintln!("milepost list blind: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What was read of the list, and how many entries were left out as they have open characters.
fn make(args: &BlindArgs) -> Result<(Report, u64), BlindError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| BlindError::File(path, error)
    };
    if args.format == ListFormat::Blind {
        return Err(BlindError::Blind);
    }
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    aws_lc_rs::rand::fill(&mut *key).map_err(|_| BlindError::Random)?;
    let key = Key::new(key);
    let fingerprints = key.fingerprints();
    let (mut lines, mut open) = (Vec::new(), 0);
    let file = File::open(&args.file).map_err(failed(&args.file))?;
    let report = format::read(args.format, &mut BufReader::new(file), |entry| {
        match blind::line(&entry, &fingerprints) {
            Some(line) => lines.push(line),
            None => open += 1,
        }
    })
    .map_err(|error| BlindError::List(args.file.clone(), error.into()))?;
    rules::accept(args.format, &report)
        .map_err(|error| BlindError::List(args.file.clone(), error))?;
    // In the order of the hashes: that of the list may be that of the plates.
    lines.sort_unstable();
    // The key last: one without its list stands in the way of the next try.
    if args.key_out.exists() {
        let error = io::ErrorKind::AlreadyExists.into();
        return Err(BlindError::File(args.key_out.clone(), error));
    }
    let written = File::create(&args.out).and_then(|out| {
        let mut out = BufWriter::new(out);
        let first = blind::first_line(&key);
        [first].iter().chain(&lines).try_for_each(|line| writeln!(out, "{line}"))?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    });
    written.map_err(failed(&args.out))?;
    write_key(&args.key_out, &key).map_err(failed(&args.key_out))?;
    Ok((report, open))
}

/// Writes a key where no file is: one that is overwritten would make its list useless.
pub(super) fn write_key(path: &Path, key: &Key) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{}", Zeroizing::new(key.text().0).as_str())?;
    file.sync_all()
}
