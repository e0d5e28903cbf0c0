//! A decision in words, for `cesctl policy explain`.
//!
//! Guarantees: the same words for the same decision; a line each, and no more lines than a screen has for what anybody asks. Never:
//! hides a level that has a say.

use std::fmt;

use super::decision::{Decision, Level, PARTS_MAX, Part};
use crate::config::{Attribute, Attributes, Direction, Kinds, kind_words};

/// A decision, told to the operator.
impl fmt::Display for Decision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, part) in self.parts.iter().enumerate() {
            if place > 0 {
                writeln!(f)?;
            }
            self.part(f, part)?;
        }
        if self.parts.len() == PARTS_MAX {
            writeln!(f, "\nno more than {PARTS_MAX} parts are kept: ask for one service")?;
        }
        let fallback = if self.allows_legacy_fallback() { "may" } else { "may not" };
        writeln!(f, "\na peer whose edge does not answer {fallback} be called without one")
    }
}

impl Decision<'_> {
    fn part(&self, f: &mut fmt::Formatter<'_>, part: &Part<'_>) -> fmt::Result {
        writeln!(f, "{} {}:", part.services, self.direction.name())?;
        for (level, ruling) in Level::ALL.into_iter().zip(&part.rulings) {
            write!(f, "  {:<9} {}", level.name(), ruling.rule.name())?;
            if !ruling.unsettled.is_empty() {
                writeln!(f, ": open until the peer has told {}", ruling.unsettled)?;
                continue;
            }
            match ruling.rule.demands(self.direction) {
                None => writeln!(f, ": refuses")?,
                Some(demands) if demands.wanted.is_empty() => writeln!(f, ": asks nothing")?,
                Some(demands) => writeln!(f, ": asks {}", demands.wanted)?,
            }
        }
        if let Some((level, rule)) = part.refusing(self.direction) {
            return writeln!(f, "  refused by rule {} of level {}", rule.name(), level.name());
        }
        self.asked(f, part)?;
        let told = part.told(self.direction);
        writeln!(f, "  told      {}", told.volunteered)?;
        writeln!(f, "  if asked  {}", told.on_query.without(told.volunteered))
    }

    /// What the peer is asked for, and what of that it must have.
    fn asked(&self, f: &mut fmt::Formatter<'_>, part: &Part<'_>) -> fmt::Result {
        let role = match self.direction {
            Direction::Inbound => "oCES",
            Direction::Outbound => "iCES",
        };
        let [asked, required, reliable] = part.asks(self.direction);
        writeln!(f, "  asked of the {role}: {asked}")?;
        let line = |f: &mut fmt::Formatter<'_>, what: &str, set: Attributes| match set.is_empty() {
            true => Ok(()),
            false => writeln!(f, "    {what}: {set}"),
        };
        line(f, "optional", asked.without(required))?;
        line(f, "reliably", reliable)?;
        let taken = |kinds: fn(&super::demands::Demands) -> Kinds| {
            part.demands(self.direction).fold(Kinds::ALL, |all, (_, _, demands)| all.and(kinds(demands)))
        };
        let sets = [
            (Attribute::Id, taken(|demands| demands.ids)),
            (Attribute::Rloc, taken(|demands| demands.rlocs)),
            (Attribute::Encapsulation, taken(|demands| demands.encapsulations)),
        ];
        for (attribute, kinds) in sets.into_iter().filter(|(attribute, _)| asked.has(*attribute)) {
            let words: Vec<&str> = kind_words(attribute, kinds).collect();
            writeln!(f, "    {}: {}", attribute.name(), words.join(", "))?;
        }
        for (place, number) in crate::config::NUMBERS.into_iter().enumerate() {
            let ranges = part.demands(self.direction).map(|(_, _, demands)| demands.ranges[place]);
            let (least, most) =
                ranges.fold((0, u32::MAX), |(least, most), (l, m)| (least.max(l), most.min(m)));
            if (least, most) != (0, u32::MAX) {
                writeln!(f, "    {}: {least} to {most}", number.name())?;
            }
        }
        Ok(())
    }
}
