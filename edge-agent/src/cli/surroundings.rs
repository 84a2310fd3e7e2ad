//! What a good configuration names, looked at without starting anything: files, folders, devices,
//! the board.
//!
//! Touches no camera or lamp and sends nothing. Where it must know whether a folder can be written to, it
//! writes an empty file there and removes it. Fails: never; what cannot be seen is a problem in the
//! list.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use jiff::Timestamp;
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

use crate::{
    board,
    config::{Config, Places, Problem, SealingKey},
    uplink::{tls, validity::Validity},
    vision::session::{LIBRARY_NAME, LIBRARY_VARIABLE, default_library},
};

/// Larger certificate and key files are refused.
const MAX_PEM_BYTES: u64 = 1 << 20;

struct Look<'a> {
    places: &'a Places,
    problems: Vec<Problem>,
}

/// Everything that is wrong with what the configuration names.
pub(super) fn look_at(config: &Config, places: &Places) -> Vec<Problem> {
    let mut look = Look { places, problems: Vec::new() };
    for (key, message) in crate::capture::check(&config.capture) {
        look.note(key, message, "");
    }
    look.models(&config.vision.models_dir);
    look.onnxruntime(config.vision.onnxruntime_library.as_deref());
    look.folder("outbox.directory", &config.outbox.directory);
    if let SealingKey::File(path) = &config.sealing.key {
        look.private("sealing.key_file", path);
    }
    let uplink = &config.uplink;
    look.certificates("uplink.ca_file", &uplink.ca_file);
    look.identity(&uplink.certificate_file, &uplink.key_file);
    if let Some(lists) = &uplink.crl_file {
        look.lists(lists);
    }
    look.listen(config.local.listen);
    for message in board::check(&config.lamp) {
        look.note("lamp.board", message, "");
    }
    look.problems
}

