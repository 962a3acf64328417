//! How much memory is left to us, and telling so.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::domain::pressure::{Gauge, Level, Memory};

/// Sets `gauge` for ever, by what is left of `limit`, in bytes, or of what we are
/// granted.
pub(super) async fn watch(limit: Option<u64>, gauge: Arc<Gauge>) {
    let source = Source { limit, root: PathBuf::from("/") };
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut level = Level::None;
    let mut is_first = true;
    loop {
        tick.tick().await;
        // Small files of the kernel's, which never block.
        let memory = source.read();
        let next = level.after(memory);
        let (used, limit) = memory.map(|memory| (memory.used, memory.limit)).unzip();
        if std::mem::take(&mut is_first) {
            info!(used, limit, "Memory is watched");
        }
        if next == level {
            continue;
        }
        let from = level.as_str();
        level = next;
        gauge.set(level);
        match level {
            Level::None => info!(used, limit, from, "There is memory enough again"),
            Level::High => warn!(
                used,
                limit, from, "Memory runs short: no new connections, and idle ones are closed"
            ),
            Level::Critical => warn!(
                used,
                limit,
                from,
                "Memory runs out: new requests are answered 503. Grant more, or set \
                 --connections-per-client"
            ),
        }
    }
}

/// What tells of our memory: the limit that was asked for counts, else that of
/// our control group, else the machine's memory. Nothing of it is remembered,
/// since limits are set, changed and lifted while we run.
#[derive(Debug)]
struct Source {
    /// For our own process alone, in bytes.
    limit: Option<u64>,
    /// Where the kernel's files begin.
    root: PathBuf,
}

/// How the files of a control group are called.
#[derive(Debug)]
struct Names {
    used: &'static str,
    limit: &'static str,
    /// Lines of `memory.stat`: pages of files, which are given back before
    /// anybody is ended.
    cache: [&'static str; 2],
    /// What the kernel holds for connections, which is ours as much as what we
    /// hold for them ourselves.
    sockets: &'static [&'static str],
}

impl Source {
    /// None where it cannot be read, or nothing limits us.
    fn read(&self) -> Option<Memory> {
        let own = kibibytes(&self.text("proc/self/status")?, "VmRSS:")?;
        if let Some(limit) = self.limit {
            return Some(Memory { used: own, limit });
        }
        let machine = self.text("proc/meminfo").and_then(|it| machine(&it));
        self.group(own, machine).or_else(|| blamed(machine?, own))
    }

    /// Of the narrowest control group that grants us less than `machine` has.
    fn group(&self, own: u64, machine: Option<Memory>) -> Option<Memory> {
        let groups = self.text("proc/self/cgroup")?;
        folders(&groups).into_iter().find_map(|(folder, names)| {
            let folder = self.root.join(folder);
            let limit = number(&folder.join(names.limit))?;
            if machine.is_some_and(|machine| limit >= machine.limit) {
                return None;
            }
            let stat = text(&folder.join("memory.stat"))?;
            let sum = |names: &[&str]| names.iter().filter_map(|name| field(&stat, name)).sum();
            let used = number(&folder.join(names.used))?.saturating_sub(sum(&names.cache));
            blamed(Memory { used, limit }, own.saturating_add(sum(names.sockets)))
        })
    }

    fn text(&self, file: &str) -> Option<String> {
        text(&self.root.join(file))
    }
}

/// What others hold cannot be given back by us, who hold `own`.
fn blamed(memory: Memory, own: u64) -> Option<Memory> {
    let is_ours = own.saturating_mul(SHARE_LEAST) >= memory.limit;
    Some(if is_ours { memory } else { Memory { used: 0, ..memory } })
}

/// By `/proc/meminfo`.
fn machine(text: &str) -> Option<Memory> {
    let limit = kibibytes(text, "MemTotal:")?;
    let used = limit.saturating_sub(kibibytes(text, "MemAvailable:")?);
    Some(Memory { used, limit })
}

/// Where the control group may be found that `groups`, the content of
/// `/proc/self/cgroup`, names: a container sees its own at the root.
fn folders(groups: &str) -> Vec<(PathBuf, &'static Names)> {
    let mut folders = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, names) = match controllers {
            "" => ("sys/fs/cgroup", &SECOND),
            _ if controllers.split(',').any(|it| it == "memory") => {
                ("sys/fs/cgroup/memory", &FIRST)
            }
            _ => continue,
        };
        folders.push((Path::new(root).join(path.trim_start_matches('/')), names));
        folders.push((PathBuf::from(root), names));
    }
    folders
}

fn text(file: &Path) -> Option<String> {
    fs::read_to_string(file).ok()
}

/// None also where the file says `max`, which is no limit.
fn number(file: &Path) -> Option<u64> {
    text(file)?.trim().parse().ok()
}

/// In bytes.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    field(text, name)?.checked_mul(1024)
}

/// The number after `name` at the begin of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some(name)).then(|| words.next()?.parse().ok()).flatten()
    })
}

/// Of the second version (the kernel's admin-guide/cgroup-v2).
static SECOND: Names = Names {
    used: "memory.current",
    limit: "memory.max",
    cache: ["inactive_file", "active_file"],
    sockets: &["sock", "kernel"],
};

