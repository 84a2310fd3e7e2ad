//! TLS with a client certificate: rustls on aws-lc, the broker's name checked against its
//! certificate. Files are read anew for each connection, so a renewed certificate needs no restart.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

/// Which file could not be used, and why.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It can't be read or holds no PEM of this kind.
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
}

/// The files of one end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// PEM of the authority that signed the broker's certificate.
    pub ca: PathBuf,
    /// PEM, own certificate and its chain.
    pub certificate: PathBuf,
    /// PEM, own key.
    pub key: PathBuf,
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let file = |why: String| TlsError::File { what, path: path.into(), why };
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| file(e.to_string()))?;
    if certificates.is_empty() {
        return Err(file("holds no certificate in PEM".into()));
    }
    Ok(certificates)
}

/// What a connection needs, from the files as they are now.
///
/// # Errors
/// The first file that can't be used, by its key in the configuration.
pub fn client_config(files: &Files) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("ca_file", &files.ca)? {
        roots.add(certificate).map_err(|e| TlsError::File {
            what: "ca_file",
            path: files.ca.clone(),
            why: e.to_string(),
        })?;
    }
    let chain = certificates("certificate_file", &files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| TlsError::File {
        what: "key_file",
        path: files.key.clone(),
        why: e.to_string(),
    })?;
    // Named, not the process's default: no other part can change what this connection uses.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| TlsError::Provider(e.to_string()))?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|e| TlsError::Identity {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            why: e.to_string(),
        })?;
    Ok(config)
}
