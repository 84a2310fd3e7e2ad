//! The program under test.

use std::path::PathBuf;

/// Path of the built `milepost`: `MILEPOST_BIN`, or beside this test's own folder (`target/debug`).
///
/// # Panics
/// Where it has not been built.
#[must_use]
pub fn milepost() -> PathBuf {
    let path = std::env::var_os("MILEPOST_BIN").map_or_else(
        || {
            let test = std::env::current_exe().unwrap_or_default();
            let folder = test.parent().and_then(|deps| deps.parent());
            folder.map(|f| f.join("milepost")).unwrap_or_default()
        },
        PathBuf::from,
    );
    assert!(path.is_file(), "{} is missing: `cargo build -p milepost` first", path.display());
    path
}
