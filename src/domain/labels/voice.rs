//! How problems of labels are told.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::domain::files::{Content, Files};
use crate::domain::labels::LabelSettings;
use crate::domain::labels::own::{self, Known, Own};
use crate::domain::labels::schema::{self, Setting};
use crate::domain::labels::unknown::Guess;
use crate::domain::labels::value::{self, InvalidValue};
use crate::domain::names::HostPattern;
use crate::domain::problem::{Problem, Subject};
use crate::domain::world::{Place, Workload};

/// Gathers what is wrong with the labels of one workload.
#[derive(Debug)]
pub(super) struct Voice {
    subject: Subject,
    prefix: Arc<str>,
    /// The port that the container gets without a label, for a hint.
    usual_port: Option<String>,
    files: Arc<Files>,
    wanted: BTreeSet<Arc<str>>,
    problems: Vec<Problem>,
}

impl Voice {
    /// Servers that are written down share the labels of their pool, so that
    /// what is wrong with them is told once, of the pool.
    pub(super) fn new(workload: &Workload, settings: &LabelSettings) -> Self {
        let prefix = &settings.prefix;
        let (subject, usual_port) = match &workload.place {
            Place::Container { exposed, .. } => (
                Subject::Container(Arc::clone(&workload.name)),
                exposed.as_deref().and_then(usual_port),
            ),
            Place::Fixed(_) => {
                let named = workload.labels.get(&format!("{prefix}.pool"));
                let name = named.map_or_else(|| Arc::clone(&workload.name), |it| shown(it).into());
                (Subject::Pool(name), None)
            }
        };
        Self {
            subject,
            prefix: Arc::clone(prefix),
            usual_port,
            files: Arc::clone(&settings.files),
            wanted: BTreeSet::new(),
            problems: Vec::new(),
        }
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What was told, and the files that were looked up.
    pub(super) fn finish(self) -> (Vec<Problem>, BTreeSet<Arc<str>>) {
        (self.problems, self.wanted)
    }

    /// The content of the file that a label names; none where nobody can look,
    /// so that it is taken to be in order. What was read once is good until
    /// something else is read, and it is told if that cannot be.
    pub(super) fn file(
        &mut self,
        known: &Known<'_>,
        written: &str,
    ) -> Result<Option<Arc<Content>>, InvalidValue> {
        let entry = || format!("file:{}", written.trim());
        let path = self.files.relative(written);
        let path = path.map_err(|fault| InvalidValue::FilePath { entry: entry(), fault })?;
        if self.wanted.len() >= FILES_MAX && !self.wanted.contains(&path) {
            let fault = format!("its labels name more than {FILES_MAX} files").into();
            return Err(InvalidValue::File { entry: entry(), fault });
        }
        self.wanted.insert(Arc::clone(&path));
        let file = match self.files.get(&path) {
            Some(file) => file.clone(),
            None if self.files.assumed => return Ok(None),
            None => return Err(InvalidValue::Unread),
        };
        match (file.content, file.fault) {
            (Some(content), None) => Ok(Some(content)),
            (Some(content), Some(fault)) => {
                let what =
                    format!("names `{}`, which cannot be read any more: {fault}", shown(&entry()));
                let hint = "put it back; what was read of it last is used until then".to_owned();
                self.tell(known.own, &what, hint);
                Ok(Some(content))
            }
            (None, fault) => {
                let fault = fault.unwrap_or_else(|| "nobody knows why".into());
                Err(InvalidValue::File { entry: entry(), fault })
            }
        }
    }

    /// A fault that leaves the label in use, to this effect.
    pub(super) fn warn(&mut self, known: &Known<'_>, fault: &InvalidValue, effect: &str) {
        let what = format!("has `{}`, which {fault}", shown(fault.entry().unwrap_or_default()));
        let remedy = fault.remedy().unwrap_or_else(|| "mend it".to_owned());
        self.tell(known.own, &what, format!("{remedy}; {effect}"));
    }

    /// A value that cannot be read.
    pub(super) fn invalid(&mut self, known: &Known<'_>, setting: Setting, fault: &InvalidValue) {
        let (label, own) = (known.label, known.own);
        let message = match (fault, fault.entry()) {
            (InvalidValue::Empty, _) => "is empty".to_owned(),
            (_, Some("")) => fault.to_string(),
            (_, Some(entry)) => format!("has `{}`, which {fault}", shown(entry)),
            (_, None) => format!("is `{}`, which {fault}", shown(own.value)),
        };
        let hint = match (fault.remedy(), &self.usual_port) {
            (Some(remedy), _) if label.guard => format!("{remedy}; {CLOSED}"),
            (Some(remedy), _) => remedy,
            (None, _) if label.guard => format!("write {}; {CLOSED}", setting.takes()),
            (None, Some(port)) if setting == Setting::Port => {
                format!("write {}, or leave it out to use {port}", setting.takes())
            }
            (None, _) if label.default.is_empty() => {
                format!("write {}, or leave it out", setting.takes())
            }
            (None, _) => {
                format!(
                    "write {}, or leave it out for the default, {}",
                    setting.takes(),
                    label.default
                )
            }
        };
        self.tell(own, &message, hint);
    }

    /// Two spellings of one label that say different things.
    pub(super) fn contested(&mut self, known: &Known<'_>, other: &str) {
        let effect = if known.label.guard { CLOSED } else { "until then neither is used" };
        let message = format!("is also written as `{}`, with another value", shown(other));
        self.tell(known.own, &message, format!("keep one of them; {effect}"));
    }

    /// Authorities, where nothing is verified.
    pub(super) fn beside_insecure(&mut self, known: &Known<'_>, stem: &str) {
        let other = format!("`{}.upstream.tls.insecure`", shown(stem));
        let hint = format!("remove {other}, so that replicas must prove who they are, or this one");
        self.tell(known.own, &format!("has no effect beside {other}"), hint);
    }

    /// Browsers ask by OPTIONS first, which the rule does not take.
    pub(super) fn without_preflights(&mut self, known: &Known<'_>, stem: &str) {
        let stem = shown(stem);
        let what = format!("gets no preflights, since `{stem}.method` does not list `OPTIONS`");
        let hint = format!("add `OPTIONS` to `{stem}.method`; it is answered here");
        self.tell(known.own, &what, hint);
    }

    /// Credentials for pages of any origin, which no browser sends.
    pub(super) fn any_with_credentials(&mut self, known: &Known<'_>, stem: &str) {
        let stem = shown(stem);
        let what = format!("contradicts `{stem}.cors=*`: browsers refuse both together");
        let hint = format!("list the origins in `{stem}.cors`; until then none is allowed");
        self.tell(known.own, &what, hint);
    }

    /// A label that does nothing where the label `needed` does not say `what`.
    pub(super) fn without(&mut self, known: &Known<'_>, stem: &str, needed: &str, what: &str) {
        let needed = format!("`{}.{needed}`", shown(stem));
        let hint = format!("add {needed} with {what}, or remove it{}", doubt(known.label.guard));
        self.tell(known.own, &format!("has no effect without {needed}"), hint);
    }

    /// TLS, which no listener speaks.
    pub(super) fn no_https(&mut self, known: &Known<'_>) {
        let hint = "start the balancer with `--https :443`, or remove the label where a proxy \
                    before us ends TLS; until then plain http is redirected to where nobody may \
                    listen, unless `redirect_https` is `false`";
        self.tell(known.own, "asks for https, which is not served", hint.to_owned());
    }

    /// Certificates of clients, whose authority nobody has named.
    pub(super) fn no_client_ca(&mut self, known: &Known<'_>) {
        let hint = format!("start the balancer with `--tls-client-ca FILE`; {CLOSED}");
        self.tell(known.own, "needs authorities that vouch for clients, and has none", hint);
    }

    /// A certificate for nobody.
    pub(super) fn no_certified_host(&mut self, known: &Known<'_>, stem: &str) {
        let stem = shown(stem);
        let what = format!("asks for a certificate, and no `{stem}.host` says for whom");
        let hint = format!("add `{stem}.host` with the names of the service, or write `file`");
        self.tell(known.own, &what, hint);
    }

    /// A certificate that no authority gives by the challenges that we can meet.
    pub(super) fn uncertified(&mut self, known: &Known<'_>, host: &HostPattern, why: &str) {
        let host = shown(&host.to_string());
        let what = format!("asks for a certificate for `{host}`, which {why}");
        let hint = "give one by `--tls-cert` or `--tls-dir` and write `file`, or name public hosts \
                    one by one; no authority is asked for this one";
        self.tell(known.own, &what, hint.to_owned());
    }

    /// A scheme that we do not speak.
    pub(super) fn unspoken(&mut self, own: Own<'_>) {
        let message = format!("is `{}`, which is not a scheme that we know", shown(own.value));
        let hint = format!(
            "write {}; until then it gets no requests, since plain http was not asked for",
            Setting::Scheme.takes()
        );
        self.tell(own, &message, hint);
    }

    /// A check that plain http cannot carry.
    pub(super) fn needs_http2(&mut self, known: &Known<'_>, stem: &str) {
        let (value, stem) = (shown(known.own.value), shown(stem));
        let what = format!("is `{value}`, which needs HTTP/2");
        let hint =
            format!("add `{stem}.scheme` with `h2c` or `https`; until then nothing is asked");
        self.tell(known.own, &what, hint);
    }

    /// A key that is none; `stem` stands before what it was meant to be.
    pub(super) fn unknown(&mut self, own: Own<'_>, stem: &str, guess: &Guess) {
        let head = own.key.split('.').next().map(schema::canonical).unwrap_or_default();
        let names_group = own
            .key
            .split_once('.')
            .is_some_and(|(_, rest)| schema::canonical(rest) == "pool" && own::is_reserved(&head));
        let hint = match &guess.meant {
            _ if names_group => format!("name the group otherwise: `{head}` begins other labels"),
            Some(meant) => format!("did you mean `{}.{}`?", shown(stem), shown(meant)),
            None => "see docs/labels.md for the labels there are".to_owned(),
        };
        self.tell(own, "is unknown", format!("{hint}{}", doubt(guess.guard)));
    }

    /// A group that does not say which pool it joins.
    pub(super) fn stray_group(&mut self, first: Own<'_>, group: &str, guard: bool) {
        let (prefix, group) = (&self.prefix, shown(group));
        let message = format!("speaks of a group `{group}`, which joins no pool");
        let hint = format!(
            "add the label `{prefix}.{group}.pool` with the name of a pool, or leave `{group}.` \
             out of the label to speak of the container's own pool{}",
            doubt(guard)
        );
        self.tell(first, &message, hint);
    }

    /// A group whose pool has no usable name joins nothing.
    pub(super) fn no_pool(&mut self, known: &Known<'_>) {
        let message = format!("is `{}`, which is not a pool name", shown(known.own.value));
        let hint = format!("write {}; until then the group joins no pool", Setting::Pool.takes());
        self.tell(known.own, &message, hint);
    }

    /// Neither its service nor its name can name a pool.
    pub(super) fn no_default_pool(&mut self, name: &str) {
        let message = format!("its name `{}` cannot be that of a pool", shown(name));
        let hint = format!("add the label `{}.pool` with the name of a pool", self.prefix);
        self.problems.push(Problem::new(self.subject.clone(), message, hint));
    }

    fn tell(&mut self, own: Own<'_>, what: &str, hint: String) {
        let written = shown(own.written);
        let problem = Problem::new(self.subject.clone(), format!("label `{written}` {what}"), hint);
        self.problems.push(problem.about(written));
    }
}

fn doubt(guard: bool) -> String {
    if guard { format!(" (it may restrict who passes: {CLOSED})") } else { String::new() }
}

fn usual_port(exposed: &[u16]) -> Option<String> {
    let port = value::usual_port(exposed)?;
    Some(match exposed {
        [_] => format!("the only exposed port ({port})"),
        _ => format!("the only usual one of the exposed ports ({port})"),
    })
}

/// What outsiders wrote, fit for a line of a log: short, without control
/// characters.
pub(super) fn shown(text: &str) -> String {
    let mut letters = text.chars();
    let clean = |letter: char| if letter.is_control() { '\u{fffd}' } else { letter };
    let mut shown: String = letters.by_ref().take(SHOWN_MAX).map(clean).collect();
    if letters.next().is_some() {
        shown.push('…');
    }
    shown
}

const CLOSED: &str =
    "until then the pool keeps its last good rule, or answers 503 if there is none";

/// Of one container, so that it leaves room for those of others.
const FILES_MAX: usize = 16;

/// Letters of a value that a problem repeats.
const SHOWN_MAX: usize = 100;
