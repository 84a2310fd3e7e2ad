//! `milepost rekey`: wraps the data keys with another key-encryption key.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use crate::{
    config::{Config, Sealing, SealingKey},
    sealing::{Kek, Keyring, PoleClock, Protection, erase},
};

/// Wrap the data keys with another key: from a key file to a TPM credential, or to a new one
#[derive(Debug, Args)]
#[command(after_long_help = "\
Stop the agent, rekey, change [sealing] in the configuration, start the agent. Nothing is sealed anew;
cut off in the middle, do it again. A credential must be laid out for this command as it is for the
agent's unit; both keys, where both are credentials.

Examples:
  milepost rekey --config /etc/milepost/milepost.toml --to-file /root/new.key
  systemd-run --pipe --wait \\
    -p LoadCredentialEncrypted=milepost-sealing:/etc/milepost/milepost-sealing.cred \\
    milepost rekey --config /etc/milepost/milepost.toml --to-credential milepost-sealing")]
pub struct RekeyArgs {
    /// The configuration file, with the old key
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    #[command(flatten)]
    to: To,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct To {
    /// The new key: a systemd credential
    #[arg(long, value_name = "NAME")]
    to_credential: Option<String>,
    /// The new key: a file, made where it does not exist
    #[arg(long, value_name = "FILE")]
    to_file: Option<PathBuf>,
}

/// Rewraps. Exit code 1 where it could not be finished.
#[must_use]
pub fn run(args: &RekeyArgs) -> ExitCode {
    match try_run(args) {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("milepost rekey: {error}");
            ExitCode::FAILURE
        }
    }
}

fn try_run(args: &RekeyArgs) -> Result<String, String> {
    let config = Config::load(&args.config).map_err(|e| e.to_string())?;
    let key = match (&args.to.to_credential, &args.to.to_file) {
        (Some(name), _) => SealingKey::Credential(name.clone()),
        (None, Some(path)) => {
            SealingKey::File(std::path::absolute(path).map_err(|e| e.to_string())?)
        }
        (None, None) => return Err("name the new key".into()),
    };
    if key == config.sealing.key {
        return Err("the new key is the one that the configuration names".into());
    }
    let _lock = erase::lock(&config.outbox.directory).map_err(|e| e.to_string())?;
    let folder = config.sealing_folder();
    let clock = PoleClock::open(&folder).map_err(|e| e.to_string())?;
    let old = Kek::load(&config.sealing, false).map_err(|e| e.to_string())?;
    let new = Kek::load(&Sealing { key: key.clone() }, true).map_err(|e| e.to_string())?;
    let ring = Keyring::open_with(old, &folder, std::sync::Arc::new(clock));
    let rewrapped = ring.and_then(|ring| ring.rewrap(&new)).map_err(|e| e.to_string())?;
    let setting = match &key {
        SealingKey::Credential(name) => format!("key = \"credential:{name}\""),
        SealingKey::File(path) => format!("key_file = \"{}\"", path.display()),
    };
    let mut said = format!(
        "{rewrapped} data keys open with the new key; now write under [sealing]: {setting}"
    );
    if let Protection::KeyFile(path) = Protection::from(&config.sealing) {
        said += &format!("\nthen destroy the old key file: shred -u {}", path.display());
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::sealing::fixtures::Pole;

    fn rekey(pole: &Pole, file: &str) -> Result<String, String> {
        let to_file = Some(pole.folder.path().join(file));
        try_run(&RekeyArgs { config: pole.file(), to: To { to_credential: None, to_file } })
    }

    #[test]
    fn what_was_sealed_opens_with_the_new_key_alone() {
        let pole = Pole::new();
        let sealed = pole.ring().unwrap().seal(b"a", b"x").unwrap();
        let said = rekey(&pole, "new.key").unwrap();
        assert!(said.contains("key_file = ") && said.contains("shred"), "{said}");
        assert!(pole.ring().is_err(), "the old key opens nothing");
        let settings = fs::read_to_string(pole.file()).unwrap();
        fs::write(pole.file(), settings + "[sealing]\nkey_file = \"new.key\"\n").unwrap();
        let config = Config::load(&pole.file()).unwrap();
        let ring = Keyring::open(&config.sealing, &config.sealing_folder()).unwrap();
        assert_eq!(ring.unseal(b"a", &sealed).unwrap(), b"x");
    }

    #[test]
    fn it_is_refused_while_an_agent_runs_and_to_the_same_key() {
        let pole = Pole::new();
        pole.ring().unwrap();
        assert!(rekey(&pole, "outbox/sealing.key").unwrap_err().contains("the one that"));
        let _lock = erase::lock(&pole.outbox()).unwrap();
        assert!(rekey(&pole, "new.key").unwrap_err().contains("stop the agent"));
    }
}
