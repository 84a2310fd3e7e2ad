//! Alert lists of a test, signed as their authority does.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use jiff::{SignedDuration, Timestamp};
use milepost::identity::Identity;
use milepost_wire::ListVersion;

use crate::{
    agent::{clip, repository},
    broker::Broker,
};

/// Changes to the default configuration for a pole that believes a broker's authority for lists.
#[derive(Debug)]
pub struct Believing {
    given: String,
    authority: String,
    clip: String,
}

impl Believing {
    /// Of this broker.
    ///
    /// # Panics
    /// Where the default configuration can't be read.
    #[must_use]
    pub fn of(broker: &Broker) -> Self {
        let file = repository().join("edge-agent/default.toml");
        let file = fs::read_to_string(file).expect("the default configuration");
        let given = file.lines().find(|line| line.starts_with("authority_file"));
        let authority = broker.files("lists-ca").certificate;
        Self {
            given: given.expect("an authority").to_owned(),
            authority: format!("authority_file = \"{}\"", authority.display()),
            clip: format!("path = \"{}\"\n", clip().display()),
        }
    }

    /// The authority alone.
    #[must_use]
    pub fn change(&self) -> (&str, &str) {
        (&self.given, &self.authority)
    }

    /// With a pattern to look at, which has no plates: no vehicle passes before the lists are in force.
    #[must_use]
    pub fn waiting(&self) -> [(&str, &str); 3] {
        let pattern = ("source = \"file\"", "source = \"test-pattern\"");
        [self.change(), pattern, (&self.clip, "")]
    }

    /// With the demo clip, as fast as it goes.
    #[must_use]
    pub fn road(&self) -> [(&str, &str); 2] {
        [self.change(), ("# realtime = true", "realtime = false")]
    }
}

/// Signs version 1 of a list in CSV into `folder/lists`, which comes back; its source is 30 hours old.
/// `arguments`: more of `milepost list sign`.
///
/// # Panics
/// Where it can't be signed.
pub fn sign(folder: &Path, broker: &Broker, name: &str, csv: &str, arguments: &[&str]) -> PathBuf {
    let (list, lists) = (folder.join(format!("{name}.csv")), folder.join("lists"));
    fs::write(&list, csv).expect("written");
    let signer = broker.files("lists");
    let source_at = (Timestamp::now() - SignedDuration::from_hours(30)).to_string();
    let signed = Command::new(crate::milepost())
        .args([Path::new("list"), Path::new("sign"), &list])
        .args(["--format", "csv", "--list", name, "--number", "1", "--source-at", &source_at])
        .args(["--agency", "DOJ", "--purpose", "stolen vehicles"])
        .args([Path::new("--certificate"), &signer.certificate, Path::new("--key"), &signer.key])
        .args([Path::new("--out"), &lists])
        .args(arguments)
        .output()
        .expect("milepost runs");
    assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
    lists
}

/// Signs a list anew that [`sign`] signed, with something else said of it: what `milepost list sign` would
/// refuse, too.
///
/// # Panics
/// Where it was not signed before.
pub fn sign_anew(lists: &Path, broker: &Broker, name: &str, change: impl Fn(&mut ListVersion)) {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let file = lists.join(format!("{name}.jws"));
    let jws = fs::read_to_string(&file).expect("it was signed");
    let payload = jws.split('.').nth(1).expect("a JWS");
    let payload = URL_SAFE_NO_PAD.decode(payload).expect("base64url");
    let mut version: ListVersion = serde_json::from_slice(&payload).expect("a version");
    change(&mut version);
    let signer = broker.files("lists");
    let identity = Identity::load(&signer.certificate, &signer.key).expect("the signer's key");
    let jws = identity.sign_jws(ListVersion::JWS_TYPE, &version).expect("signed");
    fs::write(file, jws).expect("written");
}
