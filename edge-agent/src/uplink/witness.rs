//! Sees what a handshake shows: until when the broker's certificate holds, and whether the broker
//! asked for ours. It decides nothing: rustls' own verifier does.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use rustls::{
    DigitallySignedStruct, Error, SignatureScheme,
    client::{
        ResolvesClientCert, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    sign::CertifiedKey,
};

use super::validity::Validity;

/// What a handshake showed.
#[derive(Debug, Default)]
pub struct Witness {
    broker: Mutex<Option<Validity>>,
    asked: AtomicBool,
}

impl Witness {
    /// Of the broker's certificate, once it was verified.
    #[must_use]
    pub fn broker(&self) -> Option<Validity> {
        *self.broker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the broker asked for our certificate.
    #[must_use]
    pub fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

/// rustls' verifier, watched.
#[derive(Debug)]
pub(super) struct WatchedVerifier {
    pub(super) inner: Arc<WebPkiServerVerifier>,
    pub(super) witness: Arc<Witness>,
}

impl ServerCertVerifier for WatchedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.inner.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )?;
        // Only of a certificate that is the broker's: what a stranger shows is no news of it.
        let validity = Validity::of_certificate(end_entity).ok();
        *self.witness.broker.lock().unwrap_or_else(PoisonError::into_inner) = validity;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Our certificate, handed over when asked for.
#[derive(Debug)]
pub(super) struct WatchedIdentity {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) witness: Arc<Witness>,
}

impl ResolvesClientCert for WatchedIdentity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.witness.asked.store(true, Ordering::Relaxed);
        Some(self.key.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
