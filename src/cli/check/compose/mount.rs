//! What of the host a container sees.

use std::path::{Path, PathBuf};

use crate::cli::check::compose::load::plain;
use crate::cli::check::compose::service::Reader;
use crate::cli::check::yaml::Node;

/// A file or folder of a container that is not its image's.
#[derive(Clone, Debug)]
pub(in crate::cli::check) struct Mount {
    pub(in crate::cli::check) target: PathBuf,
    pub(in crate::cli::check) source: Source,
}

#[derive(Clone, Debug)]
pub(in crate::cli::check) enum Source {
    Host(PathBuf),
    /// By its name in the file.
    Secret(String),
    Config(String),
    /// A volume, or what only compose knows.
    Unknown,
}

pub(super) fn of_volume(reader: &Reader<'_>, node: &Node) -> Option<Mount> {
    if let Some(whole) = reader.text(Some(node)) {
        let mut parts = whole.text.split(':');
        let first = parts.next()?;
        return Some(match parts.next() {
            Some(target) => {
                let source = host(reader, first).filter(|_| !whole.is_open);
                let source = source.unwrap_or(Source::Unknown);
                Mount { target: target.into(), source }
            }
            None => Mount { target: first.into(), source: Source::Unknown },
        });
    }
    let target = reader.text(node.get("target"))?.text.into();
    let is_bind = reader.text(node.get("type")).is_some_and(|kind| kind.text == "bind");
    let source = reader.text(node.get("source")).filter(|source| is_bind && !source.is_open);
    // Of a bind mount even a bare name is a path.
    let source = source.map_or(Source::Unknown, |source| {
        host(reader, &source.text)
            .unwrap_or_else(|| Source::Host(plain(&reader.folder.join(source.text))))
    });
    Some(Mount { target, source })
}

/// A secret or a config, which is seen beneath `folder` unless it says where.
pub(super) fn given(reader: &Reader<'_>, node: &Node, key: &str, folder: &str) -> Option<Mount> {
    let name = reader.text(node.get("source").or(Some(node)))?.text;
    let target = reader.text(node.get("target")).map_or_else(|| name.clone(), |it| it.text);
    let source = if key == "secrets" { Source::Secret(name) } else { Source::Config(name) };
    Some(Mount { target: PathBuf::from(folder).join(target), source })
}

/// None for what is no path but the name of a volume.
fn host(reader: &Reader<'_>, written: &str) -> Option<Source> {
    if let Some(rest) = written.strip_prefix("~/") {
        let home = reader.variables.get("HOME");
        return Some(home.map_or(Source::Unknown, |home| Source::Host(Path::new(home).join(rest))));
    }
    let is_path = written.starts_with(['.', '/']);
    is_path.then(|| Source::Host(plain(&reader.folder.join(written))))
}
