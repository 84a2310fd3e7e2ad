//! Which TLS files a connection is made with, and what is said of them.
//!
//! New files are noticed while connected and taken up without a restart. Whom we trust (`ca_file`,
//! `crl_file`) is always what lies there: going back to an earlier authority or list would undo a
//! revocation. Who we are (`certificate_file`, `key_file`) goes back to the last that the broker
//! accepted, kept in memory, where the new ones can't be used or the broker refuses them.
//!
//! How it fails: only where there is nothing to go back to, with what is wrong. A connection that
//! is up is never ended for files that can't be used.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use rustls::ClientConfig;

use super::{
    cause::Cause,
    tls::{self, Digest, Files, Identity, TlsError, Trust},
    validity::{Validity, Whose},
    witness::Witness,
};
use crate::health::{Metrics, Status};

/// Holds the files of every connection.
#[derive(Debug)]
pub(super) struct Keeper {
    files: Files,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// For the connection that is, or is being made.
    used: Option<Used>,
    /// The last that the broker accepted.
    proven: Option<Arc<Identity>>,
    /// The last that the broker refused.
    refused: Option<Digest>,
    /// The files' inodes, sizes and times when they were last seen to be those in use.
    unchanged: Option<Stamp>,
    /// What lies there instead of what is in use, seen once: it may be half written.
    seen: Option<Sight>,
    /// Why what lies there is not in use.
    trouble: Option<String>,
}

#[derive(Debug, Clone)]
struct Used {
    trust: Arc<Trust>,
    identity: Arc<Identity>,
    witness: Arc<Witness>,
}

/// Inode, size and time of change of each file: cheap to look at every few seconds.
type Stamp = Vec<Option<(u64, u64, i64, i64)>>;

fn stamp(files: &Files) -> Stamp {
    let paths = [Some(&files.ca), files.crl.as_ref(), Some(&files.certificate), Some(&files.key)];
    let of = |path: &PathBuf| {
        let meta = fs::metadata(path).ok()?;
        Some((meta.ino(), meta.size(), meta.ctime(), meta.ctime_nsec()))
    };
    paths.into_iter().flatten().map(of).collect()
}

/// What lies there: digests, or why there is none.
type Sight = (Result<Digest, String>, Result<Digest, String>);

/// What lies there now, and whether it holds now.
struct Found {
    trust: Result<Trust, Cause>,
    identity: Result<Identity, Cause>,
    sight: Sight,
}

impl Found {
    fn read(files: &Files, now: Timestamp) -> Self {
        let told = |e: &TlsError| e.to_string();
        let cause = |e: TlsError| Cause::Files(e.to_string());
        let (trust, identity) = (Trust::read(files), Identity::read(files));
        let sight = (
            trust.as_ref().map(|t| t.digest).map_err(told),
            identity.as_ref().map(|i| i.digest).map_err(told),
        );
        let trust = trust.map_err(cause).and_then(|trust| match trust.list {
            Some(list) if now > list.until => Err(Cause::RevocationListEnded(Some(list.until))),
            _ => Ok(trust),
        });
        let identity = identity.map_err(cause).and_then(|identity| {
            in_time(identity.validity, now)?;
            Ok(identity)
        });
        Self { trust, identity, sight }
    }
}

fn in_time(own: Validity, now: Timestamp) -> Result<(), Cause> {
    if now > own.until {
        return Err(Cause::OwnCertificateEnded(own.until));
    }
    if now < own.from {
        return Err(Cause::OwnCertificateNotYet(own.from));
    }
    Ok(())
}

