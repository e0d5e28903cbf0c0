//! What is wrong with a configuration, and where.
//!
//! Guarantees: every refusal has a place, says what is wrong and says what to write instead; they are in the order of
//! the file. Never: stops at the first refusal, or prints anything itself.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why there is no [`Config`](super::Config).
#[derive(Debug, thiserror::Error)]
pub enum ConfigErrors {
    /// The file cannot be read as text: mend its path, its permissions or its encoding.
    #[error("{}: cannot be read: {source}\n  hint: give the path of a readable UTF-8 file of at most 16 MiB", path.display())]
    Unreadable {
        /// The path as it was given.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The text is refused: mend each place as its hint says.
    #[error("{}", join(.0))]
    Refused(Vec<Refusal>),
}

impl ConfigErrors {
    /// The refusals in the order of the file; empty when there was no text to judge.
    pub fn refusals(&self) -> &[Refusal] {
        match self {
            ConfigErrors::Unreadable { .. } => &[],
            ConfigErrors::Refused(refusals) => refusals,
        }
    }
}

fn join(refusals: &[Refusal]) -> String {
    refusals.iter().map(Refusal::to_string).collect::<Vec<_>>().join("\n")
}

/// One thing that is wrong. Displayed as `file:line:column: key: message`, then the hint on a line of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Name of the file.
    pub file: String,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// Path of the key, such as `interface.realm`; empty when the text is not TOML.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}\n  hint: {}", self.message, self.hint)
    }
}

/// What a value's text is refused for, before its place is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub message: String,
    pub hint: String,
}

impl Wrong {
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Wrong {
        Wrong { message: message.into(), hint: hint.into() }
    }
}

/// Where a value stands in the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Path of the section, empty for the file itself.
    pub section: &'static str,
    /// Key in the section, empty for the section itself.
    pub key: &'static str,
    /// Bytes before it.
    pub offset: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dot = if self.section.is_empty() || self.key.is_empty() { "" } else { "." };
        write!(f, "{}{dot}{}", self.section, self.key)
    }
}

/// Collects refusals and warnings while a text is judged.
#[derive(Debug)]
pub(super) struct Report<'a> {
    file: &'a str,
    text: &'a str,
    refusals: RefCell<Vec<(usize, Refusal)>>,
    warnings: RefCell<Vec<String>>,
}

impl<'a> Report<'a> {
    pub fn new(file: &'a str, text: &'a str) -> Report<'a> {
        Report { file, text, refusals: RefCell::default(), warnings: RefCell::default() }
    }

    /// Refuses what stands at `place`.
    pub fn refuse(&self, place: Place, message: impl Into<String>, hint: impl Into<String>) {
        self.refuse_key(place.offset, place.to_string(), message, hint);
    }

    /// Refuses a key that is not one of ours, or a text without keys.
    pub fn refuse_key(
        &self,
        offset: usize,
        key: String,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let (line, column) = position(self.text, offset);
        let refusal =
            Refusal { file: self.file.into(), line, column, key, message: message.into(), hint: hint.into() };
        self.refusals.borrow_mut().push((offset, refusal));
    }

    /// Accepts what stands at `place`, and yet says something about it.
    pub fn warn(&self, place: Place, message: impl fmt::Display) {
        let (line, column) = position(self.text, place.offset);
        self.warnings.borrow_mut().push(format!("{}:{line}:{column}: {place}: {message}", self.file));
    }

    /// Whether nothing was refused so far.
    pub fn is_clean(&self) -> bool {
        self.refusals.borrow().is_empty()
    }

    pub fn into_warnings(self) -> Vec<String> {
        self.warnings.into_inner()
    }

    pub fn into_errors(self) -> ConfigErrors {
        let mut refusals = self.refusals.into_inner();
        refusals.sort_by_key(|(offset, _)| *offset);
        ConfigErrors::Refused(refusals.into_iter().map(|(_, refusal)| refusal).collect())
    }
}

/// Line and column (in characters) of the byte at `offset`, both counted from 1. An offset past the end is the end.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
    let is_start_of_character = |byte: &&u8| **byte & 0xc0 != 0x80;
    (line, before[line_start..].iter().filter(is_start_of_character).count() + 1)
}

/// The one of `known` that `word` was meant to be: the nearest by edit distance, if it is near.
pub(super) fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.chars().take(33).collect();
    let near = (word.len() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|candidate| (edit_distance(&word, &candidate.chars().collect::<Vec<_>>()), candidate))
        .filter(|(distance, candidate)| *distance <= near && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, removals, replacements and exchanges of neighbours that lead from `a` to `b` (optimal string alignment).
fn edit_distance(a: &[char], b: &[char]) -> usize {
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        rows[i][0] = i;
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            rows[i][j] = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                rows[i][j] = rows[i][j].min(rows[i - 2][j - 2] + 1);
            }
        }
    }
    rows[a.len()][b.len()]
}

/// `"a", "b"`: the words, each in quotes.
pub(super) fn quoted<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}

/// A hint that names what there is, and what was probably meant: `the realms are "a", "b"; did you mean "a"?`.
pub(super) fn one_of(what: &str, word: &str, known: &[&str]) -> String {
    let meant = closest(word, known.iter().copied());
    let meant = meant.map(|meant| format!("; did you mean \"{meant}\"?")).unwrap_or_default();
    format!("{what} {}{meant}", quoted(known.iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_from_one() {
        let text = "a\nµb = 1";
        assert_eq!(position(text, 0), (1, 1));
        assert_eq!(position(text, 2), (2, 1));
        assert_eq!(position(text, 4), (2, 2), "µ is two bytes and one character");
        assert_eq!(position(text, 1000), (2, 7));
        assert_eq!(position("", 0), (1, 1));
    }

    #[test]
    fn the_closest_word_is_near_or_none() {
        let known = ["realm", "port", "name", "mac"];
        assert_eq!(closest("relm", known), Some("realm"));
        assert_eq!(closest("raelm", known), Some("realm"), "two neighbours exchanged");
        assert_eq!(closest("prot", known), Some("port"));
        assert_eq!(closest("address", known), None);
        assert_eq!(closest("x", ["y"]), None, "nothing of the word is left");
        assert_eq!(closest("", known), None);
    }

    #[test]
    fn edit_distances() {
        let distance =
            |a: &str, b: &str| edit_distance(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>());
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("ab", "ba"), 1);
        assert_eq!(distance("same", "same"), 0);
    }
}
