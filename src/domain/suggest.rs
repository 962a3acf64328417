//! "Did you mean …?"

/// The candidate nearest to `given`, if it is near enough to be meant: at most
/// a third of its letters differ, swaps of neighbours counting as one.
pub fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_ascii_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (distance(&given, &candidate.to_ascii_lowercase()), candidate))
        .min_by_key(|&(distance, _)| distance)
        .filter(|&(distance, candidate)| distance * 3 <= candidate.chars().count().max(3))
        .map(|(_, candidate)| candidate)
}

/// Edits between two words: the optimal string alignment distance.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (row, letter) in from.iter().enumerate() {
        let mut next = vec![row + 1];
        for (column, other) in to.iter().enumerate() {
            let at =
                |cells: &[usize], place: usize| cells.get(place).copied().unwrap_or(usize::MAX);
            let replaced = at(&last, column) + usize::from(letter != other);
            let mut best = replaced.min(at(&last, column + 1) + 1).min(at(&next, column) + 1);
            let swapped = row > 0
                && column > 0
                && Some(letter) == to.get(column - 1)
                && from.get(row - 1) == Some(other);
            if swapped {
                best = best.min(at(&before, column - 1) + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut last, next);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_finger_are_recognised() {
        let keys = ["port", "path", "path.exact", "priority", "weight"];
        for (given, meant) in [("prot", "port"), ("wieght", "weight"), ("Priorty", "priority")] {
            assert_eq!(nearest(given, keys), Some(meant), "{given}");
        }
    }

    #[test]
    fn a_word_of_its_own_is_left_alone() {
        assert_eq!(nearest("healthcheck", ["port", "path", "weight"]), None);
        assert_eq!(nearest("anything", []), None);
    }
}
