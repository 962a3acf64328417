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
    let source = Source::find(limit);
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut level = Level::None;
    loop {
        tick.tick().await;
        // Small files of the kernel's, which never block.
        let Some(memory) = source.read() else { continue };
        let next = level.after(memory);
        if next == level {
            continue;
        }
        let Memory { used, limit } = memory;
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

/// What tells of our memory.
#[derive(Debug)]
enum Source {
    /// Our own process alone, against this limit in bytes.
    Process(u64),
    /// The folder of a control group.
    Group {
        folder: PathBuf,
        names: &'static Names,
    },
    Nothing,
}

/// How the files of a control group are called.
#[derive(Debug)]
struct Names {
    used: &'static str,
    limit: &'static str,
    /// Lines of `memory.stat`: pages of files, which are given back before
    /// anybody is ended.
    cache: [&'static str; 2],
}

impl Source {
    /// The limit that was asked for, else that of our control group, else the
    /// machine's memory.
    fn find(limit: Option<u64>) -> Self {
        if let Some(limit) = limit {
            return Self::Process(limit);
        }
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let machine = text(Path::new("/proc/meminfo")).and_then(|it| field(&it, "MemTotal:"));
        let machine = machine.and_then(|kibibytes| kibibytes.checked_mul(1024));
        for (folder, names) in folders(&groups) {
            let granted = number(&folder.join(names.limit));
            if granted.is_some_and(|granted| machine.is_none_or(|machine| granted < machine)) {
                return Self::Group { folder, names };
            }
        }
        machine.map_or(Self::Nothing, Self::Process)
    }

    /// None where it cannot be read, or where we are not to blame: what others in
    /// our group hold cannot be given back by us.
    fn read(&self) -> Option<Memory> {
        let own = || text(Path::new("/proc/self/status")).and_then(|it| field(&it, "VmRSS:"));
        let own = || own().and_then(|kibibytes| kibibytes.checked_mul(1024));
        match self {
            Self::Process(limit) => Some(Memory { used: own()?, limit: *limit }),
            Self::Group { folder, names } => {
                let limit = number(&folder.join(names.limit))?;
                let stat = text(&folder.join("memory.stat"))?;
                let cache = names.cache.iter().filter_map(|name| field(&stat, name)).sum();
                let used = number(&folder.join(names.used))?.saturating_sub(cache);
                let is_ours = own()?.saturating_mul(SHARE_LEAST) >= limit;
                Some(Memory { used: if is_ours { used } else { 0 }, limit })
            }
            Self::Nothing => None,
        }
    }
}

/// Where the control group may be found that `groups`, the content of
/// `/proc/self/cgroup`, names: a container sees its own at the root.
fn folders(groups: &str) -> Vec<(PathBuf, &'static Names)> {
    let mut folders = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, names) = match controllers {
            "" => ("/sys/fs/cgroup", &SECOND),
            _ if controllers.split(',').any(|it| it == "memory") => {
                ("/sys/fs/cgroup/memory", &FIRST)
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

/// The number after `name` at the begin of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some(name)).then(|| words.next()?.parse().ok()).flatten()
    })
}

/// Of the second version (the kernel's admin-guide/cgroup-v2).
static SECOND: Names =
    Names { used: "memory.current", limit: "memory.max", cache: ["inactive_file", "active_file"] };

/// Of the first version, in which the groups below count too.
static FIRST: Names = Names {
    used: "memory.usage_in_bytes",
    limit: "memory.limit_in_bytes",
    cache: ["total_inactive_file", "total_active_file"],
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
                ("/sys/fs/cgroup/system.slice/lb.service".to_owned(), "memory.max"),
                ("/sys/fs/cgroup".to_owned(), "memory.max")
            ]
        );
        assert_eq!(
            shown("3:cpu:/x\n4:hugetlb,memory:/docker/ab:c\nnonsense\n"),
            [
                ("/sys/fs/cgroup/memory/docker/ab:c".to_owned(), "memory.limit_in_bytes"),
                ("/sys/fs/cgroup/memory".to_owned(), "memory.limit_in_bytes")
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
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("memory.current", "1000000");
        write("memory.stat", "anon 1\ninactive_file 300000\nactive_file 100000\n");
        let source = Source::Group { folder: folder.path().to_owned(), names: &SECOND };
        write("memory.max", "2000000");
        assert_eq!(source.read(), Some(Memory { used: 600_000, limit: 2_000_000 }));
        // All that we hold is next to nothing of this.
        write("memory.max", "9000000000000");
        assert_eq!(source.read(), Some(Memory { used: 0, limit: 9_000_000_000_000 }));
        write("memory.max", "max\n");
        assert_eq!(source.read(), None);
        let own = Source::Process(1 << 40).read().unwrap();
        assert!(own.used > 100_000 && own.limit == 1 << 40);
    }
}
