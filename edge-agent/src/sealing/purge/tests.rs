//! What retention by age promises.

use std::{process::Command, sync::Arc};

use super::{
    super::{Kek, KeyUse, Keyring, MAX_KEPT, ManualClock},
    *,
};
use crate::config::{Sealing, SealingKey};

const HOUR: Duration = Duration::from_secs(3600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

struct Pole {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    ring: Keyring,
    purger: Purger,
}

impl Pole {
    fn new(max_age: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::default());
        let (kek, keys) = (folder.path().join("kek"), folder.path().join("keys"));
        let kek = Kek::load(&Sealing { key: SealingKey::File(kek) }, true).unwrap();
        fs::create_dir(folder.path().join("photos")).unwrap();
        fs::create_dir(folder.path().join("photos.damaged-x")).unwrap();
        Self {
            ring: Keyring::open_with(kek, &keys, clock.clone()).unwrap(),
            purger: Purger::new(&keys, folder.path(), max_age),
            clock,
            folder,
        }
    }

    fn photo(&self, name: &str, key_use: KeyUse) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, self.ring.seal_for(key_use, b"photo", &[7; 1000]).unwrap()).unwrap();
        path
    }

    fn purge(&mut self) -> Purged {
        self.purger.run(&*self.clock).unwrap()
    }
}

#[test]
fn photos_over_their_age_go_and_younger_held_and_foreign_files_stay() {
    let mut pole = Pole::new(WEEK);
    let old = pole.photo("photos/a-plate.jpg", KeyUse::Data);
    let aside = pole.photo("photos.damaged-x/b-plate.jpg", KeyUse::Data);
    let held = pole.photo("photos/c-plate.jpg", KeyUse::Hold);
    let foreign = pole.folder.path().join("photos/readme");
    fs::write(&foreign, "not ours").unwrap();
    pole.clock.pass(WEEK - HOUR);
    let young = pole.photo("photos/d-context.jpg", KeyUse::Data);
    let purged = pole.purge();
    assert_eq!((purged.keys.len(), purged.photos), (0, 0));
    assert_eq!(purged.oldest_key_age_s, (WEEK - HOUR).as_secs());

    pole.clock.pass(HOUR);
    let purged = pole.purge();
    assert_eq!((purged.keys.len(), purged.photos), (1, 2));
    assert_eq!(purged.photo_bytes, 2 * (1000 + blob::OVERHEAD_BYTES as u64));
    assert!(!old.exists() && !aside.exists());
    assert!(young.exists() && held.exists() && foreign.exists());

    pole.clock.pass(MAX_KEPT);
    pole.purge();
    assert!(!held.exists() && foreign.exists());
}

#[test]
fn keys_that_were_set_aside_age_on_and_their_photos_with_them() {
    let mut pole = Pole::new(WEEK);
    let photo = pole.photo("photos.damaged-x/a-plate.jpg", KeyUse::Data);
    pole.clock.pass(HOUR);
    let keys = pole.ring.folder().to_owned();
    let aside = durable::set_aside(&keys, jiff::Timestamp::UNIX_EPOCH).unwrap();
    fs::create_dir(&keys).unwrap();
    pole.clock.pass(WEEK - HOUR - HOUR);
    let purged = pole.purge();
    assert_eq!((purged.keys.len(), purged.photos, purged.keys_left), (0, 0, 1));
    assert!(photo.exists(), "its key may come back");
    pole.clock.pass(HOUR);
    let purged = pole.purge();
    assert_eq!((purged.keys.len(), purged.photos), (1, 1));
    assert!(!aside.exists() && !photo.parent().unwrap().exists(), "nothing is left of either");
}

#[test]
fn photos_whose_key_another_process_destroyed_go_at_the_next_run() {
    let mut pole = Pole::new(WEEK);
    let photo = pole.photo("photos/a-plate.jpg", KeyUse::Data);
    pole.purge();
    key_file::destroy(pole.ring.folder(), &[pole.ring.keys()[0].id]).unwrap();
    assert_eq!(pole.purge().photos, 1);
    assert!(!photo.exists());
}

#[test]
fn no_photo_goes_where_the_keys_cannot_be_listed() {
    let mut pole = Pole::new(WEEK);
    let photo = pole.photo("photos/a-plate.jpg", KeyUse::Data);
    let keys = pole.ring.folder().to_owned();
    fs::rename(&keys, keys.with_extension("away")).unwrap();
    assert!(matches!(pole.purger.run(&*pole.clock), Err(SealingError::Io { .. })));
    assert!(photo.exists());
}

#[test]
fn a_link_among_the_folders_is_not_followed() {
    let mut pole = Pole::new(WEEK);
    let elsewhere = tempfile::tempdir().unwrap();
    let photo = pole.photo("photos/a-plate.jpg", KeyUse::Data);
    let theirs = elsewhere.path().join("x.jpg");
    fs::rename(&photo, &theirs).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), pole.folder.path().join("photos-link")).unwrap();
    pole.clock.pass(WEEK);
    pole.purge();
    assert!(theirs.exists());
}

#[test]
fn a_purge_needs_neither_the_key_nor_the_stores_lock() {
    let mut pole = Pole::new(WEEK);
    let photo = pole.photo("photos/a-plate.jpg", KeyUse::Data);
    fs::remove_file(pole.folder.path().join("kek")).unwrap();
    let lock = File::create(pole.folder.path().join("lock")).unwrap();
    lock.lock().unwrap();
    pole.clock.pass(WEEK);
    assert_eq!(pole.purge().photos, 1);
    assert!(!photo.exists());
}

/// A process that hangs is one that is stopped; its photos go all the same.
#[test]
fn photos_go_while_another_process_that_holds_the_lock_hangs() {
    let mut pole = Pole::new(WEEK);
    let photo = pole.photo("photos/a-plate.jpg", KeyUse::Data);
    let lock = pole.folder.path().join("lock");
    // Without a fork: its child would outlive it.
    let mut hung =
        Command::new("flock").arg("--no-fork").arg(&lock).args(["sleep", "60"]).spawn().unwrap();
    while !lock.exists() || File::open(&lock).unwrap().try_lock().is_ok() {
        std::thread::yield_now();
    }
    Command::new("kill").args(["-STOP", &hung.id().to_string()]).status().unwrap();
    pole.clock.pass(WEEK);
    let purged = pole.purge();
    hung.kill().unwrap();
    hung.wait().unwrap();
    assert_eq!(purged.photos, 1);
    assert!(!photo.exists());
}
