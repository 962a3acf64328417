//! Which pool each label of a container speaks of.

use std::collections::BTreeMap;

use crate::domain::labels::own::{Known, Own, is_reserved};
use crate::domain::labels::schema::{self, Label, Setting};
use crate::domain::labels::unknown::{self, Guess};
use crate::domain::labels::voice::Voice;

/// The labels that speak of one pool.
#[derive(Debug, Default)]
pub(super) struct Group<'a> {
    /// Before the labels of this group: `lb`, `lb.admin`.
    pub(super) stem: String,
    pub(super) labels: Vec<Known<'a>>,
    /// A label was found that may have been meant to restrict who passes.
    pub(super) doubted: bool,
}

/// All labels of one container.
#[derive(Debug, Default)]
pub(super) struct Groups<'a> {
    pub(super) default: Group<'a>,
    /// By name; each has its `.pool`.
    pub(super) further: BTreeMap<String, Group<'a>>,
    /// Groups without a `.pool`, with the first label of each and whether any
    /// of them is a guard.
    strays: BTreeMap<String, (Own<'a>, bool)>,
}

impl<'a> Groups<'a> {
    pub(super) fn sort(own: &[Own<'a>], voice: &mut Voice) -> Self {
        let mut groups = Self::default();
        groups.default.stem = voice.prefix().to_owned();
        for label in own {
            if let Some(name) = group_named(label.key) {
                let stem = format!("{}.{name}", voice.prefix());
                let group = Group { stem, ..Group::default() };
                groups.further.insert(schema::canonical(name), group);
            }
        }
        for label in own {
            groups.add(*label, voice);
        }
        groups
    }

    /// Tells of groups without a `.pool`. True if one has a guard: it may have
    /// been meant for the container's own pool, which must not be more open then.
    pub(super) fn settle_strays(&mut self, voice: &mut Voice) -> bool {
        let mut doubted = false;
        for (name, (first, guard)) in std::mem::take(&mut self.strays) {
            doubted |= guard;
            voice.stray_group(first, &name, guard);
        }
        doubted
    }

    fn add(&mut self, own: Own<'a>, voice: &mut Voice) {
        if let Some((label, name)) = schema::find(own.key) {
            return self.default.push(label, name, own);
        }
        let (head, tail) = own.key.split_once('.').unwrap_or((own.key, ""));
        let head = schema::canonical(head);
        if let Some(group) = self.further.get_mut(&head) {
            match schema::find(tail) {
                Some((label, name)) => group.push(label, name, own),
                None => {
                    let guess = unknown::guess(tail);
                    group.doubted |= guess.guard;
                    voice.unknown(own, &group.stem, &guess);
                }
            }
            return;
        }
        let guess = unknown::guess(own.key);
        let may_stray = guess.meant.is_none() && !tail.is_empty() && !is_reserved(&head);
        if may_stray && self.add_stray(own, &head, tail, voice) {
            return;
        }
        self.default.doubted |= guess.guard;
        voice.unknown(own, &self.default.stem, &guess);
    }

    /// Takes `own` as the label of a group that is not known; false if it is
    /// none.
    fn add_stray(&mut self, own: Own<'a>, head: &str, tail: &str, voice: &mut Voice) -> bool {
        let known = schema::find(tail).map(|(label, _)| label);
        let near = || unknown::nearest(&schema::canonical(tail), |_| true);
        let Some(label) = known.or_else(near) else {
            return false;
        };
        match self.near(head) {
            Some(group) => {
                group.doubted |= label.guard;
                let guess = Guess { meant: Some(label.key.to_owned()), guard: label.guard };
                voice.unknown(own, &group.stem, &guess);
            }
            None => {
                let stray = self.strays.entry(head.to_owned()).or_insert((own, false));
                stray.1 |= label.guard;
            }
        }
        true
    }

    fn near(&mut self, head: &str) -> Option<&mut Group<'a>> {
        let name = unknown::near(head, self.further.keys().map(String::as_str))?.to_owned();
        self.further.get_mut(&name)
    }
}

impl<'a> Group<'a> {
    pub(super) fn find(&self, setting: Setting) -> Option<&Known<'a>> {
        self.labels.iter().find(|known| known.label.setting == setting)
    }

    fn push(&mut self, label: &'static Label, name: &'a str, own: Own<'a>) {
        let same =
            |it: &&mut Known<'_>| it.label.key == label.key && label.is_one_name(it.name, name);
        match self.labels.iter_mut().find(same) {
            Some(first) if first.own.value.trim() != own.value.trim() => {
                first.contested = Some(own.written);
            }
            Some(_) => {}
            None => self.labels.push(Known { label, own, name, contested: None }),
        }
    }
}

/// The group that `admin.pool` declares.
fn group_named(key: &str) -> Option<&str> {
    let (name, rest) = key.split_once('.')?;
    let declares = schema::canonical(rest) == "pool" && !name.is_empty();
    (declares && !is_reserved(&schema::canonical(name))).then_some(name)
}
