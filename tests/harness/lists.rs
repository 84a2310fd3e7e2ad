//! Alert lists of a test, signed as their authority does.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use jiff::{SignedDuration, Timestamp};
use milepost::identity::Identity;
use milepost_wire::ListVersion;

use crate::broker::Broker;

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
