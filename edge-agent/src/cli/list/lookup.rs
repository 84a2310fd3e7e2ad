//! `milepost list show` and `list match`: the lists in force on this pole, and whether a plate is on them.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    process::{Command, ExitCode},
    sync::Arc,
};

use clap::Args;
use jiff::Timestamp;
use milepost_wire::{Access, Accessed, Alert, Character, State, TimeSource, examples};

use crate::{
    audit,
    config::Config,
    health::Health,
    list_store::{FOLDER, ListStore, Matched},
    lists::Plate,
    sealing::Keyring,
};

/// Longest text of a person's.
const MAX_TEXT: usize = 200;

/// Show which lists are in force on this pole
#[derive(Debug, Args)]
#[command(after_long_help = "\
No plate is shown. May be run beside the agent, as its user.

Examples:
  milepost list show --config /etc/milepost/milepost.toml")]
pub struct ShowArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Look a plate up in the lists in force on this pole
#[derive(Debug, Args)]
#[command(after_long_help = "\
Who looked for what, when and why is written down first, and goes into the ledger and so to the central
server. What is shown is what an alert would say, and as advisory; muted entries are shown, too. Blind lists
can't be looked up here: their keys are in the agent alone.

Exit code 0 where something was found, 3 where nothing was, 4 where nothing was and some list was not
searched (each is named) or none is in force. To be run as the agent's user.

Examples:
  milepost list match 7ABC123 --config /etc/milepost/milepost.toml \\
    --by 'sgt. rivera' --reason 'alert 4411 seems wrong' --case 2026-014237")]
