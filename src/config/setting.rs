//! What one setting is, and how its name is spelled where it can be given.

use crate::config::settings::{Key, SETTINGS};

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub key: Key,
    /// As in the file: `label_prefix`. Flag and variable are spelled after it.
    pub name: &'static str,
    pub arity: Arity,
    /// What stands for the value in the help: `ADDR`.
    pub value: &'static str,
    pub absent: Absent,
    /// One line, without a full stop.
    pub help: &'static str,
    /// What else is worth knowing: whole sentences.
    pub more: &'static str,
    /// A value as it is written in the file; empty if it cannot stand there.
    pub example: &'static str,
}

/// How many values a setting takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Arity {
    One,
    /// Several, separated by commas or spaces; the flag may be repeated too.
    List,
    /// Several that may contain commas: one for each flag, separated by spaces
    /// in the variable.
    Words,
}

/// What holds when a setting is not given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Absent {
    /// The same as if this were given.
    Value(&'static str),
    /// Something that no value says.
    Meaning(&'static str),
}

impl Setting {
    /// The setting of this name; `-` and `_` are the same.
    pub fn named(name: &str) -> Option<&'static Self> {
        let name = name.replace('-', "_");
        SETTINGS.iter().find(|setting| setting.name == name)
    }

    /// `label-prefix`: what stands after the two dashes.
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// `EVENKEEL_LABEL_PREFIX`.
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.name.to_ascii_uppercase())
    }

    pub fn is_repeatable(&self) -> bool {
        self.arity != Arity::One
    }

    /// Whether the file may set it: all but the file's own name.
    pub fn is_in_file(&self) -> bool {
        self.key != Key::Config
    }
}

impl Absent {
    pub fn text(self) -> &'static str {
        match self {
            Self::Value(text) | Self::Meaning(text) => text,
        }
    }
}

/// What every variable of ours begins with.
pub(super) const VARIABLE_PREFIX: &str = "EVENKEEL_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_flag_one_variable_and_one_key() {
        let prefix = Setting::named("label-prefix").unwrap();
        assert_eq!(prefix.flag(), "label-prefix");
        assert_eq!(prefix.variable(), "EVENKEEL_LABEL_PREFIX");
        assert_eq!(prefix.name, "label_prefix");
    }
}
