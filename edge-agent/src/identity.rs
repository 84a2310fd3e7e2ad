//! The pole's own identity: its certificate and key, and what it signs with them.
//!
//! A signature is a JWS in compact form (RFC 7515), ES256, with the certificate's chain in `x5c`, so
//! that whoever trusts the agency's authority can check it with nothing else at hand. The key is the
//! one that the uplink's TLS uses.
//!
//! Invariants: the key is never in `Debug` output; what [`verify_jws`] gives was signed by the key of
//! a certificate that leads to one of the given roots. How it fails: by [`IdentityError`].

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject};
use serde::{Serialize, de::DeserializeOwned};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

/// Most certificates in a chain; longer ones are refused unread.
pub const MAX_CHAIN: usize = 8;
/// Largest token that is looked at.
pub const MAX_TOKEN_BYTES: usize = 4 << 20;
/// An uncompressed point of P-256: 4, x, y.
const POINT_BYTES: usize = 65;

/// Why something can't be signed or is not to be trusted.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file can't be used.
    #[error("{what} {path}: {why}")]
    File {
        /// The configuration's key.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What is wrong and what to do.
        why: String,
    },
    /// The key is not the certificate's.
    #[error(
        "key_file {key} does not belong to certificate_file {certificate}: use the key that this certificate was made for"
    )]
    Mismatch {
        /// Certificate.
        certificate: PathBuf,
        /// Key.
        key: PathBuf,
    },
    /// It could not be signed.
    #[error("could not be signed: {0}")]
    Sign(String),
    /// It is no token of this form.
    #[error("no signed token of the kind {wanted}: {why}")]
    Form {
        /// The kind asked for.
        wanted: String,
        /// What is wrong.
        why: String,
    },
    /// Its signer is not known here.
    #[error("the signer's certificate is not to be trusted: {0}")]
    Untrusted(String),
    /// It was changed after it was signed, or signed by another key.
    #[error("the signature does not fit: it was changed, or another key made it")]
    Forged,
}

/// The pole's certificate and key.
pub struct Identity {
    key: EncodingKey,
    chain: Vec<String>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity(chain of {})", self.chain.len())
    }
}

impl Identity {
    /// Reads `uplink.certificate_file` (PEM, own certificate first) and `uplink.key_file` (PEM,
    /// PKCS#8, EC P-256).
    ///
    /// # Errors
    /// [`IdentityError::File`], [`IdentityError::Mismatch`].
    pub fn load(certificate_file: &Path, key_file: &Path) -> Result<Self, IdentityError> {
        let chain = certificates("certificate_file", certificate_file)?;
        let failed =
            |why: String| IdentityError::File { what: "key_file", path: key_file.into(), why };
        let key = PrivateKeyDer::from_pem_file(key_file).map_err(|e| failed(e.to_string()))?;
        let PrivateKeyDer::Pkcs8(key) = key else {
            return Err(failed(
                "is not PKCS#8: convert it with `openssl pkcs8 -topk8 -nocrypt`".into(),
            ));
        };
        let identity = Self {
            key: EncodingKey::from_ec_der(key.secret_pkcs8_der()),
            chain: chain.iter().map(|c| STANDARD.encode(c)).collect(),
        };
        let probe = jsonwebtoken::crypto::sign(b"probe", &identity.key, Algorithm::ES256);
        let probe = probe.map_err(|e| {
            failed(format!(
                "is no EC P-256 key ({e}): make one with `openssl ecparam -name prime256v1 -genkey`"
            ))
        })?;
        let public = public_key(&chain[0])?;
        match jsonwebtoken::crypto::verify(&probe, b"probe", &public, Algorithm::ES256) {
            Ok(true) => Ok(identity),
            _ => Err(IdentityError::Mismatch {
                certificate: certificate_file.into(),
                key: key_file.into(),
            }),
        }
    }

    /// Signs JSON as a JWS in compact form. `typ` says what it is, e.g. `milepost-manifest+jws`.
    ///
    /// # Errors
    /// [`IdentityError::Sign`] where the payload can't be JSON.
    pub fn sign_jws(&self, typ: &str, payload: &impl Serialize) -> Result<String, IdentityError> {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some(typ.into());
        header.x5c = Some(self.chain.clone());
        jsonwebtoken::encode(&header, payload, &self.key)
            .map_err(|e| IdentityError::Sign(e.to_string()))
    }
}

/// What a token said, and who signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<T> {
    /// The payload.
    pub payload: T,
    /// The signer's certificate, DER.
    pub certificate: Vec<u8>,
}

