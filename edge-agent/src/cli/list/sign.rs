//! `milepost list sign`: what a list's authority says of a version, signed, beside the list itself.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use milepost_wire::{ListFormat, ListVersion, MAX_SUBSTITUTIONS, Tolerance, TopicLevel};
use zeroize::Zeroizing;

use super::blind::write_key;
use crate::{
    identity::{Identity, IdentityError},
    list_store::{ListError, checked, hashed::Hashed, rules},
    lists::{
        Report,
        blind::{Key, NoKey},
    },
    uplink::central::lists::Offer,
};

/// Sign a version of a list for the poles
#[derive(Debug, Args)]
#[command(after_long_help = "\
The list is read as a pole would read it, and not signed where a pole would refuse it. One without entries
takes the place of the list before: it withdraws it, and is signed with --withdraw alone. Two files are
written into --out: LIST.list, the list as it is, and LIST.jws, what is signed; of a blind list a third,
LIST.key, which only its owner may read. `milepost watch --lists` hands them out.

With --base, what is signed is a delta against that version, and the files are LIST.delta.list and
LIST.delta.jws: JSON Lines with {\"remove\": \"<id of an entry>\"}, then {\"add\": {...}} with the members of
an entry, id among them. Hand out the whole list beside it, for the poles that can't use it.

Examples:
  milepost list sign svs.txt --format clew --list svs --number 813 --audience demo-pd \\
    --agency 'California Department of Justice' --purpose 'stolen vehicles' \\
    --source-at 2026-11-27T06:00:00Z --certificate lists.crt --key lists.key --out lists/")]
pub struct SignArgs {
    /// The list
    file: PathBuf,
    /// Its format: csv, jsonl, clew, ncic or blind
    #[arg(long)]
    format: ListFormat,
    /// It has no entry: with it, nothing is matched by this list any more
    #[arg(long)]
    withdraw: bool,
    /// File with the key of a blind list
    #[arg(long)]
    key_of_list: Option<PathBuf>,
    /// Its name
    #[arg(long)]
    list: TopicLevel,
    /// Number of the version, higher than every one before
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    number: u64,
    /// It is a delta against this version
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    base: Option<u64>,
    /// The agency whose poles it is for, as it stands in their topics
    #[arg(long)]
    audience: TopicLevel,
    /// Who answers for it
    #[arg(long)]
    agency: String,
    /// What it is for
    #[arg(long)]
    purpose: String,
    /// When its entries were taken from their source
    #[arg(long)]
    source_at: Timestamp,
    /// Hours after that at which alerts by it are called aging
    #[arg(long, default_value_t = 24)]
    aging_after_h: u32,
    /// Hours after that at which they are called stale
    #[arg(long, default_value_t = 48)]
    stale_after_h: u32,
    /// Hours after that at which it is not used any more
    #[arg(long, default_value_t = 168)]
    expires_after_h: u32,
    /// Most characters that may be others that look alike
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(..=i64::from(MAX_SUBSTITUTIONS)))]
    substitutions: u8,
    /// Least probability, by the reader, of what is listed; 0 hides nothing
    #[arg(long, default_value_t = 0.0)]
    least_probability: f32,
    /// PEM of the signer's certificate, with the chain to the poles' `lists.authority_file`
    #[arg(long)]
    certificate: PathBuf,
    /// PEM of its key
    #[arg(long)]
    key: PathBuf,
    /// Where the two files go
    #[arg(long)]
    out: PathBuf,
}

/// Why it is not signed.
#[derive(Debug, thiserror::Error)]
enum SignError {
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    #[error("a pole would refuse the list: {0}")]
    List(#[from] ListError),
    #[error("{0}: {1}")]
    Key(PathBuf, NoKey),
    #[error("it has no entry, so it would withdraw the list: is that meant (--withdraw)?")]
    Empty,
    #[error("it has {0} entries, and is to withdraw the list (--withdraw)")]
    NotEmpty(u64),
    #[error("a blind list is signed with the key that it was made with (--key-of-list)")]
    NoKey,
    #[error(
        "the list was not made with that key (--key-of-list): give the one that `list blind` wrote with it"
    )]
    OtherKey,
    #[error("{0}")]
    Identity(#[from] IdentityError),
}

