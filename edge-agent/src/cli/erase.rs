//! `milepost erase`: crypto-erase with a signed receipt.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use crate::{
    config::Config,
    identity::Identity,
    sealing::erase::{self, Order, RECEIPT_TYP, Receipt},
};

/// Longest reason, name or work order.
const MAX_TEXT_CHARS: usize = 500;

/// Make everything that the pole keeps unreadable, and delete it
#[derive(Debug, Args)]
#[command(after_long_help = "\
Destroys every data key and the key file, then deletes records, photos and quarantined stores. It
can't be undone. Refused while the agent runs. The receipt is a JWS (ES256, x5c) signed with the
pole's own key (uplink.key_file); it says what could not be guaranteed.

Exit code 1 where nothing or not all was erased.

Examples:
  milepost erase --config /etc/milepost/milepost.toml --by 'R. Ortiz' --reason 'pole taken down' \\
    --work-order W-1234 --receipt pole-7.jws
  milepost erase --config pole.toml --by 'R. Ortiz' --reason 'sold' --yes --unsigned")]
pub struct EraseArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Why
    #[arg(long, value_name = "TEXT", value_parser = text)]
    pub reason: String,
    /// By whose order
    #[arg(long, value_name = "NAME", value_parser = text)]
    pub by: String,
    /// The work order's or case's number
    #[arg(long, value_name = "TEXT", value_parser = text)]
    pub work_order: Option<String>,
    /// Where the signed receipt goes; a new file. Without it, to standard output
    #[arg(long, value_name = "FILE")]
    pub receipt: Option<PathBuf>,
    /// Without asking
    #[arg(long)]
    pub yes: bool,
    /// Where the pole's own key can't be used: a receipt in JSON, without a signature
    #[arg(long)]
    pub unsigned: bool,
}

fn text(value: &str) -> Result<String, String> {
    let length = value.trim().chars().count();
    if length == 0 || length > MAX_TEXT_CHARS || value.chars().any(char::is_control) {
        return Err(format!("write 1 to {MAX_TEXT_CHARS} characters on one line"));
    }
    Ok(value.trim().into())
}

/// Erases and writes the receipt.
#[must_use]
pub fn run(args: &EraseArgs) -> ExitCode {
    match try_run(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("milepost erase: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all was erased; an error where nothing was.
fn try_run(args: &EraseArgs) -> Result<bool, String> {
    let config = Config::load(&args.config).map_err(|e| e.to_string())?;
    let identity = match Identity::load(&config.uplink.certificate_file, &config.uplink.key_file) {
        Ok(identity) => Some(identity),
        Err(_) if args.unsigned => None,
        Err(error) => {
            return Err(format!(
                "{error}; mend it, or say --unsigned for a receipt without a signature"
            ));
        }
    };
    let identity = identity.filter(|_| !args.unsigned);
    let lock = erase::lock(&config.outbox.directory).map_err(|e| e.to_string())?;
    if !args.yes && !confirmed(&config)? {
        return Err("not confirmed: nothing was erased".into());
    }
    // Before anything is gone: a receipt that can't be written is found out now.
    let file = args.receipt.as_deref().map(new_file).transpose()?;

    let order = Order {
        reason: args.reason.clone(),
        by: args.by.clone(),
        work_order: args.work_order.clone(),
    };
    let receipt = erase::erase(&config, &order, &lock);
    let signed = sign(&receipt, identity.as_ref());
    let written = match (file, &args.receipt) {
        (Some(mut file), Some(path)) => {
            let written = writeln!(file, "{signed}").and_then(|()| file.sync_all());
            written.map_err(|e| format!("{}: {e}", path.display()))
        }
        _ => writeln!(io::stdout(), "{signed}").map_err(|e| e.to_string()),
    };
    if let Err(error) = written {
        // The only copy: said where it can still be seen.
        eprintln!("milepost erase: the receipt could not be written ({error}); it is\n{signed}");
    }
    say(&receipt);
    Ok(receipt.is_complete())
}

fn new_file(path: &Path) -> Result<File, String> {
    let mut options = File::options();
    let opened = options.write(true).create_new(true).mode(0o600).open(path);
    opened.map_err(|e| format!("--receipt {}: {e}: nothing was erased", path.display()))
}

fn sign(receipt: &Receipt, identity: Option<&Identity>) -> String {
    let plain = || serde_json::to_string(receipt).unwrap_or_default();
    match identity.map(|identity| identity.sign_jws(RECEIPT_TYP, receipt)) {
        Some(Ok(token)) => token,
        Some(Err(error)) => {
            eprintln!("milepost erase: the receipt is not signed: {error}");
            plain()
        }
        None => plain(),
    }
}

/// What was done, for the person at the terminal; the receipt itself goes to standard output.
fn say(receipt: &Receipt) {
    eprintln!(
        "erased {}: {} keys destroyed, {} photos ({} bytes) and {} store files ({} bytes) deleted; {}",
        receipt.source,
        receipt.keys_destroyed.len(),
        receipt.photos,
        receipt.photo_bytes,
        receipt.store_files,
        receipt.store_bytes,
        receipt.key_encryption_key,
    );
    for left in &receipt.left {
        eprintln!("left, none of ours: {left}");
    }
    for note in &receipt.not_guaranteed {
        eprintln!("not guaranteed: {note}");
    }
    for failed in &receipt.failed {
        eprintln!("NOT ERASED: {failed}");
    }
}

fn confirmed(config: &Config) -> Result<bool, String> {
    if !io::stdin().is_terminal() {
        return Err("say --yes where nobody can be asked: nothing was erased".into());
    }
    let site = &config.site.site;
    eprint!(
        "This destroys everything in {}. Write the site's name ({site}) to go on: ",
        config.outbox.directory.display()
    );
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(|e| e.to_string())?;
    Ok(answer.trim() == site)
}
