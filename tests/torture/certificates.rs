//! Certificates that are wrong: refused and named while they are, and forgotten soon after they are
//! mended, without a restart. `tests/certificates.rs` looks closer; here they stand in the table.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use harness::{
    broker::{Broker, pki},
    pole::{Pole, pole},
};
use milepost::{
    config,
    health::{Component, Status},
    uplink::cause::Cause,
};

use crate::{
    context::{Context, RowName},
    table::Row,
};

/// Connected again so soon after mending.
const LIMIT: Duration = Duration::from_secs(60);
/// Named so soon.
const NAMED: Duration = Duration::from_secs(60);
/// How often the pole's word is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// A wrong certificate and what the pole must say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Expired,
    WrongHost,
    WrongAuthority,
    NoClientCertificate,
}

const CASES: [Case; 4] =
    [Case::Expired, Case::WrongHost, Case::WrongAuthority, Case::NoClientCertificate];

impl Case {
    fn words(self) -> String {
        match self {
            Self::Expired => "the broker's certificate ended".into(),
            Self::WrongHost => Cause::WrongName.to_string(),
            Self::WrongAuthority => Cause::UnknownAuthority.to_string(),
            Self::NoClientCertificate => "refuses our client certificate".into(),
        }
    }
}

/// The row.
pub fn row(context: &Context) -> Row {
    let mut row = Row::new(RowName::Certificates.fault());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
    let mut worst = Duration::ZERO;
    for (unit, _) in context.units(RowName::Certificates, 1) {
        let case = CASES[unit as usize % CASES.len()];
        let folder = context.folder(RowName::Certificates, &unit.to_string());
        row.runs += 1;
        let done = one(&folder, case, &runtime);
        let kept = context.close(&folder, done.is_ok());
        match done {
            Ok(time) => {
                worst = worst.max(time);
                row.held.push(format!("{case:?} named"));
            }
            Err(why) => {
                let again = context.again(RowName::Certificates, unit);
                row.fail(format!("{case:?}: {why}; {kept}; {again}"));
            }
        }
    }
    row.worst = vec![format!("connected {:.1} s after mending", worst.as_secs_f64())];
    row
}

fn one(folder: &Path, case: Case, runtime: &tokio::runtime::Runtime) -> Result<Duration, String> {
    let mut broker = Broker::start(folder, "");
    let (brokers, foreign, own) =
        (folder.join("pki"), folder.join("foreign"), folder.join("pole-pki"));
    pki(&foreign);
    fs::create_dir_all(&own).map_err(|e| e.to_string())?;
    let names = ["ca.crt", "pole.crt", "pole.key"];
    let copy = |from: &Path, names: &[&str]| {
        names.iter().try_for_each(|n| fs::copy(from.join(n), own.join(n)).map(drop))
    };
    copy(&brokers, &names).map_err(|e| e.to_string())?;
    let good = fs::read(brokers.join("broker.crt")).map_err(|e| e.to_string())?;
    match case {
        Case::Expired => issue(&brokers, "localhost", -1)?,
        Case::WrongHost => issue(&brokers, "elsewhere.example", 5)?,
        Case::WrongAuthority => copy(&foreign, &["ca.crt"]).map_err(|e| e.to_string())?,
        Case::NoClientCertificate => {
            copy(&foreign, &["pole.crt", "pole.key"]).map_err(|e| e.to_string())?;
        }
    }
    broker.restart();
    let settings = config::Uplink {
        ca_file: own.join("ca.crt"),
        certificate_file: own.join("pole.crt"),
        key_file: own.join("pole.key"),
        ..broker.uplink()
    };
    let pole = pole(folder, settings);
    let named = until(&pole, NAMED, |p| p.says(&case.words()));
    let word = pole.health.checks()[&Component::Uplink].clone();
    if !named || word.status != Status::Fail {
        return Err(format!("not named within {} s: {}", NAMED.as_secs(), word.output));
    }
    if pole.health.metrics.uplink_connections.get() > 0 {
        return Err("connected all the same".into());
    }
    fs::write(brokers.join("broker.crt"), good).map_err(|e| e.to_string())?;
    copy(&brokers, &names).map_err(|e| e.to_string())?;
    if matches!(case, Case::Expired | Case::WrongHost) {
        broker.restart();
    }
    let mended = Instant::now();
    let back = until(&pole, LIMIT, |p| p.health.metrics.uplink_connected.get() == 1);
    let word = pole.health.checks()[&Component::Uplink].output.clone();
    runtime.block_on(pole.stop());
    if back { Ok(mended.elapsed()) } else { Err(format!("not back after mending: {word}")) }
}

fn until(pole: &Pole, limit: Duration, holds: impl Fn(&Pole) -> bool) -> bool {
    let start = Instant::now();
    while !holds(pole) {
        if start.elapsed() > limit {
            return false;
        }
        std::thread::sleep(LOOK);
    }
    true
}

/// A certificate for the broker's key, for `host`, that ends in so many days.
fn issue(pki: &Path, host: &str, days: i32) -> Result<(), String> {
    let file = |name: &str| -> PathBuf { pki.join(name) };
    let text = format!("subjectAltName=DNS:{host}\nextendedKeyUsage=serverAuth\n");
    fs::write(file("wrong.ext"), text).map_err(|e| e.to_string())?;
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl").current_dir(pki).args(arguments).output();
        let output = output.map_err(|e| format!("openssl: {e}"))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(said) }
    };
    openssl(&["req", "-new", "-key", "broker.key", "-subj", "/CN=broker", "-out", "wrong.csr"])?;
    let days = days.to_string();
    openssl(&[
        "x509",
        "-req",
        "-in",
        "wrong.csr",
        "-CA",
        "ca.crt",
        "-CAkey",
        "ca.key",
        "-set_serial",
        "77",
        "-days",
        &days,
        "-sha256",
        "-extfile",
        "wrong.ext",
        "-out",
        "broker.crt",
    ])
}
