//! Reads sections of a TOML document key by key.
//!
//! Guarantees: a key that nobody asked for is refused, so asking for the keys is the schema, written once; a value of
//! the wrong type or out of range is refused where it stands and never seen by the caller. Never: stops at the first
//! refusal, or judges a value by another one.

use std::ops::RangeInclusive;

use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Place, Report, Wrong, closest, quoted};

/// A value and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Located<T> {
    pub value: T,
    pub place: Place,
}

type Entry<'a> = &'a Spanned<DeValue<'a>>;

/// A table of the document, while its keys are asked for.
#[derive(Debug)]
pub(super) struct Section<'a> {
    report: &'a Report<'a>,
    path: &'static str,
    offset: usize,
    /// `None` stands for a section that the file does not have, or has as something else.
    table: Option<&'a DeTable<'a>>,
    is_written: bool,
    asked: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// The document itself: its keys are the sections.
    pub fn document(report: &'a Report<'a>, table: &'a DeTable<'a>) -> Section<'a> {
        Section { report, path: "", offset: 0, table: Some(table), is_written: true, asked: Vec::new() }
    }

    /// Where the section begins.
    pub fn place(&self) -> Place {
        Place { section: self.path, key: "", offset: self.offset }
    }

    /// Whether the file has this section, rightly or wrongly.
    pub fn is_written(&self) -> bool {
        self.is_written
    }

    /// Whether `key` is written, rightly or wrongly. Doesn't ask for it.
    pub fn contains(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Whether `key` is written as a whole number, right or wrong. Doesn't ask for it.
    pub fn is_integer(&self, key: &str) -> bool {
        self.value(key).is_some_and(|value| matches!(value, DeValue::Integer(_)))
    }

    /// Whether `key` is written as a list, right or wrong. Doesn't ask for it.
    pub fn is_list(&self, key: &str) -> bool {
        self.value(key).is_some_and(|value| matches!(value, DeValue::Array(_)))
    }

    /// Entries of the list that `key` is written as, right or wrong. Doesn't ask for it.
    pub fn length(&self, key: &str) -> usize {
        self.value(key).and_then(DeValue::as_array).map_or(0, |list| list.iter().count())
    }

    fn value(&self, key: &str) -> Option<&'a DeValue<'a>> {
        Some(self.table?.get(key)?.get_ref())
    }

    fn entry(&mut self, key: &'static str) -> Option<(Entry<'a>, Place)> {
        self.asked.push(key);
        let entry = self.table?.get(key)?;
        Some((entry, Place { section: self.path, key, offset: entry.span().start }))
    }

    /// Says that a required `key` is missing, unless the whole section is and that was said.
    pub fn missing(&self, key: &'static str, hint: impl Into<String>) {
        if self.table.is_some_and(|table| !table.contains_key(key)) {
            let place = Place { key, ..self.place() };
            self.report.refuse(place, "is missing", hint);
        }
    }

    fn ill_typed(&self, place: Place, expected: &str, found: &DeValue<'_>, hint: impl Into<String>) {
        let message = format!("expected {expected}, found {}", article(found.type_str()));
        self.report.refuse(place, message, hint);
    }

    /// The section `[path]`, present or not.
    pub fn table(&mut self, key: &'static str, path: &'static str) -> Section<'a> {
        let mut section = Section {
            report: self.report,
            path,
            offset: self.offset,
            table: None,
            is_written: false,
            asked: Vec::new(),
        };
        if let Some((entry, place)) = self.entry(key) {
            section.offset = place.offset;
            section.is_written = true;
            match entry.get_ref() {
                DeValue::Table(table) => section.table = Some(table),
                other => self.ill_typed(place, "one table", other, format!("write [{path}], once")),
            }
        }
        section
    }

    /// The sections `[[key]]`, at most `most` of them; `None` when they are none and that was said.
    pub fn tables(&mut self, key: &'static str, most: usize) -> Option<Vec<Section<'a>>> {
        self.tables_at(key, key, most)
    }

    /// The sections `[[path]]`, whose last part is `key`; as [`Self::tables`].
    pub fn tables_at(
        &mut self,
        key: &'static str,
        path: &'static str,
        most: usize,
    ) -> Option<Vec<Section<'a>>> {
        let Some((entry, place)) = self.entry(key) else { return Some(Vec::new()) };
        let DeValue::Array(array) = entry.get_ref() else {
            self.ill_typed(
                place,
                "a list of tables",
                entry.get_ref(),
                format!("write [[{path}]] above each"),
            );
            return None;
        };
        if array.is_empty() {
            self.report.refuse(place, "is empty", format!("write [[{path}]] above each, or remove this"));
            return None;
        }
        let mut sections = Vec::new();
        for element in array.iter() {
            let place = Place { section: path, key: "", offset: element.span().start };
            match element.get_ref() {
                _ if sections.len() == most => {
                    self.report.refuse(place, format!("more than {most}"), "remove the rest");
                    break;
                }
                DeValue::Table(table) => sections.push(Section {
                    report: self.report,
                    path,
                    offset: place.offset,
                    table: Some(table),
                    is_written: true,
                    asked: Vec::new(),
                }),
                other => self.ill_typed(place, "a table", other, format!("write [[{path}]] above each")),
            }
        }
        Some(sections)
    }

    /// An optional whole number of `range`.
    pub fn integer<T>(&mut self, key: &'static str, range: RangeInclusive<T>) -> Option<Located<T>>
    where
        T: TryFrom<i64> + PartialOrd + std::fmt::Display,
    {
        let (entry, place) = self.entry(key)?;
        self.one_integer(entry, place, &range)
    }

    fn one_integer<T>(&self, entry: Entry<'a>, place: Place, range: &RangeInclusive<T>) -> Option<Located<T>>
    where
        T: TryFrom<i64> + PartialOrd + std::fmt::Display,
    {
        let hint =
            || format!("write a whole number from {} to {}, without quotes", range.start(), range.end());
        let DeValue::Integer(integer) = entry.get_ref() else {
            self.ill_typed(place, "an integer", entry.get_ref(), hint());
            return None;
        };
        let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        match number.and_then(|number| T::try_from(number).ok()).filter(|number| range.contains(number)) {
            Some(value) => Some(Located { value, place }),
            None => {
                self.report.refuse(place, format!("{integer} is out of range"), hint());
                None
            }
        }
    }

    /// A list, of a length in `size`, of whole numbers of `range`, such as `example`. `None` when it is missing or not
    /// such a list.
    pub fn integers<T>(
        &mut self,
        key: &'static str,
        size: RangeInclusive<usize>,
        range: RangeInclusive<T>,
        example: &str,
    ) -> Option<Vec<Located<T>>>
    where
        T: TryFrom<i64> + PartialOrd + std::fmt::Display,
    {
        let (list, place) = self.list(key, size, example)?;
        let one =
            |entry: Entry<'a>| self.one_integer(entry, Place { offset: entry.span().start, ..place }, &range);
        Some(list.into_iter().filter_map(one).collect())
    }

    /// Every key of the section, a number of `keys` in decimal, each with a whole number of `values`; at most `most`. Nothing
    /// else may stand there, so the section is done with.
    pub fn numbered<T>(
        self,
        most: usize,
        keys: RangeInclusive<u16>,
        values: RangeInclusive<T>,
    ) -> Vec<(u16, Located<T>)>
    where
        T: TryFrom<i64> + PartialOrd + std::fmt::Display,
    {
        let mut found: Vec<(u16, Located<T>)> = Vec::new();
        for (key, entry) in self.table.into_iter().flat_map(|table| table.iter()) {
            let (name, place) = (key.get_ref(), Place { offset: entry.span().start, ..self.place() });
            if found.len() == most {
                self.report.refuse(place, format!("more than {most}"), "remove the rest");
                break;
            }
            // Written in one way only, so that none stands twice.
            let number = name.parse().ok().filter(|n: &u16| keys.contains(n) && n.to_string() == **name);
            let Some(number) = number else {
                let hint = format!("write a number from {} to {} in quotes", keys.start(), keys.end());
                let key_path = format!("{}.{}", self.path, name.escape_debug());
                self.report.refuse_key(key.span().start, key_path, "is no number of that kind", hint);
                continue;
            };
            found.extend(self.one_integer(entry, place, &values).map(|value| (number, value)));
        }
        found
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, key: &'static str) -> Option<Located<bool>> {
        let (entry, place) = self.entry(key)?;
        let DeValue::Boolean(value) = *entry.get_ref() else {
            self.ill_typed(place, "a boolean", entry.get_ref(), "write true or false, without quotes");
            return None;
        };
        Some(Located { value, place })
    }

    /// An optional string, parsed.
    pub fn parse<T>(&mut self, key: &'static str, parse: fn(&str) -> Result<T, Wrong>) -> Option<Located<T>> {
        let (entry, place) = self.entry(key)?;
        self.one_string(entry, place, parse)
    }

    /// A required string, parsed. `hint` says what to write when it is missing.
    pub fn require<T>(
        &mut self,
        key: &'static str,
        parse: fn(&str) -> Result<T, Wrong>,
        hint: &str,
    ) -> Option<Located<T>> {
        let value = self.parse(key, parse);
        self.missing(key, hint);
        value
    }

    /// A list, of a length in `size`, of strings, each parsed. `None` when it is missing or not such a list.
    pub fn strings<T>(
        &mut self,
        key: &'static str,
        size: RangeInclusive<usize>,
        parse: fn(&str) -> Result<T, Wrong>,
    ) -> Option<Vec<Located<T>>> {
        let (list, place) = self.list(key, size, "\"…\"")?;
        let one =
            |entry: Entry<'a>| self.one_string(entry, Place { offset: entry.span().start, ..place }, parse);
        Some(list.into_iter().filter_map(one).collect())
    }

    /// An optional string, or a list of strings of a length in `size`, each parsed. `None` when it is missing or neither.
    pub fn string_or_strings<T>(
        &mut self,
        key: &'static str,
        size: RangeInclusive<usize>,
        parse: fn(&str) -> Result<T, Wrong>,
    ) -> Option<Vec<Located<T>>> {
        let is_list = |value: &Spanned<DeValue<'_>>| matches!(value.get_ref(), DeValue::Array(_));
        match self.table.and_then(|table| table.get(key)).is_some_and(is_list) {
            true => self.strings(key, size, parse),
            false => self.parse(key, parse).map(|one| vec![one]),
        }
    }

    fn one_string<T>(
        &self,
        entry: Entry<'a>,
        place: Place,
        parse: fn(&str) -> Result<T, Wrong>,
    ) -> Option<Located<T>> {
        let DeValue::String(text) = entry.get_ref() else {
            self.ill_typed(place, "a string", entry.get_ref(), "write it in quotes: \"…\"");
            return None;
        };
        // What goes on to DPDK and to the kernel ends at a NUL; what is printed must stay on its line.
        let parsed = if text.chars().any(char::is_control) {
            Err(Wrong::new("has a control character", "remove it"))
        } else {
            parse(text)
        };
        parsed
            .map_err(|wrong| self.report.refuse(place, wrong.message, wrong.hint))
            .ok()
            .map(|value| Located { value, place })
    }

    /// The string that is one of `choices`.
    pub fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&str, T)]) -> Option<Located<T>> {
        self.choice_or(key, choices, "")
    }

    /// The string that is one of `choices`; `alternative` says in the hint what else may stand there, for callers
    /// that have seen that it doesn't.
    pub fn choice_or<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
        alternative: &str,
    ) -> Option<Located<T>> {
        let (entry, place) = self.entry(key)?;
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let one_of = if words.len() > 1 { "one of " } else { "" };
        let hint = format!("write {one_of}{}{alternative}", quoted(words.iter().copied()));
        let Some(text) = entry.get_ref().as_str() else {
            self.ill_typed(place, "a string", entry.get_ref(), hint);
            return None;
        };
        match choices.iter().find(|(word, _)| *word == text) {
            Some((_, value)) => Some(Located { value: *value, place }),
            None => {
                let message = format!("\"{}\" is not known here", text.escape_debug());
                let meant = closest(text, words).map(|meant| format!("; did you mean \"{meant}\"?"));
                self.report.refuse(place, message, hint + &meant.unwrap_or_default());
                None
            }
        }
    }

    fn list(
        &mut self,
        key: &'static str,
        size: RangeInclusive<usize>,
        example: &str,
    ) -> Option<(Vec<Entry<'a>>, Place)> {
        let (entry, place) = self.entry(key)?;
        let DeValue::Array(array) = entry.get_ref() else {
            self.ill_typed(place, "a list", entry.get_ref(), format!("write {key} = [{example}]"));
            return None;
        };
        let count = array.iter().count();
        if count < *size.start() {
            self.report.refuse(place, "the list is empty", format!("write {key} = [{example}]"));
            return None;
        }
        if count > *size.end() {
            self.report.refuse(place, format!("has more than {} entries", size.end()), "remove the rest");
            return None;
        }
        Some((array.iter().collect(), place))
    }

    /// Refuses every key that was not asked for. To be called last.
    pub fn finish(self) {
        for (key, _) in self.table.into_iter().flat_map(|table| table.iter()) {
            let name = key.get_ref();
            if self.asked.iter().any(|asked| asked == name) {
                continue;
            }
            let (what, known) = if self.path.is_empty() {
                ("no section has this name", "the sections are")
            } else {
                ("no key has this name here", "the keys are")
            };
            let hint = match closest(name, self.asked.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("{known} {}", self.asked.join(", ")),
            };
            let dot = if self.path.is_empty() { "" } else { "." };
            self.report.refuse_key(
                key.span().start,
                format!("{}{dot}{}", self.path, name.escape_debug()),
                what,
                hint,
            );
        }
    }
}

fn article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {noun}")
}

/// The value, or `default` when there is none (or it was refused, and then nobody sees the default).
pub(super) fn or<T>(located: Option<Located<T>>, default: T) -> T {
    located.map_or(default, |located| located.value)
}
