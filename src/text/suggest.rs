//! Suggests the word that was probably meant in place of an unknown one.

use std::fmt;

/// A word that is none of those that can be; says what can be, and what was perhaps meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownWord(pub(crate) String);

impl UnknownWord {
    /// `word` was read where `what` can be one of `known`.
    pub fn new(what: &str, word: &str, known: &[&str]) -> Self {
        Self(match nearest(word, known) {
            Some(near) => format!("no {what} is called {word:?}; did you mean {near:?}?"),
            None => format!("no {what} is called {word:?}; there are {}", list(known)),
        })
    }
}

impl fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UnknownWord {}

fn list(words: &[&str]) -> String {
    match words {
        [] => "none".to_owned(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// The known word that is closest to `word`, if any is close: at most a third of its letters
/// differ, two neighbours that changed places being one difference. Of equals the one with the same
/// beginning.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase();
    let most = (word.chars().count() / 3).max(1);
    known
        .iter()
        .map(|&near| {
            let other_start = near.chars().next() != word.chars().next();
            (distance(&word, near), other_start, near)
        })
        .filter(|(distance, ..)| *distance <= most)
        .min()
        .map(|(.., near)| near)
}

/// Letters to insert, remove, change or swap with their neighbour to get from one to the other.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + change);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn swapped_neighbours_are_one_difference() {
        assert_eq!(distance("", ""), 0);
        assert_eq!(distance("abc", "acb"), 1);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("ab", "abcd"), 2);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
