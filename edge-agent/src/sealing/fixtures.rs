//! A pole's configuration in a folder of its own, for tests.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Keyring, SealingError};
use crate::config::Config;

const SETTINGS: &str = r#"[site]
agency = "demo-pd"
site = "main-st"
camera = "north"
latitude_deg = 38.5
longitude_deg = -121
heading_deg = 270
[capture]
source = "test-pattern"
[vision]
models_dir = "models"
[outbox]
directory = "outbox"
[uplink]
broker = "localhost:8883"
ca_file = "pki/ca.crt"
certificate_file = "pki/pole.crt"
key_file = "pki/pole.key"
"#;

/// A folder with `pole.toml`; the key file is the default one.
pub(crate) struct Pole {
    pub folder: tempfile::TempDir,
    pub config: Config,
}

impl Pole {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pole.toml");
        fs::write(&file, SETTINGS).unwrap();
        Self { config: Config::load(&file).unwrap(), folder }
    }

    /// With the demo's certificates in `pki/`.
    pub(crate) fn with_certificates() -> Self {
        let pole = Self::new();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/pki.sh");
        let made = Command::new(script).arg(pole.folder.path().join("pki")).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        pole
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("pole.toml")
    }

    pub(crate) fn outbox(&self) -> PathBuf {
        self.config.outbox.directory.clone()
    }

    pub(crate) fn ring(&self) -> Result<Keyring, SealingError> {
        Keyring::open(&self.config.sealing, &self.config.sealing_folder())
    }
}
