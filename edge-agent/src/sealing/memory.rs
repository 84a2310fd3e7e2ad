//! Keys and plates in this process's memory, kept off the disk: no core dumps, no debugger of the same
//! user, and a warning where swap could write them.
//!
//! How it fails: by `io::Error`; an agent that can't be hardened still reads plates, and says so.

use std::{fs, io};

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// No core dump of this process, and no `ptrace` by others of its user.
///
/// # Errors
/// The system call's.
pub fn harden() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?)
}

/// The swap areas that would put memory onto a disk in the plain. What can't be looked at counts as
/// none.
#[must_use]
pub fn exposing_swaps() -> Vec<String> {
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    exposing(&swaps, is_dm_crypt)
}

/// Those of `/proc/swaps` that are neither in memory (zram) nor encrypted.
fn exposing(swaps: &str, is_encrypted: impl Fn(&str) -> bool) -> Vec<String> {
    let names = swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    names
        .filter(|name| !name.starts_with("/dev/zram") && !is_encrypted(name))
        .map(Into::into)
        .collect()
}

/// A device-mapper device of the crypt target.
fn is_dm_crypt(name: &str) -> bool {
    let Ok(device) = fs::canonicalize(name) else { return false };
    let Some(device) = device.file_name().and_then(|n| n.to_str()) else { return false };
    fs::read_to_string(format!("/sys/class/block/{device}/dm/uuid"))
        .is_ok_and(|uuid| uuid.starts_with("CRYPT-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_on_a_plain_disk_is_named_and_swap_in_memory_or_encrypted_is_not() {
        let swaps = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n\
            /dev/mmcblk0p3                          partition\t1048572\t\t0\t\t-2\n\
            /dev/zram0                              partition\t1048572\t\t0\t\t100\n\
            /dev/dm-1                               partition\t1048572\t\t0\t\t-3\n\
            /var/swap\\040file                      file\t\t1048572\t\t0\t\t-4\n";
        let found = exposing(swaps, |name| name == "/dev/dm-1");
        assert_eq!(found, ["/dev/mmcblk0p3", "/var/swap\\040file"]);
        assert!(exposing("", |_| false).is_empty());
    }

    #[test]
    fn a_hardened_process_leaves_no_core_dump() {
        harden().unwrap();
        assert_eq!(rustix::process::dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        assert_eq!(rustix::process::getrlimit(Resource::Core).current, Some(0));
        // What the health page reads of its own process is still there.
        assert!(fs::read_dir("/proc/self/fd").is_ok());
        assert!(fs::read_to_string("/proc/self/status").is_ok());
    }
}
