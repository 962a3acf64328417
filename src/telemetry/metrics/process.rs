//! What the kernel says of our own process.

use std::fs;

/// What `/proc/self` says; none of what cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// User and system time used so far, in seconds.
    pub cpu_seconds: Option<f64>,
    pub resident_bytes: Option<u64>,
    pub open_fds: Option<u64>,
}

impl Process {
    /// Reads small files that never block.
    pub fn read() -> Self {
        let text = |path| fs::read_to_string(path).ok();
        // The count includes the descriptor that lists the folder.
        let open_fds = fs::read_dir("/proc/self/fd").ok().map(|open| open.count());
        Self {
            cpu_seconds: text("/proc/self/stat").and_then(|stat| cpu_seconds(&stat)),
            resident_bytes: text("/proc/self/status").and_then(|status| resident_bytes(&status)),
            open_fds: open_fds.and_then(|count| u64::try_from(count.saturating_sub(1)).ok()),
        }
    }
}

/// Fields 14 and 15 of proc_pid_stat(5). The second is the command's name in
/// parentheses, which may hold anything, so they are counted from its end.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

/// `VmRSS` of proc_pid_status(5), written in units of 1024 bytes.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// `USER_HZ`, which is 100 on every architecture that we build for.
const TICKS_PER_SECOND: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process_has_memory_and_descriptors() {
        let process = Process::read();
        assert!(process.resident_bytes.unwrap() > 100_000);
        assert!(process.open_fds.unwrap() >= 3);
        assert!(process.cpu_seconds.is_some());
    }

    #[test]
    fn a_command_with_a_parenthesis_and_spaces_in_its_name_is_read() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0";
        assert_eq!(cpu_seconds(stat), Some(2.0));
    }

    #[test]
    fn what_the_kernel_does_not_say_is_left_out() {
        assert_eq!(resident_bytes("VmPeak:\t 12 kB\n"), None);
        assert_eq!(resident_bytes("VmRSS:\t    12 kB\n"), Some(12 * 1024));
        assert_eq!(cpu_seconds("7 (a) S 1"), None);
    }
}
