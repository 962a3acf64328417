//! How many connections we may hold.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the limit of open files as far as we may, and gives the number of
/// client connections that `workers` may hold each. A third is left for those to
/// replicas, which are shared, since most clients rest most of the time; some are
/// kept for Docker, the admin port and the log.
pub(super) fn connections_max(workers: usize) -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it may not be raised the limit that is in force counts.
    let _ = setrlimit(Resource::Nofile, limit);
    let files = getrlimit(Resource::Nofile).current.unwrap_or(FILES_ENOUGH).min(FILES_ENOUGH);
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    (files.saturating_sub(FILES_RESERVED) / 3 * 2 / workers.max(1)).max(CONNECTIONS_LEAST)
}

const FILES_ENOUGH: u64 = 1 << 20;
const FILES_RESERVED: usize = 256;
const CONNECTIONS_LEAST: usize = 64;