/// Of the first version, in which the groups below count too. It does not tell
/// what sockets take.
static FIRST: Names = Names {
    used: "memory.usage_in_bytes",
    limit: "memory.limit_in_bytes",
    cache: ["total_inactive_file", "total_active_file"],
    sockets: &[],
};

/// A flood of requests fills no memory in less.
const EVERY: Duration = Duration::from_millis(250);

/// We are to blame if at least one part in so many of the limit is ours.
const SHARE_LEAST: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folders_of_both_versions_are_tried_from_the_narrowest() {
        let shown = |groups| {
            let folders = folders(groups).into_iter();
            folders.map(|(at, it)| (at.display().to_string(), it.limit)).collect::<Vec<_>>()
        };
        assert_eq!(
            shown("0::/system.slice/lb.service\n"),
            [
                ("sys/fs/cgroup/system.slice/lb.service".to_owned(), "memory.max"),
                ("sys/fs/cgroup".to_owned(), "memory.max")
            ]
        );
        assert_eq!(
            shown("3:cpu:/x\n4:hugetlb,memory:/docker/ab:c\nnonsense\n"),
            [
                ("sys/fs/cgroup/memory/docker/ab:c".to_owned(), "memory.limit_in_bytes"),
                ("sys/fs/cgroup/memory".to_owned(), "memory.limit_in_bytes")
            ]
        );
    }

    #[test]
    fn a_field_is_the_number_after_its_name() {
        let stat = "anon 7\ninactive_file 4096\nfile 9\nVmRSS:\t  12 kB\n";
        assert_eq!(field(stat, "inactive_file"), Some(4096));
        assert_eq!(field(stat, "VmRSS:"), Some(12));
        assert_eq!(field(stat, "file"), Some(9));
        assert_eq!(field(stat, "active_file"), None);
    }

    #[test]
    fn page_cache_and_what_others_hold_are_not_our_pressure() {
        let kernel = Kernel::new();
        kernel.grants("2000000");
        kernel.write(STAT, "anon 1\ninactive_file 300000\nactive_file 100000\n");
        assert_eq!(kernel.read(None), Some(Memory { used: 600_000, limit: 2_000_000 }));
        // All that we hold is next to nothing of this.
        kernel.grants("3000000");
        assert_eq!(kernel.read(None), Some(Memory { used: 0, limit: 3_000_000 }));
        // What the kernel holds for us is ours.
        kernel.write(STAT, "sock 200000\nkernel 100000\n");
        assert_eq!(kernel.read(None), Some(Memory { used: 1_000_000, limit: 3_000_000 }));
    }

    #[test]
    fn a_limit_counts_from_when_it_is_set_until_it_is_lifted() {
        let kernel = Kernel::new();
        let machine = Memory { used: 0, limit: 8 << 20 };
        kernel.grants("max\n");
        assert_eq!(kernel.read(None), Some(machine));
        kernel.grants("1000000");
        let full = kernel.read(None);
        assert_eq!(full, Some(Memory { used: 1_000_000, limit: 1_000_000 }));
        assert_eq!(Level::None.after(full), Level::Critical);
        kernel.grants("max\n");
        assert_eq!(Level::Critical.after(kernel.read(None)), Level::None);
        kernel.write("proc/meminfo", "");
        assert_eq!(kernel.read(None), None);
    }

    #[test]
    fn without_a_limit_the_machines_memory_counts_once_much_of_it_is_ours() {
        let kernel = Kernel::new();
        let used = 7 << 20;
        assert_eq!(kernel.read(None), Some(Memory { used: 0, limit: 8 << 20 }));
        kernel.write("proc/self/status", "VmRSS: 2048 kB\n");
        assert_eq!(kernel.read(None), Some(Memory { used, limit: 8 << 20 }));
        assert_eq!(kernel.read(Some(1 << 40)), Some(Memory { used: 2 << 20, limit: 1 << 40 }));
    }

    #[test]
    fn the_real_kernel_tells_something() {
        let source = Source { limit: Some(1 << 40), root: PathBuf::from("/") };
        assert!(source.read().unwrap().used > 100_000);
        let source = Source { limit: None, root: PathBuf::from("/") };
        assert!(source.read().unwrap().limit > 100_000);
    }

    /// Its files, as a test has them.
    struct Kernel(tempfile::TempDir);

    impl Kernel {
        /// A machine with 8 MiB, of which 1 MiB is left and 512 KiB are ours.
        fn new() -> Self {
            let kernel = Self(tempfile::tempdir().unwrap());
            kernel.write("proc/meminfo", "MemTotal: 8192 kB\nMemAvailable: 1024 kB\n");
            kernel.write("proc/self/status", "Name:\tx\nVmRSS:\t  512 kB\n");
            kernel.write("proc/self/cgroup", "0::/\n");
            kernel.write("sys/fs/cgroup/memory.current", "1000000");
            kernel.write(STAT, "anon 1\n");
            kernel
        }

        fn grants(&self, limit: &str) {
            self.write("sys/fs/cgroup/memory.max", limit);
        }

        fn write(&self, file: &str, text: &str) {
            let file = self.0.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }

        fn read(&self, limit: Option<u64>) -> Option<Memory> {
            Source { limit, root: self.0.path().to_owned() }.read()
        }
    }

    const STAT: &str = "sys/fs/cgroup/memory.stat";
}
