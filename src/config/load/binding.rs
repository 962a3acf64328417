//! What is set about ACME in files, or in pairs.

use crate::config::acme::{self, Binding};
use crate::config::layer::Written;
use crate::config::load::{ReadFile, Reader, secret};
use crate::config::mistake::Fault;

/// What is known only once every layer has been read.
#[derive(Debug, Default)]
pub(super) struct AcmeFiles {
    pub(super) authorities: Option<Written>,
    pub(super) key_id: Option<Written>,
    pub(super) key: Option<Written>,
}

impl Reader {
    /// Reads the files that the last layer names.
    pub(super) fn acme(&mut self, read_file: ReadFile<'_>) {
        if let Some(written) = self.acme.authorities.take() {
            match secret(&written, read_file).and_then(|file| acme::authorities(&file)) {
                Ok(authorities) => self.config.acme.authorities = Some(authorities),
                Err(fault) => self.fault(&written, fault),
            }
        }
        match (self.acme.key_id.take(), self.acme.key.take()) {
            (None, None) => {}
            (Some(key_id), Some(key)) => {
                let read = secret(&key, read_file).and_then(|file| acme::binding_key(&file));
                match (acme::key_id(key_id.text.trim()), read) {
                    (Ok(key_id), Ok(key)) => {
                        self.config.acme.binding = Some(Binding { key_id, key });
                    }
                    (id_read, read) => {
                        id_read.err().into_iter().for_each(|it| self.fault(&key_id, it));
                        read.err().into_iter().for_each(|it| self.fault(&key, it));
                    }
                }
            }
            (Some(alone), None) => {
                let hint = "give the file with its key too, as `acme_eab_key_file`";
                self.fault(&alone, Fault::new("has no key beside it", hint));
            }
            (None, Some(alone)) => {
                let hint = "give the id that belongs to it too, as `acme_eab_kid`";
                self.fault(&alone, Fault::new("has no key id beside it", hint));
            }
        }
    }
}