pub struct MatchArgs {
    /// The plate
    plate: String,
    /// Its state, as on the plate, e.g. CA
    #[arg(long, value_parser = state)]
    state: Option<String>,
    /// Who looks
    #[arg(long, value_parser = text)]
    by: String,
    /// Why
    #[arg(long, value_parser = text)]
    reason: String,
    /// The case or work order
    #[arg(long, value_parser = text)]
    case: Option<String>,
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

fn text(raw: &str) -> Result<String, String> {
    match raw.trim().chars().count() {
        1..=MAX_TEXT => Ok(raw.trim().into()),
        _ => Err(format!("1 to {MAX_TEXT} characters")),
    }
}

fn state(raw: &str) -> Result<String, String> {
    match raw.trim().to_ascii_uppercase() {
        code if code.len() == 2 && code.bytes().all(|b| b.is_ascii_uppercase()) => Ok(code),
        _ => Err("two letters, e.g. CA".into()),
    }
}

/// Exit code where nothing was found.
const NOTHING: u8 = 3;
/// Exit code where nothing was found, and some list was not searched.
const NOT_SEARCHED: u8 = 4;
/// Longest name of an account that is written down.
const MAX_ACCOUNT: usize = 100;

pub(super) fn show(args: &ShowArgs) -> ExitCode {
    let shown = Config::load(&args.config).map_err(|e| e.to_string()).and_then(|config| {
        let keyring = Keyring::open_to_read(&config.sealing, &config.sealing_folder());
        let lists = open(&config, keyring.map_err(|e| e.to_string())?)?;
        Ok((lists.versions(), lists.broken()))
    });
    let (versions, broken) = match shown {
        Ok(shown) => shown,
        Err(error) => return failed("show", &error),
    };
    let mut out = io::stdout();
    if versions.is_empty() && broken.is_empty() {
        let _ = writeln!(out, "no list");
    }
    for v in versions {
        let _ = writeln!(
            out,
            "{} version {}: {} of {}, of {}, expires {}",
            v.list, v.version, v.purpose, v.agency, v.source_at, v.expires_at
        );
    }
    for (list, why) in &broken {
        let _ = writeln!(out, "{list}: can't be used: {why}");
    }
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

pub(super) fn look_up(args: &MatchArgs) -> ExitCode {
    match matched(args) {
        Ok((Matched { alerts, not_searched, expired, .. }, any)) => {
            alerts.iter().for_each(print);
            if !any && not_searched.is_empty() {
                eprintln!("milepost list match: no list is in force on this pole");
            }
            for list in &expired {
                eprintln!("milepost list match: {list} has expired and was not searched");
            }
            for list in &not_searched {
                eprintln!("milepost list match: {list} could not be searched");
            }
            let all = any && not_searched.is_empty() && expired.is_empty();
            match (alerts.is_empty(), all) {
                (false, _) => ExitCode::SUCCESS,
                (true, true) => ExitCode::from(NOTHING),
                (true, false) => ExitCode::from(NOT_SEARCHED),
            }
        }
        Err(error) => failed("match", &error),
    }
}

fn failed(verb: &str, error: &str) -> ExitCode {
    eprintln!("milepost list {verb}: {error}");
    ExitCode::FAILURE
}

fn open(config: &Config, keyring: Keyring) -> Result<ListStore, String> {
    let folder = config.outbox.directory.join(FOLDER);
    let health = Arc::new(Health::default());
    ListStore::open_to_read(folder, keyring, health).map_err(|e| e.to_string())
}

/// What was found, and whether any list is in force.
fn matched(args: &MatchArgs) -> Result<(Matched, bool), String> {
    let plate = Plate::parse(&args.plate).map_err(|e| e.to_string())?;
    let config = Config::load(&args.config).map_err(|e| e.to_string())?;
    let folder = config.sealing_folder();
    // Files of another user's here would lock the agent out of its own folder.
    let owner = fs::metadata(&folder).map_err(|e| {
        let outbox = config.outbox.directory.display();
        format!("{}: {e}: has an agent run with outbox.directory {outbox}?", folder.display())
    })?;
    let owner = owner.uid();
    if owner != rustix::process::geteuid().as_raw() {
        return Err(format!("run it as the agent's user (uid {owner}): {}", folder.display()));
    }
    let keyring = Keyring::open(&config.sealing, &folder).map_err(|e| e.to_string())?;
    let lists = open(&config, keyring.clone())?;
    // A person's reading is sure.
    let mut read = examples::read().data;
    (read.plate_text, read.raw_text) = (plate.as_str().into(), plate.as_str().into());
    let state = args.state.as_deref().map(|code| format!("US-{code}"));
    read.state = state.map(|code| State { code, confidence: 1.0 });
    (read.captured_at, read.time_source) = (Timestamp::now(), TimeSource::Kernel);
    let sure = |c: char| Character { text: c.into(), probability: 1.0, alternatives: Vec::new() };
    read.characters = plate.as_str().chars().map(sure).collect();
    let mut matched = lists.look_up(&read);
    matched.not_searched.sort();
    matched.not_searched.dedup();
    let access = Access {
        by: args.by.clone(),
        account: account(),
        what: Accessed::ListMatch,
        plate_text: plate.as_str().into(),
        reason: args.reason.clone(),
        case_number: args.case.clone(),
        at: Timestamp::now(),
        found: matched.alerts.len() as u64,
    };
    audit::write_down(&config.outbox.directory, &keyring, access).map_err(|error| {
        format!("nothing is shown, as it can't be written down who looked: {error}")
    })?;
    Ok((matched, lists.is_any()))
}

/// The account that this runs as.
fn account() -> String {
    let sudo = std::env::var("SUDO_USER").map(|user| format!(" (sudo by {user})"));
    let name = Command::new("id").arg("-un").output().ok().filter(|o| o.status.success());
    let name = name.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned());
    let uid = || format!("uid {}", rustix::process::getuid().as_raw());
    let account = name.unwrap_or_else(uid) + &sudo.unwrap_or_default();
    account.chars().take(MAX_ACCOUNT).collect()
}

fn print(alert: &Alert) {
    let Alert { list, entry, comparison, state, .. } = alert;
    let vehicle = &entry.vehicle;
    let vehicle = [&vehicle.year, &vehicle.make, &vehicle.model, &vehicle.colour];
    let vehicle: Vec<&str> = vehicle.into_iter().flatten().map(String::as_str).collect();
    println!(
        "{} version {} ({:?}): {} {} {}, entry {}, {} look-alikes, state {:?}: advisory, ask the database",
        list.name,
        list.version,
        list.freshness,
        comparison.listed_plate,
        entry.kind.as_deref().unwrap_or("entry"),
        vehicle.join(" "),
        entry.id,
        comparison.substitutions,
        state.verdict,
    );
}
