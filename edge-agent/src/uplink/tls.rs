//! TLS 1.2 and 1.3 with a client certificate: rustls on aws-lc, the broker's name checked against
//! its certificate, and its certificate against the revocation lists where there are any.
//!
//! Revocation fails closed: where `crl_file` is named, each certificate of the broker's chain needs
//! a list of its authority that it is not on, and a list that is missing, unreadable or past its
//! end refuses the connection.
//! Sessions are not resumed, so each connection is checked in full.
//!
//! With the feature `fips` the cryptography is aws-lc's FIPS module, and anything else is refused.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    client::{Resumption, WebPkiServerVerifier},
    crypto::CryptoProvider,
    pki_types::{
        CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    sign::CertifiedKey,
};
use sha2::{Digest as _, Sha256};

use super::{
    validity::Validity,
    witness::{WatchedIdentity, WatchedVerifier, Witness},
};

/// Larger files are refused; a list of revoked certificates is the largest.
pub const MAX_FILE_BYTES: u64 = 4 << 20;

const NO_CERTIFICATE: &str = "holds no certificate in PEM";
const NO_LIST: &str = "holds no revocation list in PEM or DER";

/// Which file could not be used, and why.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It can't be read or does not hold what it should.
    #[error("{what} {path}: {why}")]
    File {
        /// The configuration's key.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Certificate and key don't belong together, or can't be used.
    #[error(
        "certificate_file {certificate} with key_file {key}: {why}: use the key that this certificate was made for"
    )]
    Identity {
        /// Certificate.
        certificate: PathBuf,
        /// Key.
        key: PathBuf,
        /// What rustls said.
        why: String,
    },
    /// The cryptography can't do TLS 1.2 and 1.3.
    #[error("TLS is not available: {0}")]
    Provider(String),
    /// Built for the FIPS module, which is not what runs.
    #[error(
        "this build promises the FIPS module and its self-test does not confirm it: install the agent again"
    )]
    NotFips,
}

/// The files of one end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// PEM of the authorities of which one signed the broker's certificate.
    pub ca: PathBuf,
    /// PEM, own certificate and its chain.
    pub certificate: PathBuf,
    /// PEM, own key.
    pub key: PathBuf,
    /// PEM or DER, the authorities' lists of revoked certificates.
    pub crl: Option<PathBuf>,
}

/// Of files' bytes; other bytes, other digest.
pub type Digest = [u8; 32];

/// Whom we believe: the authorities, and what they took back.
#[derive(Debug)]
pub struct Trust {
    roots: Arc<RootCertStore>,
    lists: Vec<CertificateRevocationListDer<'static>>,
    crl_file: Option<PathBuf>,
    /// Of the authority that holds longest.
    pub authority: Validity,
    /// Of the revocation list that ends first.
    pub list: Option<Validity>,
    /// Of `ca_file` and `crl_file`.
    pub digest: Digest,
}

impl Trust {
    /// From the files as they are now.
    ///
    /// # Errors
    /// The first file that can't be used, by its key in the configuration.
    pub fn read(files: &Files) -> Result<Self, TlsError> {
        let ca = read("ca_file", &files.ca)?;
        let (roots, authority) = roots(&files.ca, &ca)?;
        let crl_file = files.crl.clone();
        let crl = crl_file.as_deref().map(|path| read("crl_file", path)).transpose()?;
        let (lists, list) = match (&crl_file, &crl) {
            (Some(path), Some(bytes)) => lists(path, bytes).map(|(l, v)| (l, Some(v)))?,
            _ => (Vec::new(), None),
        };
        let digest = digest(&[&ca, crl.as_deref().unwrap_or_default()]);
        Ok(Self { roots: Arc::new(roots), lists, crl_file, authority, list, digest })
    }
}

/// Who we are: a certificate with its chain and key.
#[derive(Debug)]
pub struct Identity {
    key: Arc<CertifiedKey>,
    /// While every certificate of the chain holds.
    pub validity: Validity,
    /// Of `certificate_file` and `key_file`.
    pub digest: Digest,
}

impl Identity {
    /// From the files as they are now.
    ///
    /// # Errors
    /// The first file that can't be used, or that the two don't belong together.
    pub fn read(files: &Files) -> Result<Self, TlsError> {
        let none = || file("certificate_file", &files.certificate, NO_CERTIFICATE);
        let certificate = read("certificate_file", &files.certificate)?;
        let secret = read("key_file", &files.key)?;
        let (chain, ends): (Vec<_>, Vec<_>) =
            certificates("certificate_file", &files.certificate, &certificate)?.into_iter().unzip();
        let validity = ends.into_iter().reduce(Validity::and).ok_or_else(none)?;
        let key =
            PrivateKeyDer::from_pem_slice(&secret).map_err(|e| file("key_file", &files.key, e))?;
        let key =
            CertifiedKey::from_der(chain, key, &provider()).map_err(|e| TlsError::Identity {
                certificate: files.certificate.clone(),
                key: files.key.clone(),
                why: e.to_string(),
            })?;
        Ok(Self { key: Arc::new(key), validity, digest: digest(&[&certificate, &secret]) })
    }
}