impl Keeper {
    pub(super) fn new(files: Files) -> Self {
        Self { files, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the next connection.
    pub(super) fn choose(&self, now: Timestamp) -> Result<ClientConfig, Cause> {
        let found = Found::read(&self.files, now);
        let mut state = self.state();
        (state.used, state.seen, state.unchanged) = (None, None, None);
        let (trust, identity) = state.pick(found, now)?;
        let (config, witness) =
            tls::connector(&trust, &identity).map_err(|e| Cause::Files(e.to_string()))?;
        state.used = Some(Used { trust: Arc::new(trust), identity, witness });
        Ok(config)
    }

    /// The broker has accepted the connection.
    pub(super) fn accepted(&self) {
        let mut state = self.state();
        let Some(used) = state.used.clone() else { return };
        if state.refused == Some(used.identity.digest) {
            state.refused = None;
        }
        state.proven = Some(used.identity);
    }

    /// There was no connection. Where the broker refuses a new identity, the earlier one is next.
    pub(super) fn failed(&self, cause: &Cause) {
        if !cause.is_about_us() {
            return;
        }
        let mut state = self.state();
        let (Some(used), Some(proven)) = (&state.used, &state.proven) else { return };
        if used.identity.digest == proven.digest {
            // It is no better: what lies there has its turn again.
            state.refused = None;
        } else {
            state.refused = Some(used.identity.digest);
            tracing::warn!(%cause, "a new certificate is refused; the earlier one is next");
        }
    }

    /// Whether the next connection would be made with other files than this one. To be asked every
    /// few seconds: what is seen once only may be half written.
    pub(super) fn has_new(&self, now: Timestamp) -> bool {
        // Before the files are read: a change in between is seen the next time.
        let stamp = stamp(&self.files);
        if self.state().unchanged.as_ref() == Some(&stamp) {
            return false;
        }
        let found = Found::read(&self.files, now);
        let mut state = self.state();
        let Some(used) = state.used.clone() else { return false };
        let in_use = (used.trust.digest, used.identity.digest);
        if found.sight == (Ok(in_use.0), Ok(in_use.1)) {
            state.unchanged = Some(stamp);
            state.seen = None;
            state.trouble = None;
            return false;
        }
        if state.seen.as_ref() != Some(&found.sight) {
            state.seen = Some(found.sight);
            return false;
        }
        match state.pick(found, now) {
            Ok((trust, identity)) => {
                // Built once to see that it can be.
                (trust.digest, identity.digest) != in_use
                    && tls::connector(&trust, &identity)
                        .inspect_err(|e| state.set_trouble(refusal(e)))
                        .is_ok()
            }
            Err(cause) => {
                state.set_trouble(refusal(cause));
                false
            }
        }
    }

    /// What is to be said of the files and, while `connected`, of what the handshake showed.
    pub(super) fn words(&self, now: Timestamp, connected: bool) -> Vec<(Status, String)> {
        let state = self.state();
        let mut words: Vec<_> = state.trouble.iter().map(|t| (Status::Warn, t.clone())).collect();
        let Some(used) = &state.used else { return words };
        let ends =
            used.ends().into_iter().filter(|(whose, _)| connected || *whose != Whose::Broker);
        words.extend(ends.filter_map(|(whose, validity)| validity.word(whose, now)));
        if connected && !used.witness.asked() {
            words.push((
                Status::Warn,
                "the broker does not ask for our certificate, so anyone can pose as this pole: \
                 have it require one"
                    .into(),
            ));
        }
        words
    }

    /// Puts the ends into the metrics, those of files that don't hold any more as well.
    pub(super) fn measure(&self, metrics: &Metrics) {
        let used = self.state().used.clone();
        let ends = match used {
            Some(used) => used.ends(),
            None => {
                Identity::read(&self.files).map(|i| (Whose::Own, i.validity)).into_iter().collect()
            }
        };
        for (whose, validity) in ends {
            let label = [("certificate", whose.name())];
            metrics.certificate_expiry.get_or_create(&label).set(validity.until.as_second());
        }
    }
}

impl Used {
    fn ends(&self) -> Vec<(Whose, Validity)> {
        let ends = [
            (Whose::Own, Some(self.identity.validity)),
            (Whose::Broker, self.witness.broker()),
            (Whose::RevocationList, self.trust.list),
            (Whose::Authority, Some(self.trust.authority)),
        ];
        ends.into_iter().filter_map(|(whose, validity)| Some((whose, validity?))).collect()
    }
}

fn refusal(why: impl std::fmt::Display) -> String {
    format!("new TLS files can't be used; this connection goes on, the next is refused: {why}")
}

impl State {
    /// What the next connection is to be made with, of what was found.
    fn pick(&mut self, found: Found, now: Timestamp) -> Result<(Trust, Arc<Identity>), Cause> {
        let trust = found.trust?;
        let proven = self.proven.clone().filter(|p| in_time(p.validity, now).is_ok());
        let refused = "the broker refused it".to_owned();
        let (why, proven) = match (found.identity, proven) {
            (Ok(identity), Some(proven))
                if self.refused == Some(identity.digest) && identity.digest != proven.digest =>
            {
                (refused, proven)
            }
            (Ok(identity), _) => {
                self.trouble = None;
                return Ok((trust, Arc::new(identity)));
            }
            (Err(cause), Some(proven)) => (cause.to_string(), proven),
            (Err(cause), None) => {
                // The cause itself is what is told.
                self.trouble = None;
                return Err(cause);
            }
        };
        self.set_trouble(format!(
            "the new certificate can't be used, the earlier one is in use until this is mended or \
             the agent is restarted: {why}"
        ));
        Ok((trust, proven))
    }

    fn set_trouble(&mut self, trouble: String) {
        if self.trouble.as_ref() != Some(&trouble) {
            tracing::warn!(trouble);
            self.trouble = Some(trouble);
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    struct Scene {
        folder: tempfile::TempDir,
        keeper: Keeper,
    }

    impl Scene {
        /// With a certificate that is its own authority, in use and accepted.
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = |name: &str| folder.path().join(name);
            let files = Files {
                ca: path("ca.crt"),
                certificate: path("pole.crt"),
                key: path("pole.key"),
                crl: None,
            };
            let scene = Self { keeper: Keeper::new(files), folder };
            let (certificate, key) = identity();
            scene.put("ca.crt", &certificate);
            scene.put("pole.crt", &certificate);
            scene.put("pole.key", &key);
            scene.keeper.choose(now()).unwrap();
            scene.keeper.accepted();
            scene
        }

        /// Replaced as renewal does it: another inode.
        fn put(&self, name: &str, text: &str) {
            let new = self.folder.path().join("new");
            fs::write(&new, text).unwrap();
            fs::rename(new, self.folder.path().join(name)).unwrap();
        }

        fn trouble(&self) -> Option<String> {
            self.keeper.state().trouble.clone()
        }

        fn in_use(&self) -> Digest {
            self.keeper.state().used.as_ref().unwrap().identity.digest
        }
    }

    fn identity() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["pole.example".into()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2120, 1, 1);
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn now() -> Timestamp {
        "2026-12-01T00:00:00Z".parse().unwrap()
    }

    #[test]
    fn new_files_count_once_they_are_whole_and_seen_twice() {
        let scene = Scene::new();
        assert!(!scene.keeper.has_new(now()) && !scene.keeper.has_new(now()));
        let (certificate, key) = identity();
        scene.put("pole.crt", &certificate);
        assert!(!scene.keeper.has_new(now()), "half written");
        assert_eq!(scene.trouble(), None, "and no news yet");
        scene.put("pole.key", &key);
        assert!(!scene.keeper.has_new(now()), "seen once");
        assert!(scene.keeper.has_new(now()));
        let before = scene.in_use();
        scene.keeper.choose(now()).unwrap();
        assert_ne!(scene.in_use(), before);
        assert!(!scene.keeper.has_new(now()) && !scene.keeper.has_new(now()));
    }

    #[test]
    fn a_broken_identity_is_reported_and_the_earlier_one_stays() {
        let scene = Scene::new();
        let before = scene.in_use();
        scene.put("pole.key", &identity().1);
        assert!(!scene.keeper.has_new(now()) && !scene.keeper.has_new(now()));
        assert!(scene.trouble().unwrap().contains("the new certificate can't be used"));
        scene.keeper.choose(now()).unwrap();
        assert_eq!(scene.in_use(), before);
    }

    #[test]
    fn trust_never_goes_back() {
        let scene = Scene::new();
        scene.put("ca.crt", "");
        assert!(!scene.keeper.has_new(now()) && !scene.keeper.has_new(now()));
        assert!(scene.trouble().unwrap().contains("the next is refused"));
        assert!(matches!(scene.keeper.choose(now()), Err(Cause::Files(_))));
    }

    #[test]
    fn an_identity_that_the_broker_refuses_gives_way_to_the_earlier_one_and_then_has_its_turn() {
        let scene = Scene::new();
        let old = scene.in_use();
        let (certificate, key) = identity();
        scene.put("pole.crt", &certificate);
        scene.put("pole.key", &key);
        scene.keeper.choose(now()).unwrap();
        let new = scene.in_use();
        scene.keeper.failed(&Cause::ClosedSilently);
        scene.keeper.choose(now()).unwrap();
        assert_eq!(scene.in_use(), new, "a lost connection is no refusal");
        let refused = Cause::CertificateRefused("it is revoked".into());
        for expected in [old, new, old] {
            scene.keeper.failed(&refused);
            scene.keeper.choose(now()).unwrap();
            assert_eq!(scene.in_use(), expected);
        }
    }

    #[test]
    fn without_an_earlier_one_an_identity_past_its_end_is_the_cause() {
        let scene = Scene::new();
        let later = "2121-01-01T00:00:00Z".parse().unwrap();
        let ended = scene.keeper.choose(later);
        assert!(matches!(ended, Err(Cause::OwnCertificateEnded(_))), "{ended:?}");
        let earlier = "2019-01-01T00:00:00Z".parse().unwrap();
        let early = scene.keeper.choose(earlier);
        assert!(matches!(early, Err(Cause::OwnCertificateNotYet(_))), "{early:?}");
    }
}
