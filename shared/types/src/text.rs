//! Which characters the texts of requests may have. One table for all of them.
//!
//! A **line** is a name or a title. It is shown amid texts of others: in lists, on receipts, in logs. So it has nothing
//! that hides, or that changes the order of what stands beside it. A **body** is prose that people paste from phones,
//! messengers and word processors. It is kept byte for byte, with what they put in that nobody sees: line ends of any
//! kind, direction marks, embeddings and isolates, soft hyphens, byte order marks, sequences of tags that are flags.
//! Whoever shows a body keeps it apart from the text around it, as one does with a text by somebody else (in HTML an
//! element of its own with `dir="auto"`); what it reorders ends with its paragraph in any case.
//!
//! Nothing is normalised. A decomposed name is kept as it came, and so is a letter that is newer than our Unicode data:
//! it is no more dangerous than an old one, for Unicode has set apart the places of all future invisible characters.

mod characters;
mod context;

use std::fmt;

use icu_properties::props::{
    BidiControl, BinaryProperty as _, DefaultIgnorableCodePoint, EnumeratedProperty as _,
    GeneralCategory as Category, NoncharacterCodePoint,
};

use characters::name;
use context::{Place, is_joiner, is_tag, is_variation_selector};

/// The most nonspacing marks in a row in a line: the four of Unicode Technical Standard 39, section 5.4. More than that
/// no language needs, and marks without end cover the lines above and below.
const MARKS_OF_LINE: usize = 4;
/// The same in a body: the 30 of Stream-Safe Text, Unicode Standard Annex 15, which leave room for any notation.
const MARKS_OF_BODY: usize = 30;

/// What a text is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A name or a title.
    Line,
    /// Prose of any number of lines.
    Body,
}

/// Characters that are refused, and where.
struct Rule {
    /// What one of them is called where it has no name of its own.
    what: &'static str,
    /// The name of the rule that a client reads.
    reason: &'static str,
    /// Whether bodies refuse them as well.
    in_bodies: bool,
    /// Whether the rule is about the character at a place.
    is_about: fn(&Place<'_>) -> bool,
}

const CONTROL: &str = "CONTROL_CHARACTER";
const DISALLOWED: &str = "DISALLOWED_CHARACTER";

const fn in_lines(what: &'static str, reason: &'static str, is_about: fn(&Place<'_>) -> bool) -> Rule {
    Rule { what, reason, in_bodies: false, is_about }
}

const fn in_both(what: &'static str, reason: &'static str, is_about: fn(&Place<'_>) -> bool) -> Rule {
    Rule { what, reason, in_bodies: true, is_about }
}

/// Every character that is refused. Whatever no row is about may stand anywhere.
static RULES: [Rule; 13] = [
    in_both("a control character", CONTROL, |place| {
        place.character.is_control() && !place.character.is_whitespace()
    }),
    in_lines("a tab or a line break", CONTROL, |place| {
        place.character.is_control() || matches!(place.character, '\u{2028}' | '\u{2029}')
    }),
    in_both("a noncharacter", DISALLOWED, |place| NoncharacterCodePoint::for_char(place.character)),
    in_both("a mark above too many others", DISALLOWED, |place| place.has_marks_before(MARKS_OF_BODY)),
    in_lines("a mark above too many others", DISALLOWED, |place| place.has_marks_before(MARKS_OF_LINE)),
    in_lines("a direction mark", DISALLOWED, |place| BidiControl::for_char(place.character)),
    in_lines("a joiner where nothing is joined", DISALLOWED, |place| {
        is_joiner(place.character) && !place.joins_letters() && !place.joins_emoji()
    }),
    in_lines("a tag outside the flag of a region", DISALLOWED, |place| {
        is_tag(place.character) && !place.is_in_flag()
    }),
    in_lines("a variation selector where nothing varies", DISALLOWED, |place| {
        is_variation_selector(place.character) && !place.selects_variant()
    }),
    in_lines("an invisible character", DISALLOWED, |place| {
        let c = place.character;
        DefaultIgnorableCodePoint::for_char(c) && !is_joiner(c) && !is_tag(c) && !is_variation_selector(c)
    }),
    in_lines("an annotation", DISALLOWED, |place| matches!(place.character, '\u{FFF9}'..='\u{FFFB}')),
    // They have a width and nothing to see. White space, which is shown as that, may stand inside a line.
    in_lines("a blank symbol", DISALLOWED, |place| {
        matches!(place.character, '\u{2800}' | '\u{FFFC}' | '\u{1D159}')
    }),
    // Each font draws its own thing, or nothing: a sign of approval, the badge of a company.
    in_lines("a private character", DISALLOWED, |place| {
        Category::for_char(place.character) == Category::PrivateUse
    }),
];

/// A character that may not stand where it does. As text it names the character and its place:
/// `U+202E (right-to-left override), which is character 2`.
#[derive(Debug, Clone, Copy)]
pub struct Misfit {
    character: char,
    /// Counted in characters, from 1.
    position: usize,
    rule: &'static Rule,
}

impl Misfit {
    /// The name of the rule that the character breaks: `CONTROL_CHARACTER` or `DISALLOWED_CHARACTER`.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.rule.reason
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (code, what) = (u32::from(self.character), self.rule.what);
        match name(self.character) {
            Some(name) if name != what => write!(f, "U+{code:04X} ({name})")?,
            _ => write!(f, "U+{code:04X} ({what})")?,
        }
        write!(f, ", which is character {}", self.position)
    }
}

/// The characters of a text that may not stand where they do, in their order.
pub fn misfits(kind: Kind, text: &str) -> impl Iterator<Item = Misfit> {
    text.char_indices().enumerate().filter_map(move |(count, (start, character))| {
        // No rule is about these, and most texts have no others.
        if matches!(character, ' '..='~') {
            return None;
        }
        let place = Place::new(text, start, character);
        let mut rules = RULES.iter().filter(|rule| kind == Kind::Line || rule.in_bodies);
        let rule = rules.find(|rule| (rule.is_about)(&place))?;
        Some(Misfit { character, position: count + 1, rule })
    })
}

/// Whether a text has something to read: more than white space and what is invisible.
#[must_use]
pub fn is_legible(text: &str) -> bool {
    text.chars().any(|c| {
        let is_blank =
            c.is_whitespace() || c.is_control() || c == '\u{2800}' || DefaultIgnorableCodePoint::for_char(c);
        !is_blank && Category::for_char(c) != Category::Format
    })
}

#[cfg(test)]
mod tests;