/// For rustls, and a witness of each handshake made with it.
///
/// # Errors
/// Where the lists can't be used, or the cryptography is not what this build promises.
pub fn connector(
    trust: &Trust,
    identity: &Identity,
) -> Result<(ClientConfig, Arc<Witness>), TlsError> {
    // Named, not the process's default: no other part can change what this connection uses.
    let provider = Arc::new(provider());
    let witness = Arc::<Witness>::default();
    let inner = WebPkiServerVerifier::builder_with_provider(trust.roots.clone(), provider.clone())
        .with_crls(trust.lists.clone())
        .enforce_revocation_expiration()
        .build()
        .map_err(|e| match &trust.crl_file {
            Some(path) => file("crl_file", path, e),
            None => TlsError::Provider(e.to_string()),
        })?;
    let verifier = WatchedVerifier { inner, witness: witness.clone() };
    let resolver = WatchedIdentity { key: identity.key.clone(), witness: witness.clone() };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| TlsError::Provider(e.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(resolver));
    config.resumption = Resumption::disabled();
    if cfg!(feature = "fips") && !config.fips() {
        return Err(TlsError::NotFips);
    }
    Ok((config, witness))
}

/// What a connection needs, from the files as they are now.
///
/// # Errors
/// The first file that can't be used, by its key in the configuration.
pub fn client_config(files: &Files) -> Result<ClientConfig, TlsError> {
    let (config, _) = connector(&Trust::read(files)?, &Identity::read(files)?)?;
    Ok(config)
}

/// Of the list in a `crl_file` that ends first.
///
/// # Errors
/// Where it can't be read or holds none.
pub fn read_lists(path: &Path) -> Result<Validity, TlsError> {
    lists(path, &read("crl_file", path)?).map(|(_, first)| first)
}

/// The cryptography of every TLS connection.
#[must_use]
pub fn provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

/// Which cryptography is in use, for the status page.
#[must_use]
pub fn in_use() -> &'static str {
    if provider().fips() { "FIPS module (aws-lc)" } else { "aws-lc (not the FIPS build)" }
}

fn file(what: &'static str, path: &Path, why: impl ToString) -> TlsError {
    TlsError::File { what, path: path.into(), why: why.to_string() }
}

fn digest(parts: &[&[u8]]) -> Digest {
    let mut hash = Sha256::new();
    for bytes in parts {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    }
    hash.finalize().into()
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|f| f.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .and_then(|_| match bytes.len() as u64 > MAX_FILE_BYTES {
            true => Err(io::Error::other(format!("it is larger than {MAX_FILE_BYTES} bytes"))),
            false => Ok(bytes),
        })
        .map_err(|e| file(what, path, e))
}

fn certificates(
    what: &'static str,
    path: &Path,
    bytes: &[u8],
) -> Result<Vec<(CertificateDer<'static>, Validity)>, TlsError> {
    let found = CertificateDer::pem_slice_iter(bytes)
        .map(|der| {
            let der = der.map_err(|e| file(what, path, e))?;
            let validity = Validity::of_certificate(&der).map_err(|e| file(what, path, e))?;
            Ok((der, validity))
        })
        .collect::<Result<Vec<_>, _>>()?;
    if found.is_empty() {
        return Err(file(what, path, NO_CERTIFICATE));
    }
    Ok(found)
}

fn roots(path: &Path, bytes: &[u8]) -> Result<(RootCertStore, Validity), TlsError> {
    let mut roots = RootCertStore::empty();
    let mut longest: Option<Validity> = None;
    for (certificate, validity) in certificates("ca_file", path, bytes)? {
        roots.add(certificate).map_err(|e| file("ca_file", path, e))?;
        longest = Some(longest.map_or(validity, |l| l.or(validity)));
    }
    let longest = longest.ok_or_else(|| file("ca_file", path, NO_CERTIFICATE))?;
    Ok((roots, longest))
}

fn lists(
    path: &Path,
    bytes: &[u8],
) -> Result<(Vec<CertificateRevocationListDer<'static>>, Validity), TlsError> {
    let refuse = |why: String| file("crl_file", path, why);
    let mut lists = CertificateRevocationListDer::pem_slice_iter(bytes)
        .collect::<Result<Vec<_>, pem::Error>>()
        .map_err(|e| refuse(e.to_string()))?;
    if lists.is_empty() {
        lists.push(bytes.to_vec().into());
    }
    let mut first: Option<Validity> = None;
    for list in &lists {
        let validity = Validity::of_list(list).map_err(|_| refuse(NO_LIST.into()))?;
        first =
            Some(first.map_or(validity, |f| if validity.until < f.until { validity } else { f }));
    }
    let first = first.ok_or_else(|| refuse(NO_LIST.into()))?;
    Ok((lists, first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fips_build_runs_the_fips_module_and_the_status_page_tells_which_runs() {
        assert_eq!(provider().fips(), cfg!(feature = "fips"));
        assert_eq!(in_use().starts_with("FIPS module"), cfg!(feature = "fips"));
    }

    #[test]
    fn other_bytes_or_the_same_in_other_files_are_another_digest() {
        let all = [digest(&[b"ab", b""]), digest(&[b"a", b"b"]), digest(&[b"", b"ab"])];
        assert!(all[0] != all[1] && all[1] != all[2] && all[0] != all[2]);
        assert_eq!(digest(&[b"ab", b""]), all[0]);
    }
}
