//! The file of settings, with the place of everything in it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::config::layer::{Layer, Written, WrittenPool};
use crate::config::mistake::{Mistake, Place};
use crate::config::setting::{Arity, Setting};
use crate::config::settings::SETTINGS;
use crate::config::value;
use crate::domain::suggest;

/// Reads all that stands in `text`. A syntax error is one mistake, since
/// nothing after it can be trusted.
pub(super) fn read(file: &Path, text: &str) -> Layer {
    let mut reader = Reader { file, text, layer: Layer::default() };
    match DeTable::parse(text) {
        Ok(table) => reader.table(table.get_ref()),
        Err(error) => {
            reader.layer.is_broken = true;
            let place = reader.place(error.span().unwrap_or_default());
            let message = format!("this is not TOML: {}", first_line(error.message()));
            let hint = if error.message().contains("with a dotted key") {
                "quote the longer key where the shorter one has a value of its own: \
                 `\"hold.max\" = 100`"
            } else {
                "see https://toml.io/en/v1.0.0 for how TOML is written"
            };
            reader.mistake(place, message, hint);
        }
    }
    reader.layer
}

struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    layer: Layer,
}

impl Reader<'_> {
    fn table(&mut self, table: &DeTable<'_>) {
        let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
        for (key, value) in table {
            let name: &str = key.get_ref();
            let place = self.place(key.span());
            if name == POOLS {
                self.pools(value);
                continue;
            }
            let Some(setting) = Setting::named(name) else {
                self.unknown(name, place);
                continue;
            };
            if let Some(other) = seen.insert(setting.name, name) {
                let message = format!("`{name}` sets again what `{other}` sets");
                self.mistake(place, message, "leave one of them out");
            } else if setting.is_in_file() {
                self.setting(setting, name, place, value);
            } else {
                let hint = format!("use --{} or {}", setting.flag(), setting.variable());
                self.mistake(place, format!("`{name}` cannot be set in a file"), hint);
            }
        }
    }

    fn setting(
        &mut self,
        setting: &'static Setting,
        name: &str,
        key_place: Place,
        value: &Spanned<DeValue<'_>>,
    ) {
        if let (Some(array), true) = (value.get_ref().as_array(), setting.is_repeatable()) {
            for item in array {
                self.scalar(setting, name, item);
            }
        } else if value.get_ref().is_table() && setting.arity == Arity::Words {
            let hint = format!("a table of pools is called `{POOLS}`: write `[{POOLS}.NAME]`");
            self.mistake(key_place, format!("`{name}` is a table"), hint);
        } else {
            self.scalar(setting, name, value);
        }
    }

    fn scalar(&mut self, setting: &'static Setting, name: &str, value: &Spanned<DeValue<'_>>) {
        let place = self.place(value.span());
        match scalar(value.get_ref()) {
            Some(text) => self.layer.values.push(Written { setting, text, place }),
            None => {
                let kind = kind(value.get_ref());
                let hint = format!("write `{} = {}`", setting.name, setting.example);
                self.mistake(place, format!("`{name}` is {kind}, not a value"), hint);
            }
        }
    }

    fn unknown(&mut self, name: &str, place: Place) {
        let names = SETTINGS.iter().filter(|setting| setting.is_in_file()).map(|it| it.name);
        let near = suggest::nearest(&name.replace('-', "_"), names.chain([POOLS]));
        let hint = near.map_or_else(
            || "see docs/configuration.md for the settings there are".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        self.mistake(place, format!("`{name}` is not a setting"), hint);
    }

    fn pools(&mut self, value: &Spanned<DeValue<'_>>) {
        let Some(pools) = value.get_ref().as_table() else {
            let place = self.place(value.span());
            self.mistake(place, format!("`{POOLS}` is not a table of pools"), POOLS_HINT);
            return;
        };
        for (key, value) in pools {
            let name: &str = key.get_ref();
            let place = self.place(key.span());
            let Some(table) = value.get_ref().as_table() else {
                self.mistake(place, format!("`{POOLS}.{name}` is not a table"), POOLS_HINT);
                continue;
            };
            match value::pool_name(name) {
                Ok(pool) => {
                    let mut written = WrittenPool {
                        name: pool,
                        place,
                        servers: Vec::new(),
                        labels: BTreeMap::new(),
                    };
                    self.pool(&mut written, "", table);
                    self.layer.pools.push(written);
                }
                Err(fault) => self.layer.mistakes.push(Mistake::of(place, POOLS, name, fault)),
            }
        }
    }

    /// Reads one table of a pool: nested keys become dotted ones.
    fn pool(&mut self, pool: &mut WrittenPool, above: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let dotted = format!("{above}{}", key.get_ref());
            if dotted == SERVERS {
                self.servers(pool, value);
                continue;
            }
            if let Some(nested) = value.get_ref().as_table() {
                self.pool(pool, &format!("{dotted}."), nested);
                continue;
            }
            let place = self.place(key.span());
            let text = match value.get_ref().as_array() {
                Some(items) => joined(items),
                None => scalar(value.get_ref()),
            };
            let Some(text) = text else {
                let message =
                    format!("`{POOLS}.{}.{dotted}` is {}", pool.name, kind(value.get_ref()));
                self.mistake(place, message, "write a text in quotes, or a list of them");
                continue;
            };
            if pool.labels.insert(dotted.clone(), (text, place.clone())).is_some() {
                let message = format!("`{POOLS}.{}.{dotted}` is written twice", pool.name);
                self.mistake(place, message, "leave one of them out");
            }
        }
    }

    fn servers(&mut self, pool: &mut WrittenPool, value: &Spanned<DeValue<'_>>) {
        let whole = [value];
        let items: Vec<&Spanned<DeValue<'_>>> = match value.get_ref().as_array() {
            Some(items) => items.iter().collect(),
            None => whole.to_vec(),
        };
        for item in items {
            let place = self.place(item.span());
            match item.get_ref().as_str() {
                Some(text) => pool.servers.push((text.to_owned(), place)),
                None => {
                    let kind = kind(item.get_ref());
                    let message = format!("`{POOLS}.{}.{SERVERS}` has {kind} in it", pool.name);
                    self.mistake(place, message, POOLS_HINT);
                }
            }
        }
    }

    fn place(&self, span: Range<usize>) -> Place {
        Place::at(self.file, self.text, span.start)
    }

    fn mistake(&mut self, place: Place, message: String, hint: impl Into<String>) {
        self.layer.mistakes.push(Mistake::new(place, message, hint));
    }
}

/// The text of a single value; none for dates, lists and tables.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.clone().into_owned()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// A list as a label writes it; none if something in it is no single value.
fn joined(items: &DeArray<'_>) -> Option<String> {
    let texts: Option<Vec<String>> = items.iter().map(|item| scalar(item.get_ref())).collect();
    texts.map(|texts| texts.join(","))
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

const POOLS: &str = "pools";

const SERVERS: &str = "servers";

const POOLS_HINT: &str = "write `[pools.NAME]` with `servers = [\"HOST:PORT\"]` below it";