impl Look<'_> {
    fn note(&mut self, key: &str, message: impl Into<String>, remedy: impl Into<String>) {
        self.problems.push(Problem {
            place: self.places.of(key),
            key: key.into(),
            message: message.into(),
            remedy: remedy.into(),
        });
    }

    /// The bytes of a file, or a problem.
    fn read(&mut self, key: &str, path: &Path, max: u64) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let read =
            File::open(path).and_then(|f| f.take(max + 1).read_to_end(&mut bytes)).and_then(|_| {
                match bytes.len() as u64 > max {
                    true => Err(io::Error::other(format!("it is larger than {max} bytes"))),
                    false => Ok(()),
                }
            });
        match read {
            Ok(()) => Some(bytes),
            Err(e) => {
                self.note(
                    key,
                    format!("{} cannot be read: {e}", path.display()),
                    "put the file there, readable by the agent's user, or name another",
                );
                None
            }
        }
    }

    /// A secret must be its user's alone.
    fn private(&mut self, key: &str, path: &Path) {
        let mode = fs::metadata(path).map(|m| m.permissions().mode() & 0o777);
        if let Ok(mode) = mode
            && mode & 0o077 != 0
        {
            self.note(
                key,
                format!("{} can be used by others (mode {mode:04o})", path.display()),
                format!("chmod 600 {}", path.display()),
            );
        }
    }

    fn models(&mut self, folder: &Path) {
        let manifest = folder.join("manifest.toml");
        match fs::read_to_string(&manifest) {
            Ok(text) => {
                if let Err(e) = toml_span::parse(&text) {
                    self.note(
                        "vision.models_dir",
                        format!("{} is no valid TOML: {e}", manifest.display()),
                        "install the models again",
                    );
                }
            }
            Err(e) => self.note(
                "vision.models_dir",
                format!("{} cannot be read: {e}", manifest.display()),
                "name the folder that the models were installed to",
            ),
        }
    }

    fn onnxruntime(&mut self, named: Option<&Path>) {
        let path = named.map_or_else(default_library, Path::to_owned);
        if path == Path::new(LIBRARY_NAME) {
            if !system_has_onnxruntime() {
                self.note(
                    "vision.onnxruntime_library",
                    format!("{LIBRARY_NAME} is not installed on this machine"),
                    format!("name it here or in the environment variable {LIBRARY_VARIABLE}"),
                );
            }
            return;
        }
        let whence = if named.is_some() { "" } else { " (found without being named here)" };
        let mut magic = [0; 4];
        let fault = match File::open(&path).and_then(|mut f| f.read_exact(&mut magic)) {
            Ok(()) if &magic == b"\x7fELF" => return,
            Ok(()) => "is no shared library".into(),
            Err(e) => format!("cannot be read: {e}"),
        };
        self.note(
            "vision.onnxruntime_library",
            format!("{}{whence} {fault}", path.display()),
            format!("name the {LIBRARY_NAME} of the onnxruntime package"),
        );
    }

    /// A folder that is there and can be written to, or can be made.
    fn folder(&mut self, key: &str, folder: &Path) {
        let there = folder.ancestors().find(|a| a.exists());
        let fault = match there {
            Some(there) if !there.is_dir() => Some(format!("{} is no folder", there.display())),
            Some(there) => try_to_write(there)
                .err()
                .map(|e| format!("{} cannot be written to: {e}", there.display())),
            None => Some(format!("{} cannot be made", folder.display())),
        };
        if let Some(fault) = fault {
            self.note(
                key,
                fault,
                "make it, owned by the agent's user: install -d -m 700 -o USER …",
            );
        }
    }

    fn certificates(&mut self, key: &str, path: &Path) -> Option<Vec<CertificateDer<'static>>> {
        let bytes = self.read(key, path, MAX_PEM_BYTES)?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        match found {
            Ok(found) if !found.is_empty() => Some(found),
            _ => {
                self.note(
                    key,
                    format!("{} holds no certificate in PEM", path.display()),
                    "it must hold -----BEGIN CERTIFICATE----- … -----END CERTIFICATE-----",
                );
                None
            }
        }
    }

    /// The pole's own certificate and key, and that they belong together.
    fn identity(&mut self, certificate_file: &Path, key_file: &Path) {
        self.private("uplink.key_file", key_file);
        let chain = self.certificates("uplink.certificate_file", certificate_file);
        self.in_time(chain.as_deref().unwrap_or_default());
        let Some(bytes) = self.read("uplink.key_file", key_file, MAX_PEM_BYTES) else { return };
        let Ok(key) = PrivateKeyDer::from_pem_slice(&bytes) else {
            self.note(
                "uplink.key_file",
                format!("{} holds no private key in PEM", key_file.display()),
                "it must hold -----BEGIN PRIVATE KEY-----, without a passphrase",
            );
            return;
        };
        let Some(chain) = chain else { return };
        if let Err(e) = CertifiedKey::from_der(chain, key, &tls::provider()) {
            self.note(
                "uplink.key_file",
                format!("{} does not go with the certificate: {e}", key_file.display()),
                "name the key that `uplink.certificate_file` was made for",
            );
        }
    }

    /// That every certificate of the chain holds now.
    fn in_time(&mut self, chain: &[CertificateDer<'_>]) {
        let now = Timestamp::now();
        for validity in chain.iter().filter_map(|der| Validity::of_certificate(der).ok()) {
            let (message, remedy) = if now > validity.until {
                (format!("the certificate ended at {}", validity.until), "have it renewed")
            } else if now < validity.from {
                let message = format!("the certificate does not hold before {}", validity.from);
                (message, "check this machine's clock, then the certificate")
            } else {
                continue;
            };
            self.note("uplink.certificate_file", message, remedy);
        }
    }

    fn lists(&mut self, path: &Path) {
        let remedy = "put the authority's latest list there, or leave the key out";
        match tls::read_lists(path) {
            Ok(validity) if Timestamp::now() > validity.until => {
                let message = format!("{} ended at {}", path.display(), validity.until);
                self.note("uplink.crl_file", message, remedy);
            }
            Ok(_) => {}
            Err(e) => self.note("uplink.crl_file", e.to_string(), remedy),
        }
    }

    fn listen(&mut self, address: std::net::SocketAddr) {
        match TcpListener::bind(address) {
            Ok(_) => {}
            // The agent itself may be running.
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => {}
            Err(e) => self.note(
                "local.listen",
                format!("{address} cannot be listened on: {e}"),
                "choose an address of this machine and a port of 1024 or above",
            ),
        }
    }
}

fn try_to_write(folder: &Path) -> io::Result<()> {
    let probe = folder.join(format!(".milepost-check-{}", std::process::id()));
    OpenOptions::new().write(true).create_new(true).open(&probe)?;
    fs::remove_file(probe)
}

