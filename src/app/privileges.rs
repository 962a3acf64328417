//! Giving up root once the listeners are bound.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, lchown};
use std::path::Path;

use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// What became of the wish to run as another user.
#[derive(Debug)]
pub(super) enum Dropped {
    /// We are `uid` now, with the group of the Docker socket if there is one.
    To {
        uid: u32,
        group: Option<u32>,
    },
    /// We were not root, so there was nothing to drop.
    NotRoot,
    Refused(io::Error),
}

/// Becomes the user and group `uid`, with the group of `docker_socket` as the
/// only other one, so that the socket can be opened again. The kernel takes the
/// capabilities of root away with it (capabilities(7)).
///
/// It changes the calling thread alone: call it before any other is started,
/// since those inherit from it.
pub(super) fn drop_to(uid: u32, docker_socket: Option<&Path>) -> Dropped {
    if !geteuid().is_root() {
        return Dropped::NotRoot;
    }
    let group = docker_socket.and_then(|path| path.metadata().ok()).map(|socket| socket.gid());
    match change(uid, group) {
        Ok(()) => Dropped::To { uid, group },
        Err(refused) => Dropped::Refused(refused),
    }
}

/// Makes the folder `state` and gives it to the user `uid`, for what is kept
/// there once root is given up. Only while it is empty, as a volume is at first:
/// a folder that holds anything may not have been meant for us.
pub(super) fn own(state: &Path, uid: u32) -> io::Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    make(state)?;
    let found = state.symlink_metadata()?;
    let is_empty = state.read_dir()?.next().is_none();
    if found.is_dir() && is_empty && found.uid() != uid {
        lchown(state, Some(uid), Some(uid))?;
    }
    Ok(())
}

/// Makes the folder for its owner alone, and those above it that are missing so
/// that whoever owns it can pass them.
fn make(folder: &Path) -> io::Result<()> {
    let above: Vec<_> = folder.ancestors().skip(1).take_while(|it| !it.exists()).collect();
    for missing in above.into_iter().rev().filter(|it| !it.as_os_str().is_empty()) {
        fs::create_dir(missing)?;
        // Whatever our mask takes away.
        fs::set_permissions(missing, Permissions::from_mode(0o755))?;
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn change(uid: u32, group: Option<u32>) -> io::Result<()> {
    let groups: Vec<_> = group.into_iter().map(Gid::from_raw).collect();
    let (user, own) = (Uid::from_raw(uid), Gid::from_raw(uid));
    set_thread_groups(&groups)?;
    set_thread_res_gid(own, own, own)?;
    set_thread_res_uid(user, user, user)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_are_made_above_the_one_of_state_can_be_passed() {
        let root = tempfile::tempdir().unwrap();
        let state = root.path().join("var/lib/evenkeel");
        make(&state).unwrap();
        own(&state, 65532).unwrap();
        let mode = |path: &str| root.path().join(path).metadata().unwrap().mode() & 0o777;
        assert_eq!(["var", "var/lib", "var/lib/evenkeel"].map(mode), [0o755, 0o755, 0o700]);
        if geteuid().is_root() {
            assert_eq!(state.metadata().unwrap().uid(), 65532);
            assert_eq!(state.parent().unwrap().metadata().unwrap().uid(), 0);
        }
        make(&state).unwrap();
    }
}
