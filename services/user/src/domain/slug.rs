//! Words that stand in addresses: the slug of a post, its category and its tags. Letters of any script are welcome;
//! what is refused would let one look like another, or hide.

use std::fmt;

use types::text::{Kind, misfits};
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;
use uuid::Uuid;

/// How many characters the slug of a post has at most.
pub(crate) const SLUG_MAX: usize = 80;
/// How many a category and a tag have at most.
pub(crate) const WORD_MAX: usize = 40;
/// A title that is too long is cut between two words, unless that would leave less than this.
const KEPT_LEAST: usize = 40;

/// Small letters, digits and their marks as NFKC writes them, in words with one hyphen between; no UUID, since a post
/// without a slug of its own is found by its id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Slug(String);

impl Slug {
    /// What is made of a title; `None` where it has nothing to make one of.
    pub(crate) fn of_title(title: &str) -> Option<Self> {
        let whole = folded(title);
        let cut = match whole.char_indices().nth(SLUG_MAX) {
            None => whole.as_str(),
            Some((end, _)) => {
                let kept = &whole[..end];
                let is_between_words = whole[end..].starts_with('-');
                let words = kept.rsplit_once('-').map_or("", |(words, _)| words);
                if is_between_words || words.chars().count() < KEPT_LEAST { kept } else { words }
            }
        };
        Self::parse(cut)
    }

    /// A slug that somebody sent; `None` for a text that is not in the form of one. Its length is not looked at.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_slug = !text.is_empty()
            && folded(text) == text
            && misfits(Kind::Line, text).next().is_none()
            && Uuid::try_parse(text).is_err();
        is_slug.then(|| Self(text.to_owned()))
    }

    /// One that was stored.
    pub(crate) const fn from_row(text: String) -> Self {
        Self(text)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The words of a text with hyphens between. What it comes to stays as it is when it is folded again.
fn folded(text: &str) -> String {
    let mut words = String::with_capacity(text.len());
    let mut is_apart = false;
    for character in text.nfkc().flat_map(char::to_lowercase) {
        let is_of_word = if is_combining_mark(character) {
            !is_apart && !words.is_empty() && !is_variation_selector(character)
        } else {
            character.is_alphanumeric()
        };
        if is_of_word {
            if is_apart && !words.is_empty() {
                words.push('-');
            }
            is_apart = false;
            words.push(character);
        } else {
            // An apostrophe stands within a word, and a selector only chooses how the letter before it is drawn.
            is_apart |= !matches!(character, '\'' | '\u{2019}') && !is_variation_selector(character);
        }
    }
    words.nfkc().collect()
}

const fn is_variation_selector(character: char) -> bool {
    matches!(character, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(title: &str) -> Option<String> {
        Slug::of_title(title).map(|slug| slug.to_string())
    }

    #[test]
    fn a_title_becomes_its_words() {
        for (title, slug) in [
            ("Tea", "tea"),
            ("  How I learned -- to brew (tea)!", "how-i-learned-to-brew-tea"),
            ("Don't panic, it\u{2019}s tea", "dont-panic-its-tea"),
            ("Ünïcode Straße", "ünïcode-straße"),
            ("Zoe\u{308} at ＮＦＫＣ №5", "zoë-at-nfkc-no5"),
            ("東京の朝、ほうじ茶", "東京の朝-ほうじ茶"),
            ("चाय की कहानी", "चाय-की-कहानी"),
            ("İstanbul", "i\u{307}stanbul"),
            ("I \u{2764}\u{fe0f} tea", "i-tea"),
            ("a\u{fe0f}\u{301}b", "áb"),
        ] {
            assert_eq!(of(title).as_deref(), Some(slug), "{title}");
            assert!(Slug::parse(slug).is_some(), "{slug} is found again");
        }
    }

    #[test]
    fn of_some_titles_there_is_nothing_to_make_one_of() {
        for title in ["!", "\u{2764}\u{fe0f}", "...", "01920000-0000-7000-8000-000000000001"] {
            assert_eq!(of(title), None, "{title}");
        }
    }

    #[test]
    fn a_long_title_is_cut_between_words_if_that_leaves_enough() {
        let long = of(&"seven77 ".repeat(20)).unwrap();
        assert_eq!((long.chars().count(), long.ends_with("seven77")), (79, true));
        assert_eq!(of(&"ß".repeat(200)).unwrap(), "ß".repeat(80));
        let first = format!("short {}", "x".repeat(150));
        assert_eq!(of(&first).unwrap(), format!("short-{}", "x".repeat(74)));
    }

    #[test]
    fn only_the_form_itself_is_taken() {
        for bad in [
            "",
            "Tea",
            "green tea",
            "-tea",
            "tea-",
            "green--tea",
            "tea!",
            "zoe\u{308}",
            "ﬁne",
            "\u{301}a",
            "a\u{1160}",
            "a\u{200b}b",
            "01920000-0000-7000-8000-000000000001",
            "01920000000070008000000000000001",
        ] {
            assert_eq!(Slug::parse(bad), None, "{bad:?}");
        }
    }
}
