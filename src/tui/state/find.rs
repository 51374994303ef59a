//! Words to find in rows. Finding marks rows and moves the selection; it never removes a row.

/// The words to find.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Find {
    text: String,
    /// Words of the text, in lower case.
    words: Vec<String>,
}

impl Find {
    pub fn new(text: &str) -> Self {
        Self {
            text: text.trim().to_owned(),
            words: text.split_whitespace().map(str::to_lowercase).collect(),
        }
    }

    /// The text as it was typed. Not sanitized.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether there are no words to find.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The words, in lower case.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// Whether every word is in a text of lower case; false without words.
    pub fn matches(&self, text: &str) -> bool {
        !self.is_empty() && self.words.iter().all(|word| text.contains(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_must_be_there_in_any_order_and_case() {
        let find = Find::new("  HTTPS nginx ");
        assert!(find.matches("tcp nginx web-01:https"));
        assert!(!find.matches("tcp nginx web-01:http"));
        assert!(!Find::new(" ").matches("nginx"));
    }
}
