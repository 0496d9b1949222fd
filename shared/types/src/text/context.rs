//! What stands around a character, for those that belong in some places only.

use icu_properties::props::{
    BinaryProperty as _, Emoji, EmojiModifier, EnumeratedProperty as _, ExtendedPictographic,
    GeneralCategory as Category, GeneralCategoryGroup as Group, Ideographic, IndicSyllabicCategory,
    JoiningType, Script, VariationSelector,
};

/// How many marks are skipped in search of their letter.
const MARKS_SKIPPED: usize = 4;

/// The zero-width non-joiner and joiner.
pub(super) fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200C}' | '\u{200D}')
}

/// The invisible copies of ASCII that flags of regions are spelled with.
pub(super) fn is_tag(c: char) -> bool {
    matches!(c, '\u{E0020}'..='\u{E007F}')
}

/// Chooses how the character before it is drawn. Mongolian has selectors and a vowel separator of its own.
pub(super) fn is_variation_selector(c: char) -> bool {
    VariationSelector::for_char(c) || is_mongolian_selector(c)
}

fn is_mongolian_selector(c: char) -> bool {
    matches!(c, '\u{180B}'..='\u{180F}')
}

fn is_nonspacing_mark(c: char) -> bool {
    Group::NonspacingMark.union(Group::EnclosingMark).contains(Category::for_char(c))
}

fn is_tag_of_region(c: char) -> bool {
    matches!(c, '\u{E0030}'..='\u{E0039}' | '\u{E0061}'..='\u{E007A}')
}

/// Whether a joiner may follow: a letter or a mark of a script whose letters change with their neighbours (Arabic,
/// Syriac, Mongolian and their kind) or form conjuncts (the scripts of India and their kind).
fn takes_joiner(c: char) -> bool {
    let changes = matches!(
        JoiningType::for_char(c),
        JoiningType::DualJoining
            | JoiningType::RightJoining
            | JoiningType::LeftJoining
            | JoiningType::JoinCausing
    );
    Group::Letter.union(Group::Mark).contains(Category::for_char(c))
        && (changes || IndicSyllabicCategory::for_char(c) != IndicSyllabicCategory::Other)
}

/// A character and what is on both sides of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) character: char,
    before: &'a str,
    after: &'a str,
}

impl<'a> Place<'a> {
    /// The character that starts at a byte of the text.
    pub(super) fn new(text: &'a str, start: usize, character: char) -> Self {
        let (before, rest) = text.split_at(start);
        Self { character, before, after: &rest[character.len_utf8()..] }
    }

    fn previous(&self) -> Option<char> {
        self.before.chars().next_back()
    }

    /// Whether it is a nonspacing mark after at least `count` others.
    pub(super) fn has_marks_before(&self, count: usize) -> bool {
        is_nonspacing_mark(self.character)
            && self.before.chars().rev().take(count).filter(|c| is_nonspacing_mark(*c)).count() == count
    }

    /// Whether a joiner stands right after a letter that takes one, or after the marks of such a letter. What follows
    /// does not matter: Persian ends words with it, and so do the old spellings of Malayalam. Two in a row never do.
    pub(super) fn joins_letters(&self) -> bool {
        let mut back = self.before.chars().rev().take(1 + MARKS_SKIPPED);
        let base = back.find(|c| !is_nonspacing_mark(*c) || takes_joiner(*c));
        base.is_some_and(takes_joiner)
    }

    /// Whether a joiner makes one picture of two: a family, a profession, a flag with a sign on it.
    pub(super) fn joins_emoji(&self) -> bool {
        let is_dress = |c: &char| *c == '\u{FE0F}' || EmojiModifier::for_char(*c);
        let base = self.before.chars().rev().take(3).find(|c| !is_dress(c));
        self.character == '\u{200D}'
            && base.is_some_and(ExtendedPictographic::for_char)
            && self.after.chars().next().is_some_and(ExtendedPictographic::for_char)
    }

    /// Whether a tag is part of the flag of a region, such as England: a black flag, three to six tags that spell the
    /// region, and the tag that ends it.
    pub(super) fn is_in_flag(&self) -> bool {
        const END: char = '\u{E007F}';
        let spelled =
            |side: &mut dyn Iterator<Item = char>| side.take(7).take_while(|c| is_tag_of_region(*c)).count();
        let before = spelled(&mut self.before.chars().rev());
        let has_base = self.before.chars().rev().nth(before) == Some('\u{1F3F4}');
        let (length, has_end) = if self.character == END {
            (before, true)
        } else {
            let after = spelled(&mut self.after.chars());
            (before + 1 + after, self.after.chars().nth(after) == Some(END))
        };
        let is_part = self.character == END || is_tag_of_region(self.character);
        is_part && has_base && has_end && (3..=6).contains(&length)
    }

    /// Whether a variation selector stands right after a character that it can change. One hides nothing; a row of them
    /// can carry any text unseen.
    pub(super) fn selects_variant(&self) -> bool {
        let Some(base) = self.previous() else { return false };
        let category = Category::for_char(base);
        let is_symbol = Group::Symbol.contains(category);
        match self.character {
            '\u{FE0E}' | '\u{FE0F}' => Emoji::for_char(base) || is_symbol,
            '\u{E0100}'..='\u{E01EF}' => Ideographic::for_char(base),
            c if is_mongolian_selector(c) => {
                Group::Letter.contains(category) && Script::for_char(base) == Script::Mongolian
            }
            _ => is_symbol || Group::Letter.union(Group::Number).union(Group::Punctuation).contains(category),
        }
    }
}
