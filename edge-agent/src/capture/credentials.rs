//! The camera's user and password, from a file that only the agent may read.
//!
//! They go from the file into the element's properties and nowhere else; `Debug` hides them.

use std::{
    fmt, fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::error::CaptureError;

/// More than this is no `user:password` line.
const MAX_BYTES: u64 = 1024;

/// A camera's user and password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// The user.
    pub(crate) user: String,
    /// The password.
    pub(crate) password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(***)")
    }
}

impl Credentials {
    /// Reads one line `user:password`.
    ///
    /// # Errors
    /// [`CaptureError::Credentials`]: missing, readable by others, or not such a line.
    pub(crate) fn read(path: &Path) -> Result<Self, CaptureError> {
        let wrong =
            |reason: String| CaptureError::Credentials { path: PathBuf::from(path), reason };
        let file = fs::File::open(path).map_err(|e| wrong(e.to_string()))?;
        let mode = file.metadata().map_err(|e| wrong(e.to_string()))?.permissions().mode();
        if mode & 0o077 != 0 {
            let mode = mode & 0o777;
            return Err(wrong(format!(
                "others may read or change it (mode {mode:04o}): chmod 600"
            )));
        }
        let mut text = String::new();
        file.take(MAX_BYTES).read_to_string(&mut text).map_err(|e| wrong(e.to_string()))?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        match line.split_once(':') {
            Some((user, password)) if !user.is_empty() && !line.contains('\n') => {
                Ok(Self { user: user.into(), password: password.into() })
            }
            _ => Err(wrong("it is not one line user:password".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &str, mode: u32) -> Result<Credentials, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("camera");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        Credentials::read(&path).map_err(|e| e.to_string())
    }

    #[test]
    fn a_private_file_with_one_line_gives_user_and_password() {
        let read = read("admin:a:b c\r\n", 0o600).unwrap();
        assert_eq!((read.user.as_str(), read.password.as_str()), ("admin", "a:b c"));
        assert!(!format!("{read:?}").contains("admin"));
    }

    #[test]
    fn a_file_that_others_may_read_or_that_is_no_such_line_is_refused_without_quoting_it() {
        for (content, mode, expected) in [
            ("admin:hunter2", 0o640, "chmod 600"),
            ("admin:hunter2", 0o602, "chmod 600"),
            ("hunter2", 0o600, "user:password"),
            (":hunter2", 0o600, "user:password"),
            ("admin:hunter2\nmore", 0o600, "user:password"),
        ] {
            let refused = read(content, mode).unwrap_err();
            assert!(refused.contains(expected) && !refused.contains("hunter2"), "{refused}");
        }
        assert!(Credentials::read(Path::new("/nonexistent")).is_err());
    }
}
