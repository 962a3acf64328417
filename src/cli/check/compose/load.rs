//! From files to a project, as compose reads them: what they include and what
//! their services extend is read too, and later files are laid over earlier ones.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use crate::cli::check::compose::service::{Reader, Service};
use crate::cli::check::compose::{Project, Told};
use crate::cli::check::variables::{self, Variables};
use crate::cli::check::yaml::{self, At, Entry, Node};
use crate::cli::finding::{Finding, Severity};
use crate::cli::surroundings;
use crate::config::Place;

/// The project of these files, as `docker-compose -f A -f B` sees it.
pub(in crate::cli::check) fn load(files: &[PathBuf], env: &BTreeMap<String, String>) -> Project {
    let mut loader = Loader {
        env,
        variables: Variables::default(),
        project: Project::default(),
        read: BTreeMap::new(),
        including: Vec::new(),
        included: BTreeSet::new(),
        left: VALUES_MAX,
    };
    let folder = files.first().map(|file| folder_of(file)).unwrap_or_default();
    loader.lay(files, &folder);
    loader.project
}

struct Loader<'a> {
    env: &'a BTreeMap<String, String>,
    variables: Variables,
    project: Project,
    /// What has been read, so that each file is read and told of once.
    read: BTreeMap<PathBuf, Documents>,
    /// The files whose `include` is being followed.
    including: Vec<PathBuf>,
    /// Files that were included, which a second time says nothing new.
    included: BTreeSet<PathBuf>,
    /// Values that services may still be made of.
    left: usize,
}

type Documents = Rc<[Rc<Node>]>;

/// A service in a file, by which it is told whether an `extends` comes round.
type Link = (PathBuf, String);

