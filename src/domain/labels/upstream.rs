//! Values of labels that say how replicas are spoken to.

use std::sync::Arc;

use rustls::pki_types::ServerName;

use crate::domain::labels::group::Group;
use crate::domain::labels::own::Known;
use crate::domain::labels::schema::Setting;
use crate::domain::labels::value::{self, InvalidValue};
use crate::domain::labels::voice::Voice;
use crate::domain::upstream::{Scheme, Tls, Trust};

/// What the labels `upstream.tls.*` of a group say.
#[derive(Debug, Default)]
pub(super) struct UpstreamTls {
    name: Option<Arc<str>>,
    trust: Trust,
    insecure: bool,
}

impl UpstreamTls {
    pub(super) fn take_name(&mut self, written: &str) -> Result<(), InvalidValue> {
        let written = written.trim().to_ascii_lowercase();
        let fault = |_| InvalidValue::Host {
            entry: written.clone(),
            remedy: "write the name alone, without scheme, port or path",
        };
        ServerName::try_from(written.as_str()).map_err(fault)?;
        self.name = Some(written.into());
        Ok(())
    }

    /// A file that cannot be used leaves nobody to believe, since those of the
    /// system may be the very ones who are not meant.
    pub(super) fn take_ca(
        &mut self,
        written: &str,
        known: &Known<'_>,
        voice: &mut Voice,
    ) -> Result<(), InvalidValue> {
        self.trust = Trust::Nobody;
        let written = written.trim();
        let path = written.strip_prefix("file:").ok_or(InvalidValue::Word { meant: None })?;
        let Some(content) = voice.file(known, path)? else {
            self.trust = Trust::System;
            return Ok(());
        };
        content
            .authorities()
            .map_err(|fault| InvalidValue::Authorities { entry: written.to_owned(), fault })?;
        self.trust = Trust::Authorities(content);
        Ok(())
    }

    pub(super) fn take_insecure(&mut self, written: &str) -> Result<(), InvalidValue> {
        self.insecure = value::boolean(written)?;
        Ok(())
    }

    /// Where replicas are not spoken to by TLS, its labels are told to have no
    /// effect.
    pub(super) fn settle(
        self,
        scheme: Option<Scheme>,
        group: &Group<'_>,
        voice: &mut Voice,
    ) -> Option<Arc<Tls>> {
        if scheme == Some(Scheme::Https) {
            if self.insecure
                && let Some(known) = group.find(Setting::UpstreamTlsCa)
            {
                voice.beside_insecure(known, &group.stem);
            }
            let trust = if self.insecure { Trust::Anyone } else { self.trust };
            let tls = Tls { name: self.name, trust };
            // The scheme is each container's own, and no disagreement of a pool.
            return (tls != Tls::default()).then(|| Arc::new(tls));
        }
        for known in group.labels.iter().filter(|known| known.label.head() == "upstream") {
            voice.without(known, &group.stem, "scheme", "`https`");
        }
        None
    }
}

/// How the container is spoken to; none if that cannot be read. Only what was
/// meant as `http` is then spoken to in plain http: the rest may have been meant
/// to be encrypted.
pub(super) fn scheme(known: &Known<'_>, voice: &mut Voice) -> Result<Option<Scheme>, InvalidValue> {
    match value::scheme(known.own.value) {
        Ok(scheme) => Ok(Some(scheme)),
        Err(fault) if fault == (InvalidValue::Word { meant: Some("http") }) => Err(fault),
        Err(_) => {
            voice.unspoken(known.own);
            Ok(None)
        }
    }
}

/// A check by the gRPC health protocol, which plain http cannot carry, is told
/// of; whether it is one.
pub(super) fn is_unasked(
    path: &str,
    scheme: Option<Scheme>,
    group: &Group<'_>,
    voice: &mut Voice,
) -> bool {
    let unasked = !path.starts_with('/') && scheme == Some(Scheme::Http);
    if unasked && let Some(known) = group.find(Setting::HealthPath) {
        voice.needs_http2(known, &group.stem);
    }
    unasked
}
