//! The program under test.

use std::path::PathBuf;

/// Path of the built `milepost`: `MILEPOST_BIN`, or beside this program or its folder (`target/debug`).
///
/// # Panics
/// Where it has not been built.
#[must_use]
pub fn milepost() -> PathBuf {
    let path = std::env::var_os("MILEPOST_BIN").map_or_else(
        || {
            let test = std::env::current_exe().unwrap_or_default();
            // A test lies in `deps`, a program beside it.
            let mut beside = test.ancestors().skip(1).take(2).map(|folder| folder.join("milepost"));
            beside.find(|path| path.is_file()).unwrap_or_default()
        },
        PathBuf::from,
    );
    assert!(path.is_file(), "{} is missing: `cargo build -p milepost` first", path.display());
    path
}