pub(super) fn run(args: &SignArgs) -> ExitCode {
    match sign(args) {
        Ok(report) => {
            println!("{}", super::words(&report));
            let (list, version) = (&args.list, args.number);
            match args.base {
                None => println!("signed {list} version {version}"),
                Some(base) => println!(
                    "signed {list} version {version}: {} changes of version {base}",
                    report.lines
                ),
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("milepost list sign: {error}");
            ExitCode::FAILURE
        }
    }
}

fn sign(args: &SignArgs) -> Result<Report, SignError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| SignError::File(path, error)
    };
    let file = &args.file;
    let mut list = Hashed::new(File::open(file).map_err(failed(file))?);
    let examined = match args.base {
        None => rules::examine(args.format, &mut list),
        Some(_) => rules::examine_delta(&mut list),
    };
    let report = examined.map_err(|(error, _)| error)?;
    let (bytes, sha256) = list.finish().map_err(failed(file))?;
    match report.entries {
        0 if args.base.is_none() && !args.withdraw => return Err(SignError::Empty),
        1.. if args.withdraw => return Err(SignError::NotEmpty(report.entries)),
        _ => {}
    }
    let key = args.key_of_list.as_deref().map(key).transpose()?;
    if args.format == ListFormat::Blind && key.is_none() {
        return Err(SignError::NoKey);
    }
    let version = version(args, bytes, sha256, key.as_ref());
    checked(&version)?;
    if report.key_sha256 != version.key_sha256 {
        return Err(SignError::OtherKey);
    }
    if version.expires_at <= Timestamp::now() {
        return Err(ListError::Expired(version.expires_at).into());
    }
    let signer = Identity::load(&args.certificate, &args.key)?;
    let jws = signer.sign_jws(ListVersion::JWS_TYPE, &version)?;
    let delta = if args.base.is_some() { ".delta" } else { "" };
    let out = |ending| args.out.join(format!("{}{delta}.{ending}", args.list));
    fs::create_dir_all(&args.out).map_err(failed(&args.out))?;
    copy(file, &out(Offer::LIST)).map_err(failed(&out(Offer::LIST)))?;
    // Not that of the version before.
    match fs::remove_file(out(Offer::KEY)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(SignError::File(out(Offer::KEY), error));
        }
        _ => {}
    }
    if let Some(key) = &key {
        write_key(&out(Offer::KEY), key).map_err(failed(&out(Offer::KEY)))?;
    }
    fs::write(out(Offer::SIGNED), jws).map_err(failed(&out(Offer::SIGNED)))?;
    Ok(report)
}

/// Copies a file, unless it is there already: onto itself it would be emptied.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let file = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino()));
    match file(to) {
        Ok(there) if there == file(from)? => Ok(()),
        _ => fs::copy(from, to).map(drop),
    }
}

fn key(path: &Path) -> Result<Key, SignError> {
    let text = fs::read_to_string(path).map_err(|error| SignError::File(path.into(), error))?;
    Key::parse(&Zeroizing::new(text)).map_err(|error| SignError::Key(path.into(), error))
}

fn version(args: &SignArgs, bytes: u64, sha256: String, key: Option<&Key>) -> ListVersion {
    let hours = |hours: u32| u64::from(hours) * 3600;
    let (substitutions, least_probability) = (args.substitutions, args.least_probability);
    ListVersion {
        list: args.list.to_string(),
        version: args.number,
        base: args.base,
        audience: args.audience.to_string(),
        agency: args.agency.clone(),
        purpose: args.purpose.clone(),
        source_at: args.source_at,
        expires_at: args.source_at + SignedDuration::from_hours(args.expires_after_h.into()),
        aging_after_s: hours(args.aging_after_h),
        stale_after_s: hours(args.stale_after_h),
        tolerance: Tolerance { substitutions, least_probability },
        format: args.format,
        bytes,
        sha256,
        key_sha256: key.map(Key::digest),
    }
}
