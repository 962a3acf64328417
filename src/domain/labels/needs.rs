//! Labels that say more about another one, and have no effect without it.

use crate::domain::labels::group::Group;
use crate::domain::labels::schema;
use crate::domain::labels::voice::Voice;

/// Tells of those that stand alone. True if one of them is a guard, whose route
/// must close.
pub(super) fn settle(group: &Group<'_>, voice: &mut Voice) -> bool {
    let mut closed = false;
    for known in &group.labels {
        let need = NEEDS.iter().find(|(above, _)| known.label.key.starts_with(above));
        let Some((_, needed)) = need else { continue };
        if group.labels.iter().any(|other| other.label.key == *needed) {
            continue;
        }
        let what = schema::find(needed).map_or("", |(label, _)| label.setting.takes());
        voice.without(known, &group.stem, needed, what);
        closed |= known.label.guard;
    }
    closed
}

/// How labels begin that need another one, and that one.
const NEEDS: &[(&str, &str)] = &[
    ("health.", "health.path"),
    ("compress.", "compress"),
    ("cors.", "cors"),
    ("redirect.", "redirect"),
    ("rate.", "rate"),
    ("auth.forward.", "auth.forward"),
    ("error_page.", "error_page"),
    ("tls.", "tls"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_needed_is_a_label_and_so_is_whoever_needs_it() {
        let keys = || schema::LABELS.iter().map(|label| label.key);
        for (above, needed) in NEEDS {
            assert!(keys().any(|key| key == *needed), "{needed}");
            assert!(keys().any(|key| key.starts_with(above) && key != *needed), "{above}");
        }
    }
}