/// Checks a token of [`Identity::sign_jws`]: its kind, its signer's chain to one of `roots` (valid for
/// TLS clients at `at`), its signature. For old documents give the time at which they were signed.
///
/// # Errors
/// [`IdentityError::Form`], [`IdentityError::Untrusted`], [`IdentityError::Forged`].
pub fn verify_jws<T: DeserializeOwned>(
    token: &str,
    typ: &str,
    roots: &[CertificateDer<'_>],
    at: Timestamp,
) -> Result<Verified<T>, IdentityError> {
    let form = |why: String| IdentityError::Form { wanted: typ.into(), why };
    if token.len() > MAX_TOKEN_BYTES {
        return Err(form(format!("larger than {MAX_TOKEN_BYTES} bytes")));
    }
    let header = jsonwebtoken::decode_header(token).map_err(|e| form(e.to_string()))?;
    if header.typ.as_deref() != Some(typ) {
        return Err(form("its `typ` is another".into()));
    }
    if header.alg != Algorithm::ES256 {
        return Err(form("its `alg` is not ES256".into()));
    }
    if header.crit.is_some() {
        return Err(form("its `crit` asks for what is not known here".into()));
    }
    let chain = header.x5c.filter(|chain| (1..=MAX_CHAIN).contains(&chain.len()));
    let chain = chain.ok_or_else(|| form(format!("`x5c` with 1 to {MAX_CHAIN} certificates")))?;
    let chain = chain.iter().map(|c| STANDARD.decode(c).map(CertificateDer::from));
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(|e| form(e.to_string()))?;
    trusted(&chain, roots, at)?;

    let (message, signature) =
        token.rsplit_once('.').ok_or_else(|| form("no signature in it".into()))?;
    let key = public_key(&chain[0])?;
    match jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key, Algorithm::ES256) {
        Ok(true) => {}
        _ => return Err(IdentityError::Forged),
    }
    let payload = message.split_once('.').map_or("", |(_, payload)| payload);
    let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|e| form(e.to_string()))?;
    Ok(Verified {
        payload: serde_json::from_slice(&payload).map_err(|e| form(e.to_string()))?,
        certificate: chain[0].to_vec(),
    })
}

/// The certificates of a PEM file, e.g. the roots for [`verify_jws`].
///
/// # Errors
/// [`IdentityError::File`].
pub fn certificates(
    what: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let failed = |why: String| IdentityError::File { what, path: path.into(), why };
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| failed(e.to_string()))?;
    if certificates.is_empty() || certificates.len() > MAX_CHAIN {
        return Err(failed(format!("must hold 1 to {MAX_CHAIN} certificates in PEM")));
    }
    Ok(certificates)
}

fn trusted(
    chain: &[CertificateDer<'_>],
    roots: &[CertificateDer<'_>],
    at: Timestamp,
) -> Result<(), IdentityError> {
    let untrusted = |e: webpki::Error| IdentityError::Untrusted(e.to_string());
    let anchors = roots.iter().map(anchor_from_trusted_cert);
    let anchors = anchors.collect::<Result<Vec<_>, _>>().map_err(untrusted)?;
    let signer = EndEntityCert::try_from(&chain[0]).map_err(untrusted)?;
    let at = u64::try_from(at.as_second()).unwrap_or_default();
    signer
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &chain[1..],
            UnixTime::since_unix_epoch(Duration::from_secs(at)),
            KeyUsage::client_auth(),
            None,
            None,
        )
        .map(drop)
        .map_err(untrusted)
}

/// The P-256 key of a certificate.
fn public_key(certificate: &CertificateDer<'_>) -> Result<DecodingKey, IdentityError> {
    let untrusted = |why: String| IdentityError::Untrusted(why);
    let parsed = EndEntityCert::try_from(certificate).map_err(|e| untrusted(e.to_string()))?;
    let info = parsed.subject_public_key_info();
    // The key is the last thing in SubjectPublicKeyInfo; its length and first byte say P-256 or not,
    // and the signature says the rest.
    let point = info.len().checked_sub(POINT_BYTES).map(|at| &info[at..]);
    match point {
        Some([4, coordinates @ ..]) if is_p256(&info) => {
            let (x, y) = coordinates.split_at(POINT_BYTES / 2);
            DecodingKey::from_ec_components(&URL_SAFE_NO_PAD.encode(x), &URL_SAFE_NO_PAD.encode(y))
                .map_err(|e| untrusted(e.to_string()))
        }
        _ => Err(untrusted("its key is not EC P-256".into())),
    }
}

/// The fixed start of SubjectPublicKeyInfo for an uncompressed P-256 key (RFC 5480).
fn is_p256(info: &[u8]) -> bool {
    const HEAD: [u8; 26] = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08,
        0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ];
    info.len() == HEAD.len() + POINT_BYTES && info.starts_with(&HEAD)
}

#[cfg(test)]
mod tests;
