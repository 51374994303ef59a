//! Lines of limited width.

use super::sanitize::columns;

/// Returns as many characters as fit in `room` columns.
pub fn take(chars: impl Iterator<Item = char>, room: usize) -> String {
    let mut text = String::new();
    let mut used = 0;
    for c in chars {
        used += columns(c.encode_utf8(&mut [0; 4]));
        if used > room {
            break;
        }
        text.push(c);
    }
    text
}

/// Breaks a text at spaces into lines of at most `width` columns. A longer word is a line of its
/// own.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    lines(text.split(' '), width)
}

/// Breaks a text into lines of at most `width` columns: at spaces, and words that are longer where
/// they are.
pub fn wrap_all(text: &str, width: usize) -> Vec<String> {
    let words = text.split(' ').flat_map(|word| pieces(word, width));
    lines(words, width)
}

fn lines<'a>(words: impl Iterator<Item = &'a str>, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in words {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if columns(line) + 1 + columns(word) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Cuts a word into pieces that fill a line; a character wider than a line ends the cutting.
fn pieces(mut word: &str, width: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    while width > 0 && columns(word) > width {
        let head = take(word.chars(), width).len();
        if head == 0 {
            break;
        }
        let (piece, rest) = word.split_at(head);
        pieces.push(piece);
        word = rest;
    }
    pieces.push(word);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_at_spaces_and_long_words_where_they_end() {
        assert_eq!(wrap_all("a bc def", 4), ["a bc", "def"]);
        assert_eq!(wrap_all("abcdefghij k", 4), ["abcd", "efgh", "ij k"]);
        assert_eq!(wrap_all("", 4), [""]);
        for width in 0..30 {
            for line in wrap_all("例例例 /usr/bin/something --with=a lot of words", width) {
                assert!(
                    columns(&line) <= width.max(2) || width < 2,
                    "{width}: {line}"
                );
            }
        }
    }

    #[test]
    fn a_long_word_stays_whole_where_it_is_copied() {
        assert_eq!(wrap("a abcdefghij k", 4), ["a", "abcdefghij", "k"]);
        assert_eq!(wrap("", 4), [""]);
    }
}
