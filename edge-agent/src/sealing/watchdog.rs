//! The retention watchdog: a plain thread that purges by age once a minute, whatever the rest of the
//! agent does, and reports [`Component::Sealing`].
//!
//! It shares no lock with any other part. Where the whole process hangs, `milepost purge` from a timer
//! does the same. How it fails: a run that fails is `fail` on the health page and is tried again a
//! minute later.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::Duration,
};

use super::{
    PoleClock, Protection, SealingError, memory,
    purge::{Purged, Purger},
};
use crate::{
    config::Config,
    durable,
    health::{Component, Health, Status},
};

/// How often it looks.
pub const PURGE_EVERY: Duration = Duration::from_secs(60);

/// The running watchdog; ends when it is dropped.
#[derive(Debug)]
pub struct Watchdog {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Watchdog {
    /// Starts it; the first run is at once.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub fn start(config: &Config, health: Arc<Health>) -> io::Result<Self> {
        let mut watch = Watch {
            keys: config.sealing_folder(),
            protection: Protection::from(&config.sealing),
            purger: Purger::new(
                &config.sealing_folder(),
                &config.outbox.directory,
                config.retention.max_age,
            ),
            clock: None,
            health,
        };
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let stopped = stop.clone();
        let thread = thread::Builder::new().name("retention".into()).spawn(move || {
            loop {
                watch.run();
                let (flag, changed) = &*stopped;
                let flag = flag.lock().unwrap_or_else(PoisonError::into_inner);
                let waited = changed.wait_timeout_while(flag, PURGE_EVERY, |stop| !*stop);
                let (flag, _) = waited.unwrap_or_else(PoisonError::into_inner);
                if *flag {
                    return;
                }
            }
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        let (flag, changed) = &*self.stop;
        *flag.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Watch {
    keys: PathBuf,
    protection: Protection,
    purger: Purger,
    clock: Option<PoleClock>,
    health: Arc<Health>,
}

impl Watch {
    fn run(&mut self) {
        let (purged, ticked) = match self.purge() {
            Ok((purged, ticked)) => (Ok(purged), ticked),
            Err(error) => (Err(error), Ok(())),
        };
        match &purged {
            Ok(purged) => {
                self.health.metrics.keys_destroyed.inc_by(purged.keys.len() as u64);
                self.health.metrics.photos_purged.inc_by(purged.photos);
                if !purged.keys.is_empty() || purged.photos > 0 {
                    let keys = purged.keys.len();
                    tracing::info!(keys, photos = purged.photos, "purged by age");
                }
            }
            Err(error) => tracing::error!(%error, "purge by age failed"),
        }
        let error = purged.err().map(|e| e.to_string());
        let swaps = memory::exposing_swaps();
        let unkept = ticked.err().map(|e| e.to_string());
        let (status, output) = report(&self.protection, &swaps, error, unkept);
        self.health.set(Component::Sealing, status, output);
    }

    /// What was purged, and whether the pole's own time could be kept.
    fn purge(&mut self) -> Result<(Purged, Result<(), SealingError>), SealingError> {
        let clock = match &mut self.clock {
            Some(clock) => clock,
            none => {
                durable::make_folder(&self.keys).map_err(SealingError::io(&self.keys))?;
                none.insert(PoleClock::open(&self.keys)?)
            }
        };
        let ticked = clock.tick().map(drop);
        Ok((self.purger.run(clock)?, ticked))
    }
}

/// What the health page says: the worst first.
fn report(
    protection: &Protection,
    swaps: &[String],
    purge_error: Option<String>,
    clock_error: Option<String>,
) -> (Status, String) {
    let (mut status, protected) = protection.report();
    let mut said = Vec::new();
    if let Some(error) = purge_error {
        status = Status::Fail;
        said.push(format!("what is over its age can't be destroyed: {error}"));
    }
    if let Some(error) = clock_error {
        status = status.max(Status::Warn);
        said.push(format!("how old data is won't survive a restart: {error}"));
    }
    said.push(protected);
    if !swaps.is_empty() {
        status = status.max(Status::Warn);
        said.push(format!(
            "plates in memory can reach the disk by swap on {}: switch it off, or use zram or an encrypted one",
            swaps.join(", ")
        ));
    }
    (status, said.join("; "))
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Instant};

    use super::{
        super::{Kek, Keyring, ManualClock, fixtures::Pole, key_file},
        *,
    };

    /// Far more than a run takes.
    const LIMIT: Duration = Duration::from_secs(30);

    /// A pole whose only key was made when it was new, and which has been on for eight days since.
    fn aged_pole() -> (Pole, PathBuf) {
        let pole = Pole::new();
        let folder = pole.config.sealing_folder();
        let kek = Kek::load(&pole.config.sealing, true).unwrap();
        let ring = Keyring::open_with(kek, &folder, Arc::new(ManualClock::default())).unwrap();
        let key = key_file::path(&folder, ring.keys()[0].id);
        let week = r#"{"boot":"before","up_s":0,"now":691200,"began":0,"gaps":[],"run":null,"anchor":null}"#;
        std::fs::write(folder.join("pole-time.json"), week).unwrap();
        (pole, key)
    }

    fn goes(path: &Path) -> bool {
        let begun = Instant::now();
        while path.exists() && begun.elapsed() < LIMIT {
            thread::sleep(Duration::from_millis(10));
        }
        !path.exists()
    }

    #[test]
    fn the_running_watchdog_destroys_what_is_over_its_age_while_all_else_is_stuck() {
        let (pole, key) = aged_pole();
        // The outbox is held, and nobody uses the keys.
        let lock = std::fs::File::create(pole.outbox().join("lock")).unwrap();
        lock.lock().unwrap();
        let health = Arc::new(Health::default());
        let watchdog = Watchdog::start(&pole.config, health.clone()).unwrap();
        assert!(goes(&key));
        drop(watchdog); // waits for the run to end
        assert_eq!(health.metrics.keys_destroyed.get(), 1);
        let check = &health.checks()[&Component::Sealing];
        assert_eq!(check.status, Status::Warn, "{}", check.output);
        assert!(check.output.contains("key file beside it"), "{}", check.output);
    }

    #[test]
    fn a_process_that_hangs_with_the_clock_in_its_hand_stops_no_purge() {
        let (pole, key) = aged_pole();
        let held = pole.config.sealing_folder().join("pole-time.lock");
        let held = std::fs::File::create(held).unwrap();
        held.lock().unwrap();
        let purged = crate::cli::purge::purge(&pole.config).unwrap();
        assert!(purged.keys.len() == 1 && !key.exists());
        let health = Arc::new(Health::default());
        drop(Watchdog::start(&pole.config, health.clone()).unwrap());
        let said = &health.checks()[&Component::Sealing].output;
        assert!(said.starts_with("how old data is"), "{said}");
    }

    #[test]
    fn the_purge_of_the_command_line_does_the_same() {
        let (pole, key) = aged_pole();
        let purged = crate::cli::purge::purge(&pole.config).unwrap();
        assert_eq!((purged.keys.len(), purged.keys_left), (1, 0));
        assert!(!key.exists());
        let nothing = Pole::new();
        assert_eq!(crate::cli::purge::purge(&nothing.config).unwrap(), Purged::default());
    }

    #[test]
    fn a_folder_that_cannot_be_used_is_a_failure_on_the_health_page() {
        let pole = Pole::new();
        std::fs::create_dir(pole.outbox()).unwrap();
        std::fs::write(pole.config.sealing_folder(), "no folder").unwrap();
        let health = Arc::new(Health::default());
        drop(Watchdog::start(&pole.config, health.clone()).unwrap());
        let check = &health.checks()[&Component::Sealing];
        assert_eq!(check.status, Status::Fail);
        assert!(check.output.starts_with("what is over its age"), "{}", check.output);
    }

    #[test]
    fn the_health_page_names_a_failed_purge_a_weak_key_and_exposing_swap() {
        let good = Protection::Credential("k".into());
        assert_eq!(report(&good, &[], None, None).0, Status::Pass);
        let (status, said) = report(&good, &["/dev/sda2".into()], None, None);
        assert!(status == Status::Warn && said.contains("/dev/sda2"), "{said}");
        let weak = Protection::KeyFile("/k".into());
        assert_eq!(report(&weak, &[], None, None).0, Status::Warn);
        let (status, said) = report(&weak, &[], Some("disk".into()), None);
        assert!(status == Status::Fail && said.starts_with("what is over its age"), "{said}");
        let (status, said) = report(&good, &[], None, Some("full".into()));
        assert!(status == Status::Warn && said.starts_with("how old data is"), "{said}");
    }
}
