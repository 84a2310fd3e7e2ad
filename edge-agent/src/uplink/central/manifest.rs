//! Whether a manifest is the pole's word: its signature, its signer, and that it says what its event
//! says. Whether it fits what came is [`super::ledger`]'s.

use jiff::Timestamp;
use milepost_wire::{Chain, Event, Manifest, ManifestClaims, Root, Source, event};
use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use super::{ledger::MAX_SEQUENCE, verdict::Stretch};
use crate::identity::{IdentityError, verify_jws};

/// How a pole's certificate may name its camera: a URI in its subject's alternative names.
const URN: &str = "urn:milepost:";

/// A manifest whose signature is right.
pub(super) struct Signed {
    pub(super) stretch: Stretch,
    pub(super) epoch: uuid::Uuid,
    /// The signer's name, DER: stays the same when the certificate is renewed.
    pub(super) subject: Vec<u8>,
}

/// Checks all of a manifest that it takes no other record for. `now` is the server's time: the
/// certificate must have been valid when the manifest was signed by its own word, or be valid now (a
/// pole whose clock was wrong).
pub(super) fn check(
    event: &Event<Manifest>,
    root: &Root,
    roots: &[CertificateDer<'_>],
    now: Timestamp,
) -> Result<Signed, String> {
    let Manifest { from, to, command_id, ref jws } = event.data;
    let verify = |at| verify_jws::<ManifestClaims>(jws, Manifest::JWS_TYPE, roots, at);
    let verified = match verify(event.time) {
        Err(IdentityError::Untrusted(_)) => verify(now),
        other => other,
    };
    let verified = verified.map_err(|e| e.to_string())?;
    let claims = verified.payload;
    if !claims.is_of(root) {
        return Err(format!("it speaks of {}, not of this camera", claims.source));
    }
    if (claims.from, claims.to) != (from, to) {
        return Err(format!("it is signed for {} to {}", claims.from, claims.to));
    }
    if from == 0 || from > to || to > MAX_SEQUENCE {
        return Err("no such stretch can be".into());
    }
    let own = event.ledger().filter(|l| l.epoch == claims.epoch);
    if own.is_some_and(|own: event::Ledger| own.sequence <= to) {
        return Err("it is signed for what comes after it".into());
    }
    if from == 1 && claims.chain_before_sha256 != Chain::start(claims.epoch) {
        return Err("its chain does not begin as the epoch's does".into());
    }
    let certificate = CertificateDer::from(verified.certificate);
    let certificate = EndEntityCert::try_from(&certificate).map_err(|e| e.to_string())?;
    may_speak_for(&certificate, &claims.source)?;
    Ok(Signed {
        stretch: Stretch {
            from,
            to,
            before: claims.chain_before_sha256,
            after: claims.chain_after_sha256,
            hourly: command_id.is_none(),
        },
        epoch: claims.epoch,
        subject: certificate.subject().to_vec(),
    })
}

/// A certificate that names cameras speaks for these alone; one that names none can't be told.
fn may_speak_for(certificate: &EndEntityCert<'_>, source: &Source) -> Result<(), String> {
    let source = source.to_string();
    let mut cameras = certificate.valid_uri_names().filter(|uri| uri.starts_with(URN)).peekable();
    if cameras.peek().is_none() || cameras.any(|uri| uri == source) {
        return Ok(());
    }
    Err("its signer's certificate is for another camera".into())
}
