//! What crypto-erase promises, on the whole program's own command line.

use std::process::ExitCode;

use clap::Parser as _;

use super::{
    super::{SealingError, fixtures::Pole},
    *,
};
use crate::{
    cli::{self, Cli, Verb},
    identity::{certificates, verify_jws},
};

const PLATE: &[u8] = b"7ABC123";

/// A pole with something kept in every place there is.
fn pole() -> Pole {
    let pole = Pole::with_certificates();
    let ring = pole.ring().unwrap();
    let sealed = |context: &[u8]| ring.seal(context, PLATE).unwrap();
    for (name, content) in [
        ("store/db", sealed(b"record")),
        ("store/blobs/1", sealed(b"record")),
        ("store.damaged-20261101T000000Z/db", sealed(b"record")),
        ("photos/a-plate.jpg", sealed(b"photo")),
        ("photos.damaged-20261101T000000Z/b-plate.jpg", sealed(b"photo")),
        ("ballast", vec![0; 100]),
        ("suspension.json", vec![0; 100]),
        ("lock", Vec::new()),
        ("notes.txt", b"not ours".to_vec()),
    ] {
        let path = pole.outbox().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    pole
}

impl Pole {
    /// Runs `milepost erase` with these arguments; whether its exit code was 0.
    fn erase(&self, more: &[&str]) -> bool {
        let (config, receipt) = (self.file(), self.folder.path().join("receipt.jws"));
        let mut line = vec!["milepost", "erase", "--config", config.to_str().unwrap()];
        line.extend(["--by", "R. Ortiz", "--reason", "pole taken down"]);
        line.extend(["--receipt", receipt.to_str().unwrap()]);
        line.extend(more);
        let Verb::Erase(args) = Cli::parse_from(line).verb else { panic!("erase") };
        cli::erase::run(&args) == ExitCode::SUCCESS
    }

    fn receipt(&self) -> Receipt {
        let token = fs::read_to_string(self.folder.path().join("receipt.jws")).unwrap();
        let roots = certificates("ca_file", &self.config.uplink.ca_file).unwrap();
        verify_jws(token.trim(), RECEIPT_TYP, &roots, Timestamp::now()).unwrap().payload
    }
}

#[test]
fn all_is_gone_and_the_signed_receipt_says_what_was_done() {
    let pole = pole();
    let sealed = pole.ring().unwrap().seal(b"record", PLATE).unwrap();
    let keys: Vec<_> = pole.ring().unwrap().keys().iter().map(|k| k.id.to_string()).collect();
    assert!(pole.erase(&["--yes", "--work-order", "W-1234"]));

    let receipt = pole.receipt();
    assert_eq!(receipt.source, "urn:milepost:demo-pd:main-st:north");
    assert_eq!((receipt.by.as_str(), receipt.reason.as_str()), ("R. Ortiz", "pole taken down"));
    assert_eq!(receipt.work_order.as_deref(), Some("W-1234"));
    assert_eq!(receipt.keys_destroyed, keys);
    assert_eq!((receipt.photos, receipt.store_files), (2, 5));
    assert!(receipt.key_encryption_key.ends_with("destroyed"), "{}", receipt.key_encryption_key);
    assert_eq!(receipt.left, ["notes.txt"]);
    assert!(receipt.is_complete(), "{:?}", receipt.failed);
    assert!(receipt.not_guaranteed.iter().any(|note| note.contains("flash")));

    let mut left: Vec<_> = fs::read_dir(pole.outbox())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["lock", "notes.txt"]);
    // And the pole can begin anew, knowing nothing of before.
    let again = pole.ring().unwrap();
    assert!(matches!(again.unseal(b"record", &sealed), Err(SealingError::KeyGone { .. })));
}

#[test]
fn it_is_refused_while_an_agent_runs_and_without_a_yes_and_then_nothing_is_gone() {
    let pole = pole();
    let lock = File::open(pole.outbox().join("lock")).unwrap();
    lock.lock().unwrap();
    assert!(!pole.erase(&["--yes"]));
    drop(lock);
    // The tests' standard input is no terminal, or else nobody answers there.
    if !std::io::IsTerminal::is_terminal(&io::stdin()) {
        assert!(!pole.erase(&[]));
    }
    assert!(!pole.folder.path().join("receipt.jws").exists());
    assert_eq!(pole.ring().unwrap().keys().len(), 1);
    assert!(pole.outbox().join("photos/a-plate.jpg").exists());
}

#[test]
fn a_receipt_is_never_written_over_another_and_then_nothing_is_gone() {
    let pole = pole();
    fs::write(pole.folder.path().join("receipt.jws"), "an older one").unwrap();
    assert!(!pole.erase(&["--yes"]));
    assert!(pole.outbox().join("store/db").exists());
}

#[test]
fn a_pole_whose_own_key_is_broken_can_be_erased_without_a_signature() {
    let pole = pole();
    fs::write(&pole.config.uplink.key_file, "broken").unwrap();
    assert!(!pole.erase(&["--yes"]));
    assert!(pole.outbox().join("store/db").exists());
    assert!(pole.erase(&["--yes", "--unsigned"]));
    let text = fs::read_to_string(pole.folder.path().join("receipt.jws")).unwrap();
    let receipt: Receipt = serde_json::from_str(&text).unwrap();
    assert!(receipt.is_complete() && !pole.outbox().join("store").exists());
}

#[test]
fn done_again_after_a_cut_it_finishes() {
    let pole = pole();
    // As after a cut between the keys and the rest.
    fs::remove_dir_all(pole.config.sealing_folder()).unwrap();
    assert!(pole.erase(&["--yes"]));
    assert_eq!(pole.receipt().keys_destroyed, Vec::<String>::new());
    assert!(!pole.outbox().join("store").exists());
}
