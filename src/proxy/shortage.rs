//! Telling a lack of our own from the failure of a peer.

use std::io;

use rustix::io::Errno;

/// Whether we are out of descriptors, ports, buffers or memory (accept(2),
/// connect(2)), which says nothing of whoever is at the other end.
pub(super) fn is_shortage(failed: &io::Error) -> bool {
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL];
    shortages.iter().any(|shortage| failed.raw_os_error() == Some(shortage.raw_os_error()))
}