impl Loader<'_> {
    /// Lays these files over what there is. Paths in them are relative to `folder`,
    /// and so is `.env`.
    fn lay(&mut self, files: &[PathBuf], folder: &Path) {
        let dotenv = surroundings::read_file(&folder.join(".env")).unwrap_or_default();
        let variables = Variables::new(self.env, variables::of_file(&dotenv));
        let before = std::mem::replace(&mut self.variables, variables);
        for file in files {
            for document in self.documents(file, None).iter() {
                self.including.push(plain(file));
                self.include(document, folder);
                self.including.pop();
                self.lay_document(document, file, folder);
            }
        }
        self.variables = before;
    }

    fn lay_document(&mut self, document: &Node, file: &Path, folder: &Path) {
        for entry in document.get("services").into_iter().flat_map(Node::entries) {
            let mut chain = Vec::new();
            let Some(over) = self.service(&entry, file, folder, &mut chain) else {
                continue;
            };
            let services = &mut self.project.services;
            if services.len() >= SERVICES_MAX && !services.contains_key(entry.key) {
                let message = format!("there are more than {SERVICES_MAX} services");
                return self.tell(entry.at, message, "check the files in parts");
            }
            let whole = match services.remove(entry.key) {
                Some(service) => service.under(over),
                None => over,
            };
            services.insert(entry.key.to_owned(), whole);
        }
        for entry in document.get("networks").into_iter().flat_map(Node::entries) {
            let name = entry.value.get("name");
            let name = name.or_else(|| entry.value.get("external")?.get("name"));
            let name = name.and_then(Node::text).filter(|name| !name.is_empty());
            let name = name.map_or(entry.key.to_owned(), |name| self.variables.fill(name).0);
            self.project.networks.insert(entry.key.to_owned(), name);
        }
        for (key, given) in
            [("secrets", &mut self.project.secrets), ("configs", &mut self.project.configs)]
        {
            for entry in document.get(key).into_iter().flat_map(Node::entries) {
                let path = entry.value.get("file").and_then(Node::text);
                let path = path.map(|path| self.variables.fill(path));
                let path = path.filter(|(_, is_open)| !is_open).map(|(path, _)| folder.join(path));
                given.insert(entry.key.to_owned(), path);
            }
        }
    }

    /// Reads what a file includes, each with paths and variables of its own.
    fn include(&mut self, document: &Node, folder: &Path) {
        let Some(included) = document.get("include") else {
            return;
        };
        for item in included.items() {
            let path = item.get("path").unwrap_or(item);
            let paths = if path.text().is_some() {
                vec![path]
            } else {
                path.items().iter().map(Rc::as_ref).collect()
            };
            let mut files = Vec::new();
            for path in paths {
                let (text, is_open) = self.variables.fill(path.text().unwrap_or_default());
                let file = plain(&folder.join(text));
                if is_open {
                    continue;
                }
                let is_new = self.included.insert(file.clone());
                let comes_round = self.including.contains(&file);
                if comes_round || self.including.len() > INCLUDED_MAX {
                    let how = if comes_round { COMES_ROUND } else { GOES_ON };
                    let message = format!("`include` of `{}` {how}", file.display());
                    self.tell(path.at, message, "let the files include one another one way only");
                } else if is_new && !self.documents(&file, Some(path.at)).is_empty() {
                    files.push(file);
                }
            }
            let own = item.get("project_directory").and_then(Node::text);
            let own = own.map(|own| folder.join(self.variables.fill(own).0));
            let own = own.or_else(|| files.first().map(|file| folder_of(file)));
            self.lay(&files, &own.unwrap_or_default());
        }
    }

    /// A service with what it extends beneath it; none if that comes round.
    fn service(
        &mut self,
        entry: &Entry<'_>,
        file: &Path,
        folder: &Path,
        chain: &mut Vec<Link>,
    ) -> Option<Service> {
        let Some(left) = self.left.checked_sub(entry.value.size()) else {
            let message = format!("its services have more than {VALUES_MAX} values");
            self.tell(entry.at, message, "check the files in parts");
            return None;
        };
        self.left = left;
        let told = &mut self.project.told;
        let own = Reader { variables: &self.variables, folder, told }.service(entry);
        let Some(extends) = entry.value.get("extends") else {
            return Some(own);
        };
        chain.push((file.to_owned(), entry.key.to_owned()));
        let base = self.base(extends, file, folder, chain);
        chain.pop();
        match base {
            Some(base) => Some(base.under(own)),
            None => Some(own),
        }
    }

    /// The service that `extends` names: by a text in the same file, by a map in
    /// any.
    fn base(
        &mut self,
        extends: &Node,
        file: &Path,
        folder: &Path,
        chain: &mut Vec<Link>,
    ) -> Option<Service> {
        let name = extends.get("service").unwrap_or(extends);
        let (name, _) = self.variables.fill(name.text()?);
        let other = extends.get("file").and_then(Node::text).map(|it| self.variables.fill(it));
        let (file, folder) = match other {
            Some((_, true)) => return None,
            Some((other, false)) => {
                let file = plain(&folder.join(other));
                let folder = folder_of(&file);
                (file, folder)
            }
            None => (file.to_owned(), folder.to_owned()),
        };
        let link = (file, name);
        if chain.contains(&link) || chain.len() > EXTENDED_MAX {
            let how = if chain.contains(&link) { COMES_ROUND } else { GOES_ON };
            let message = format!("`extends` of service `{}` {how}", link.1);
            self.tell(extends.at, message, "let services extend one another one way only");
            return None;
        }
        let documents = self.documents(&link.0, Some(extends.at));
        if documents.is_empty() {
            return None;
        }
        let services = documents.iter().filter_map(|document| document.get("services"));
        let found = services.flat_map(Node::entries).find(|entry| entry.key == link.1);
        let Some(found) = found else {
            let (file, name) = (link.0.display(), &link.1);
            let message = format!("`extends` names service `{name}`, which `{file}` does not have");
            self.tell(extends.at, message, "name a service of that file");
            return None;
        };
        self.service(&found, &link.0, &folder, chain)
    }

    /// What a file holds; nothing if it cannot be read, which is told at `by`,
    /// where it is named.
    fn documents(&mut self, file: &Path, by: Option<At>) -> Documents {
        if let Some(documents) = self.read.get(file) {
            return Rc::clone(documents);
        }
        let number = self.project.files.len();
        let documents = if number >= FILES_MAX {
            self.unread(file, by, format!("more than {FILES_MAX} files are named"));
            Documents::default()
        } else {
            self.project.files.push(file.to_owned());
            match surroundings::read_file(file) {
                Ok(text) => match yaml::parse(&text, number) {
                    Ok(documents) => documents.into(),
                    Err(fault) => {
                        self.tell(fault.at, format!("{}: {}", fault.what, fault.why), fault.hint);
                        Documents::default()
                    }
                },
                Err(error) => {
                    self.unread(file, by, format!("the file cannot be read: {error}"));
                    Documents::default()
                }
            }
        };
        self.read.insert(file.to_owned(), Rc::clone(&documents));
        documents
    }

    fn unread(&mut self, file: &Path, by: Option<At>, message: String) {
        let hint = "name a file that exists and that we may read";
        match by {
            Some(at) => self.tell(at, format!("`{}`: {message}", file.display()), hint),
            None => self.project.unread.push(Finding {
                place: Some(Place::File(file.to_owned())),
                severity: Severity::Error,
                message,
                hint: hint.to_owned(),
            }),
        }
    }

    fn tell(&mut self, at: At, message: String, hint: &str) {
        let severity = Severity::Error;
        self.project.told.push(Told { at, severity, message, hint: hint.to_owned() });
    }
}

fn folder_of(file: &Path) -> PathBuf {
    file.parent().map(Path::to_owned).unwrap_or_default()
}

/// Without `.` and, where it is plain what that means, without `..`: so that a
/// file is known again, and shown as a person would write it.
pub(super) fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        let last = plain.components().next_back();
        match component {
            Component::CurDir => {}
            Component::ParentDir if matches!(last, Some(Component::Normal(_))) => {
                plain.pop();
            }
            Component::ParentDir
            | Component::Normal(_)
            | Component::RootDir
            | Component::Prefix(_) => plain.push(component),
        }
    }
    plain
}

/// Files of one project, those that are included or extended among them.
const FILES_MAX: usize = 64;

/// Files that include one another, and services that extend one another.
const INCLUDED_MAX: usize = 16;
const EXTENDED_MAX: usize = 16;

const COMES_ROUND: &str = "comes round to itself";
const GOES_ON: &str = "goes on from one to the next too often";

/// More than one engine runs.
const SERVICES_MAX: usize = 1_000;

/// What services may be made of, counted anew for each that extends another.
const VALUES_MAX: usize = 250_000;
