//! A real-time clock of its own for one process, which a test sets: `clock.c`, preloaded. The
//! machine's clock is left alone.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
};

use jiff::{SignedDuration, Timestamp};

/// A clock that can be set.
#[derive(Debug)]
pub struct Clock {
    library: PathBuf,
    state: PathBuf,
    file: File,
}

impl Clock {
    /// One that is right and not synchronised, with its files in `folder`.
    ///
    /// # Panics
    /// Without a C compiler.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        let (library, state) = (folder.join("clock.so"), folder.join("clock"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("harness/clock.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .args([&library, &source])
            .status()
            .expect("a C compiler");
        assert!(built.success(), "{} does not compile", source.display());
        let file = File::create(&state).expect("the clock's file");
        let clock = Self { library, state, file };
        clock.write(0, 0);
        clock.write(1, 0);
        clock.write(2, 16_000_000);
        clock
    }

    /// What a process must have in its environment.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, PathBuf); 2] {
        [("LD_PRELOAD", self.library.clone()), ("MILEPOST_TEST_CLOCK", self.state.clone())]
    }

    /// Puts it off by so much.
    pub fn off_by(&self, by: SignedDuration) {
        self.write(0, i64::try_from(by.as_nanos()).expect("some centuries at most"));
    }

    /// Sets it.
    pub fn set(&self, to: Timestamp) {
        self.off_by(to.duration_since(Timestamp::now()));
    }

    /// A time service sets it right, and says that it is so within 4 ms.
    pub fn synchronise(&self) {
        self.off_by(SignedDuration::ZERO);
        self.write(2, 4_000);
        self.write(1, 1);
    }

    /// One number at a time: each is atomic for the process that maps the file.
    fn write(&self, place: u64, value: i64) {
        self.file.write_all_at(&value.to_ne_bytes(), place * 8).expect("the clock's file");
    }
}
