//! What a process has used: CPU time and memory, as the kernel counts them. Linux tells, other systems do not.

use std::fs;

/// CPU time of all threads that the process has now, in seconds: the sum over `/proc/PID/task/*/schedstat`, which counts
/// in nanoseconds. What threads used that have ended since is not in it.
pub(super) fn cpu_seconds(pid: u32) -> Option<f64> {
    let mut nanos = 0;
    let mut threads = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        // A thread may end between being listed and being read.
        let Ok(text) = fs::read_to_string(task.ok()?.path().join("schedstat")) else { continue };
        nanos += text.split_ascii_whitespace().next()?.parse::<u64>().ok()?;
        threads += 1;
    }
    #[allow(clippy::cast_precision_loss, reason = "exact for a hundred days of CPU time")]
    (threads > 0).then_some(nanos as f64 / 1e9)
}

/// Memory that the process holds, in bytes: `Rss` of `/proc/PID/smaps_rollup`, which unlike the others is exact.
pub(super) fn resident_bytes(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_something_and_one_that_is_not_there_nothing() {
        let own = std::process::id();
        assert!(cpu_seconds(own).is_some());
        assert!(resident_bytes(own).is_some_and(|bytes| bytes > 4096));
        assert_eq!(cpu_seconds(u32::MAX), None);
        assert_eq!(resident_bytes(u32::MAX), None);
    }
}
