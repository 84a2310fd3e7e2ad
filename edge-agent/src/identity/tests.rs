//! What signatures promise; the certificates are those of the demo, made by openssl.

use std::{fs, process::Command};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const TYP: &str = "milepost-test+jws";

/// A demo authority with certificates for a pole and a broker (which is no TLS client).
fn pki() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/pki.sh");
    let made = Command::new(script).arg(folder.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    folder
}

fn identity(pki: &Path, name: &str) -> Identity {
    Identity::load(&pki.join(format!("{name}.crt")), &pki.join(format!("{name}.key"))).unwrap()
}

fn check(token: &str, pki: &Path) -> Result<Verified<Value>, IdentityError> {
    let roots = certificates("ca_file", &pki.join("ca.crt")).unwrap();
    verify_jws(token, TYP, &roots, Timestamp::now())
}

#[test]
fn what_the_pole_signs_is_verified_by_its_authority_alone() {
    let pki = pki();
    let payload = json!({"first": 1, "last": 20, "text": "größer"});
    let token = identity(pki.path(), "pole").sign_jws(TYP, &payload).unwrap();
    let verified = check(&token, pki.path()).unwrap();
    assert_eq!(verified.payload, payload);
    let own = certificates("certificate_file", &pki.path().join("pole.crt")).unwrap();
    assert_eq!(verified.certificate, own[0].as_ref());
}

#[test]
fn openssl_verifies_what_the_pole_signs() {
    let pki = pki();
    let token = identity(pki.path(), "pole").sign_jws(TYP, &json!({"a": 1})).unwrap();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let raw = URL_SAFE_NO_PAD.decode(signature).unwrap();
    // r ‖ s as the DER that openssl wants.
    let integer = |n: &[u8]| {
        let n: Vec<u8> = n.iter().copied().skip_while(|b| *b == 0).collect();
        let pad = usize::from(n[0] >= 0x80);
        let mut der = vec![2, u8::try_from(n.len() + pad).unwrap()];
        der.extend(vec![0; pad]);
        der.extend(n);
        der
    };
    let both = [integer(&raw[..32]), integer(&raw[32..])].concat();
    let der = [vec![0x30, u8::try_from(both.len()).unwrap()], both].concat();
    let at = |name: &str| pki.path().join(name);
    fs::write(at("message"), message).unwrap();
    fs::write(at("signature"), der).unwrap();
    let public = Command::new("openssl")
        .args(["x509", "-pubkey", "-noout", "-in"])
        .arg(at("pole.crt"))
        .output()
        .unwrap();
    fs::write(at("public"), public.stdout).unwrap();
    let verified = Command::new("openssl")
        .args(["dgst", "-sha256", "-verify"])
        .arg(at("public"))
        .arg("-signature")
        .args([at("signature"), at("message")])
        .output()
        .unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}

#[test]
fn a_signer_of_another_authority_is_refused() {
    let (ours, theirs) = (pki(), pki());
    let token = identity(theirs.path(), "pole").sign_jws(TYP, &json!(1)).unwrap();
    assert!(matches!(check(&token, ours.path()), Err(IdentityError::Untrusted(_))));
}

#[test]
fn a_certificate_for_another_purpose_and_one_that_has_expired_are_refused() {
    let pki = pki();
    let token = identity(pki.path(), "broker").sign_jws(TYP, &json!(1)).unwrap();
    assert!(matches!(check(&token, pki.path()), Err(IdentityError::Untrusted(_))));

    let token = identity(pki.path(), "pole").sign_jws(TYP, &json!(1)).unwrap();
    let roots = certificates("ca_file", &pki.path().join("ca.crt")).unwrap();
    let late = Timestamp::now() + jiff::SignedDuration::from_hours(24 * 365);
    let refused = verify_jws::<Value>(&token, TYP, &roots, late);
    assert!(matches!(refused, Err(IdentityError::Untrusted(_))));
}

#[test]
fn a_token_of_another_kind_or_algorithm_is_refused() {
    let pki = pki();
    let token = identity(pki.path(), "pole").sign_jws("something-else", &json!(1)).unwrap();
    assert!(matches!(check(&token, pki.path()), Err(IdentityError::Form { .. })));

    let (head, rest) = token.split_once('.').unwrap();
    let mut header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(head).unwrap()).unwrap();
    header["typ"] = json!(TYP);
    for algorithm in ["none", "HS256", "ES384"] {
        header["alg"] = json!(algorithm);
        let head = URL_SAFE_NO_PAD.encode(header.to_string());
        let refused = check(&format!("{head}.{rest}"), pki.path());
        assert!(matches!(refused, Err(IdentityError::Form { .. })), "{algorithm}");
    }
    header["alg"] = json!("ES256");
    header["crit"] = json!(["b64"]);
    let head = URL_SAFE_NO_PAD.encode(header.to_string());
    let refused = check(&format!("{head}.{rest}"), pki.path());
    assert!(matches!(refused, Err(IdentityError::Form { .. })));
}

#[test]
fn a_key_of_another_certificate_is_named() {
    let pki = pki();
    let at = |name: &str| pki.path().join(name);
    let error = Identity::load(&at("pole.crt"), &at("server.key")).unwrap_err();
    assert!(matches!(error, IdentityError::Mismatch { .. }));
    let error = Identity::load(&at("pole.crt"), &at("absent.key")).unwrap_err();
    assert!(error.to_string().contains("absent.key"), "{error}");
}

#[test]
fn no_key_is_in_debug_output() {
    let pki = pki();
    assert_eq!(format!("{:?}", identity(pki.path(), "pole")), "Identity(chain of 1)");
}

#[test]
fn a_changed_token_is_never_accepted_and_nothing_panics() {
    let pki = pki();
    let token = identity(pki.path(), "pole").sign_jws(TYP, &json!({"a": 1, "b": [2, 3]})).unwrap();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = (0..token.len(), any::<u8>().prop_map(|b| char::from(b & 0x7f)));
    runner
        .run(&strategy, |(at, with)| {
            let mut changed = token.clone();
            changed.replace_range(at..=at, &with.to_string());
            // The last character of base64 may carry bits that mean nothing.
            let same = |a: &str, b: &str| {
                a.split('.').map(|p| URL_SAFE_NO_PAD.decode(p).ok()).collect::<Vec<_>>()
                    == b.split('.').map(|p| URL_SAFE_NO_PAD.decode(p).ok()).collect::<Vec<_>>()
            };
            prop_assert!(check(&changed, pki.path()).is_err() || same(&changed, &token));
            Ok(())
        })
        .unwrap();
}
