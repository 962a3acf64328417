//! What one layer of settings says, before it is known what that means.

use std::collections::BTreeMap;

use crate::config::mistake::{Mistake, Place};
use crate::config::setting::{Arity, Setting, VARIABLE_PREFIX};
use crate::config::settings::{Key, SETTINGS};
use crate::config::value;
use crate::domain::names::PoolName;
use crate::domain::suggest;

/// Everything written in one layer.
#[derive(Debug, Default)]
pub(super) struct Layer {
    pub(super) values: Vec<Written>,
    pub(super) pools: Vec<WrittenPool>,
    pub(super) mistakes: Vec<Mistake>,
    /// Nothing in it could be read, so that anything might have stood there.
    pub(super) is_broken: bool,
}

/// One value of one setting.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) setting: &'static Setting,
    pub(super) text: String,
    pub(super) place: Place,
}

/// A pool as it was written.
#[derive(Clone, Debug)]
pub(super) struct WrittenPool {
    pub(super) name: PoolName,
    pub(super) place: Place,
    /// Each with where it stands; one text may hold several.
    pub(super) servers: Vec<(String, Place)>,
    /// By dotted key, without a prefix.
    pub(super) labels: BTreeMap<String, (String, Place)>,
}

/// Flags as they were typed.
pub(super) fn of_flags(flags: &[(Key, String)]) -> Layer {
    let mut layer = Layer::default();
    for (key, text) in flags {
        for setting in SETTINGS.iter().filter(|setting| setting.key == *key) {
            let place = Place::Flag(setting.flag());
            layer.values.push(Written { setting, text: text.clone(), place });
        }
    }
    layer
}

/// Our variables. An empty one says nothing, since compose files write
/// `${X:-}` for what may be absent.
pub(super) fn of_environment(env: &BTreeMap<String, String>) -> Layer {
    let mut layer = Layer::default();
    let ours = env
        .iter()
        .filter(|(name, text)| name.starts_with(VARIABLE_PREFIX) && !text.trim().is_empty());
    for (name, text) in ours {
        layer.variable(name, text);
    }
    layer
}

impl Layer {
    /// What names the file of settings.
    pub(super) fn named_file(&self) -> Option<&Written> {
        self.values.iter().rfind(|written| written.setting.key == Key::Config)
    }

    fn variable(&mut self, name: &str, text: &str) {
        let place = Place::Variable(name.to_owned());
        // Nothing that can be set holds this character, which stands for bytes
        // that are no UTF-8.
        if text.contains(char::REPLACEMENT_CHARACTER) {
            let message = format!("`{name}` is not valid UTF-8");
            self.mistakes.push(Mistake::new(place, message, "write it in UTF-8"));
            return;
        }
        if let Some(setting) = SETTINGS.iter().find(|setting| setting.variable() == name) {
            let texts: Vec<&str> = match setting.arity {
                Arity::One | Arity::List => vec![text],
                Arity::Words => text.split_whitespace().collect(),
            };
            self.values.extend(texts.into_iter().map(|text| Written {
                setting,
                text: text.to_owned(),
                place: place.clone(),
            }));
        } else if let Some(pool) = name.strip_prefix(POOL_VARIABLE_PREFIX) {
            self.pool_variable(pool, name, text, place);
        } else {
            self.mistakes.push(unknown_variable(name, place));
        }
    }

    fn pool_variable(&mut self, pool: &str, name: &str, text: &str, place: Place) {
        match value::pool_name(&pool.to_ascii_lowercase().replace('_', "-")) {
            Ok(pool) => self.pools.push(WrittenPool {
                name: pool,
                place: place.clone(),
                servers: vec![(text.to_owned(), place)],
                labels: BTreeMap::new(),
            }),
            Err(fault) => self.mistakes.push(Mistake::of(place, name, text, fault)),
        }
    }
}

fn unknown_variable(name: &str, place: Place) -> Mistake {
    let known: Vec<String> = SETTINGS.iter().map(Setting::variable).collect();
    // Only what follows the common prefix is compared, which would make
    // everything alike.
    let bare = |name: &str| name.strip_prefix(VARIABLE_PREFIX).map(str::to_owned);
    let given = bare(name).unwrap_or_default();
    let near =
        suggest::nearest(&given, known.iter().filter_map(|it| it.strip_prefix(VARIABLE_PREFIX)));
    let hint = near.map_or_else(
        || "see `evenkeel --help` for the variables there are, and unset this one".to_owned(),
        |near| format!("did you mean `{VARIABLE_PREFIX}{near}`?"),
    );
    Mistake::new(place, format!("`{name}` is not a setting"), hint)
}

/// `EVENKEEL_POOL_MY_API` names the pool `my-api`.
const POOL_VARIABLE_PREFIX: &str = "EVENKEEL_POOL_";
