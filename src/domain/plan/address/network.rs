//! Which of its networks a container is reached on.

use std::net::IpAddr;
use std::sync::Arc;

use crate::domain::labels::Membership;
use crate::domain::plan::address::{Holder, Reach, Surroundings, Teller};
use crate::domain::suggest;
use crate::domain::world::Attachment;

/// The address on the network that `wish` names, else on one that we share. Of
/// several it is the one that is `known`; else IPv4 comes before IPv6, then the
/// name decides.
pub(super) fn choose(
    from: &Surroundings<'_>,
    holder: Holder<'_>,
    wish: &Membership,
    known: &dyn Fn() -> Option<IpAddr>,
    teller: &mut Teller<'_>,
) -> Option<IpAddr> {
    let first = |networks: &mut dyn Iterator<Item = &Attachment>| first(networks, known);
    let reached: Vec<_> = holder.networks.iter().filter(|it| from.reaches(it)).collect();
    let Some(wanted) = &wish.network else {
        let ip = first(&mut reached.iter().copied());
        if ip.is_none() {
            from.tell_unreached(holder, &reached, None, wish, teller);
        }
        return ip;
    };
    let named: Vec<_> = holder.networks.iter().filter(|it| is_named(it, wanted, holder)).collect();
    let ip = first(&mut named.iter().copied().filter(|it| from.reaches(it)));
    if ip.is_some() {
        return ip;
    }
    match named.first() {
        Some(network) => from.tell_unreached(holder, &reached, Some(network), wish, teller),
        None => tell_no_such(holder, wanted, wish, teller),
    }
    first(&mut reached.iter().copied())
}

impl Surroundings<'_> {
    fn reaches(&self, attachment: &Attachment) -> bool {
        match &self.reach {
            Reach::Host { .. } => true,
            Reach::Networks { ids, .. } => ids.contains(&*attachment.network),
        }
    }

    /// Says why there is no address on `wanted`, or on any network, and gives
    /// the command that mends it.
    fn tell_unreached(
        &self,
        holder: Holder<'_>,
        reached: &[&Attachment],
        wanted: Option<&Attachment>,
        wish: &Membership,
        teller: &mut Teller<'_>,
    ) {
        let waiting = match wanted {
            Some(network) => self.reaches(network).then_some(network),
            None => reached.first().copied(),
        };
        if waiting.is_some() {
            // It is about to get its address, or has just lost it by stopping.
            return;
        }
        let Reach::Networks { name: us, networks: ours, .. } = &self.reach else {
            return teller.tell(
                "it is on no network".to_owned(),
                format!("run `docker network connect bridge {}`", word(holder.name)),
            );
        };
        let target = wanted.or_else(|| holder.networks.iter().min_by_key(|it| &it.name));
        match (target, ours.first()) {
            (Some(theirs), _) => {
                let hint = format!(
                    "run `docker network connect {} {}`, and add that network to the balancer's \
                     service to keep it so",
                    word(&theirs.name),
                    word(us)
                );
                match wanted {
                    Some(_) => teller.tell_of(
                        &format!("{}.network", wish.stem),
                        &format!("is `{}`, where the balancer is not", theirs.name),
                        hint,
                    ),
                    None => teller.tell(
                        format!("it shares no network with the balancer; {}", on(holder)),
                        hint,
                    ),
                }
            }
            (None, Some(ours)) => teller.tell(
                "it is on no network".to_owned(),
                format!("run `docker network connect {} {}`", word(&ours.name), word(holder.name)),
            ),
            (None, None) => teller.tell(
                "neither it nor the balancer is on any network".to_owned(),
                "put both on one network".to_owned(),
            ),
        }
    }
}

fn tell_no_such(holder: Holder<'_>, wanted: &str, wish: &Membership, teller: &mut Teller<'_>) {
    let names = || holder.networks.iter().map(|it| &*it.name);
    let guess = (wanted.len() <= NAME_BYTES_MAX).then(|| suggest::nearest(wanted, names()));
    let hint = match guess.flatten() {
        Some(name) => format!("did you mean `{name}`?"),
        None => "write the name of one of its networks, or leave the label out".to_owned(),
    };
    let label = format!("{}.network", wish.stem);
    let shown: String = wanted.chars().take(NAME_BYTES_MAX).collect();
    let message = format!("is `{shown}`, a network that the container is not on; {}", on(holder));
    teller.tell_of(&label, &message, hint);
}

/// Compose puts the project's name before the one in the file.
fn is_named(attachment: &Attachment, wanted: &str, holder: Holder<'_>) -> bool {
    let in_project = |project: &str| {
        let rest = attachment.name.strip_prefix(project).and_then(|it| it.strip_prefix('_'));
        rest == Some(wanted)
    };
    *attachment.name == *wanted || holder.project.is_some_and(in_project)
}

fn first(
    networks: &mut dyn Iterator<Item = &Attachment>,
    known: &dyn Fn() -> Option<IpAddr>,
) -> Option<IpAddr> {
    let mut addressed: Vec<_> = networks.filter_map(|it| Some((it.address?, it))).collect();
    addressed.sort_unstable_by_key(|(ip, it)| (ip.is_ipv6(), *it));
    let same = |known: IpAddr| addressed.iter().any(|&(ip, _)| ip == known).then_some(known);
    match addressed.as_slice() {
        [] => None,
        [(only, _)] => Some(*only),
        [(first, _), ..] => known().and_then(same).or(Some(*first)),
    }
}

fn on(holder: Holder<'_>) -> String {
    let mut names: Vec<&Arc<str>> = holder.networks.iter().map(|it| &it.name).collect();
    names.sort_unstable();
    names.dedup();
    let shown: Vec<_> = names.iter().take(NETWORKS_SHOWN).map(|name| format!("`{name}`")).collect();
    match (shown.is_empty(), names.len() > NETWORKS_SHOWN) {
        (true, _) => "it is on none".to_owned(),
        (false, false) => format!("it is on {}", shown.join(", ")),
        (false, true) => format!("it is on {} and more", shown.join(", ")),
    }
}

/// A name as one word of a shell, since people copy what we print.
pub(super) fn word(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match name.chars().all(plain) {
        true => name.to_owned(),
        false => format!("'{}'", name.replace('\'', r"'\''")),
    }
}

const NETWORKS_SHOWN: usize = 5;

const NAME_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_to_copy_holds_names_as_words() {
        assert_eq!(word("shop_default"), "shop_default");
        assert_eq!(word("a; rm -rf '/'"), r"'a; rm -rf '\''/'\'''");
    }
}