/// Whether the dynamic linker would find the library: in its cache, or on `LD_LIBRARY_PATH`.
fn system_has_onnxruntime() -> bool {
    let cached = fs::read("/etc/ld.so.cache")
        .is_ok_and(|cache| cache.windows(LIBRARY_NAME.len()).any(|w| w == LIBRARY_NAME.as_bytes()));
    let folders = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    cached || std::env::split_paths(&folders).any(|f| f.join(LIBRARY_NAME).is_file())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::OpenOptionsExt as _;

    use super::*;

    const GOOD: &str = "[site]\nagency = \"a\"\nsite = \"b\"\ncamera = \"c\"\nlatitude_deg = 0\nlongitude_deg = 0\nheading_deg = 0\n[capture]\nsource = \"file\"\npath = \"clip\"\n[vision]\nmodels_dir = \"models\"\nonnxruntime_library = \"ort.so\"\n[outbox]\ndirectory = \"new/outbox\"\n[uplink]\nbroker = \"localhost:8883\"\nca_file = \"ca.pem\"\ncertificate_file = \"pole.pem\"\nkey_file = \"pole.key\"\n[local]\nlisten = \"127.0.0.1:0\"\n";

    fn keys(folder: &Path, text: &str) -> Vec<String> {
        let (config, places) = Config::parse_bytes(text.as_bytes(), folder).unwrap();
        look_at(&config, &places).into_iter().map(|p| p.key).collect()
    }

    #[test]
    fn everything_that_is_not_there_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let (config, places) = Config::parse_bytes(GOOD.as_bytes(), folder.path()).unwrap();
        let problems = look_at(&config, &places);
        let found: Vec<_> = problems.iter().map(|p| (p.place.line, p.key.as_str())).collect();
        let expected = [
            (10, "capture.path"),
            (12, "vision.models_dir"),
            (13, "vision.onnxruntime_library"),
            (18, "uplink.ca_file"),
            (19, "uplink.certificate_file"),
            (20, "uplink.key_file"),
        ];
        assert_eq!(found, expected);
        assert!(fs::read_dir(&folder).unwrap().next().is_none(), "nothing is left behind");
    }

    #[test]
    fn a_key_that_others_can_read_and_files_that_are_no_pem_are_named() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["ca.pem", "pole.pem", "pole.key", "clip", "ort.so"] {
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(0o644);
            io::Write::write_all(&mut options.open(folder.path().join(name)).unwrap(), b"\x7fELF")
                .unwrap();
        }
        fs::create_dir(folder.path().join("models")).unwrap();
        fs::write(folder.path().join("models/manifest.toml"), "").unwrap();
        fs::set_permissions(folder.path().join("pole.key"), fs::Permissions::from_mode(0o644))
            .unwrap();
        let found = keys(folder.path(), GOOD);
        assert_eq!(
            found,
            [
                "uplink.ca_file",
                "uplink.key_file", // its mode
                "uplink.certificate_file",
                "uplink.key_file", // no PEM
            ]
        );
    }

    #[test]
    fn a_certificate_and_a_revocation_list_that_do_not_hold_now_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        let mut put = |from: i32, until: i32| {
            params.not_before = rcgen::date_time_ymd(from, 1, 1);
            params.not_after = rcgen::date_time_ymd(until, 1, 1);
            fs::write(path("pole.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        };
        let text = GOOD.replace("[local]", "crl_file = \"list.pem\"\n[local]");
        let named = |key: &str| keys(folder.path(), &text).iter().any(|k| k == key);
        put(2000, 2100);
        assert!(!named("uplink.certificate_file") && named("uplink.crl_file"), "no list there");
        fs::write(path("list.pem"), "nothing").unwrap();
        assert!(named("uplink.crl_file"));
        for (from, until) in [(2000, 2001), (2100, 2101)] {
            put(from, until);
            assert!(named("uplink.certificate_file"), "{from} to {until}");
        }
    }

    #[test]
    fn a_folder_below_a_file_cannot_be_made() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("new"), "").unwrap();
        assert!(keys(folder.path(), GOOD).contains(&"outbox.directory".into()));
    }

    #[test]
    fn a_credentials_file_must_be_one_private_line() {
        let folder = tempfile::tempdir().unwrap();
        let text = GOOD.replace(
            "source = \"file\"\npath = \"clip\"",
            "source = \"rtsp\"\nurl = \"rtsp://192.0.2.1/\"\ncredentials_file = \"login\"",
        );
        let login = folder.path().join("login");
        for (content, mode, problems) in [
            ("u:p\n", 0o600, 0),
            ("u:p\n", 0o640, 1),
            ("nothing", 0o600, 1),
            ("a:b\nc:d", 0o600, 1),
        ] {
            fs::write(&login, content).unwrap();
            fs::set_permissions(&login, fs::Permissions::from_mode(mode)).unwrap();
            let found = keys(folder.path(), &text);
            let found = found.iter().filter(|k| *k == "capture.credentials_file").count();
            assert_eq!(found, problems, "{content:?} {mode:o}");
        }
    }
}
