//! What this process uses, from `/proc/self`.
//!
//! Fails: never; a number that cannot be had keeps its last value.

use super::Metrics;

/// Takes resident memory, open files and threads.
pub fn sample(metrics: &Metrics) {
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        if let Some(kib) = field(&status, "VmRSS:") {
            metrics.process_resident_bytes.set(kib * 1024);
        }
        if let Some(threads) = field(&status, "Threads:") {
            metrics.process_threads.set(threads);
        }
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        // One of them is the listing's own.
        let open = i64::try_from(open.count()).unwrap_or(i64::MAX);
        metrics.process_open_fds.set(open.saturating_sub(1));
    }
}

/// The number after a name in `/proc/self/status` (`VmRSS:    1234 kB`).
fn field(status: &str, name: &str) -> Option<i64> {
    status.lines().find_map(|l| l.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_proc_status_are_read_and_nonsense_is_none() {
        let status = "Name:\tx\nVmRSS:\t  1234 kB\nThreads:\t7\n";
        assert_eq!(field(status, "VmRSS:"), Some(1234));
        assert_eq!(field(status, "Threads:"), Some(7));
        assert_eq!(field(status, "Absent:"), None);
        assert_eq!(field("VmRSS: lots", "VmRSS:"), None);
    }

    #[test]
    fn this_process_has_memory_files_and_threads() {
        let metrics = Metrics::default();
        sample(&metrics);
        assert!(metrics.process_resident_bytes.get() > 100_000);
        assert!(metrics.process_open_fds.get() >= 3);
        assert!(metrics.process_threads.get() >= 1);
    }
}
