//! How texts are found and ordered: by a folded form, in which spellings of one word are equal, and by its words.
//!
//! A word ends where its letters and digits do. Some scripts put nothing between their words (Japanese, Chinese, Thai and
//! their neighbours): a run of their characters is taken apart into pairs, so that whatever stands in it is found by the
//! pairs that it consists of, without a dictionary.

use icu_properties::props::{EnumeratedProperty as _, Script};
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// Of a longer word only this many characters count.
const WORD_CHARS_MAX: usize = 64;
/// The mark of a long vowel, which belongs to no script of its own.
const LENGTHENS: char = '\u{30fc}';

/// A text without differences of case, of width, of composition and of accents, and with one space between its words.
#[must_use]
pub fn folded(text: &str) -> String {
    let bare: String = text.nfkd().filter(|c| !is_accent(*c)).collect();
    // By way of upper case, which is where `ß`, `ſ` and the final sigma lose their peculiarities.
    let folded: String = bare.to_uppercase().to_lowercase().replace('ς', "σ").nfkc().collect();
    folded.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The words of a text in their order, each once.
#[must_use]
pub fn words(text: &str) -> Vec<String> {
    let mut words = Words::default();
    for c in folded(text).chars() {
        words.take(c);
    }
    words.end();
    words.found
}

/// The words so far, and the one that goes on.
#[derive(Debug, Default)]
struct Words {
    found: Vec<String>,
    seen: std::collections::HashSet<String>,
    word: String,
    /// Characters of a script that puts nothing between its words.
    run: Vec<char>,
}

impl Words {
    fn take(&mut self, c: char) {
        if is_within_word(c) {
            // It divides nothing and is not looked for.
        } else if is_of_run(c) {
            self.end_word();
            self.run.push(c);
        } else if is_combining_mark(c) && self.word.is_empty() {
            // Of a letter that it changes little, or of nothing.
        } else if is_of_word(c) {
            self.end_run();
            self.word.push(c);
        } else {
            self.end();
        }
    }

    fn end(&mut self) {
        self.end_word();
        self.end_run();
    }

    fn end_word(&mut self) {
        let word = std::mem::take(&mut self.word);
        self.found(word.chars().take(WORD_CHARS_MAX).collect());
    }

    fn end_run(&mut self) {
        let run = std::mem::take(&mut self.run);
        match run.as_slice() {
            [] => {}
            [alone] => self.found(alone.to_string()),
            run => run.windows(2).for_each(|pair| self.found(pair.iter().collect())),
        }
    }

    fn found(&mut self, word: String) {
        if !word.is_empty() && self.seen.insert(word.clone()) {
            self.found.push(word);
        }
    }
}

const fn is_accent(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}')
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || is_combining_mark(c)
}

/// An apostrophe, and what chooses how the letter before it is drawn.
const fn is_within_word(c: char) -> bool {
    matches!(c, '\'' | '\u{2019}' | '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

fn is_of_run(c: char) -> bool {
    const WITHOUT_SPACES: [Script; 9] = [
        Script::Han,
        Script::Hiragana,
        Script::Katakana,
        Script::Bopomofo,
        Script::Yi,
        Script::Thai,
        Script::Lao,
        Script::Khmer,
        Script::Myanmar,
    ];
    let is_letter = c == LENGTHENS || (is_of_word(c) && !c.is_ascii());
    is_letter && (c == LENGTHENS || WITHOUT_SPACES.contains(&Script::for_char(c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_text_are_folded_to_one() {
        for (one, other) in [
            ("Ann Lee", "ANN  lee"),
            ("Zoë", "zoe\u{308}"),
            ("Zoë", "ZOE"),
            ("Straße", "STRASSE"),
            ("ΟΔΟΣ", "οδός"),
            ("İrmak", "ırmak"),
            ("ＡＮＮ", "ann"),
            ("ｶﾞｰﾄﾞ", "ガード"),
            ("\u{ac00}", "\u{1100}\u{1161}"),
        ] {
            assert_eq!(folded(one), folded(other), "{one}");
            assert_eq!(folded(&folded(one)), folded(one), "{one} is folded for good");
        }
        for (one, other) in [("か", "が"), ("は", "ぱ"), ("ann", "anna"), ("ann lee", "annlee")] {
            assert_ne!(folded(one), folded(other), "{one}");
        }
        assert_eq!(folded(" \u{3000} "), "");
    }

    #[test]
    fn words_are_letters_and_digits_each_once() {
        let of = |text: &str| words(text).join("|");
        for (text, expected) in [
            ("", ""),
            (".*", ""),
            ("(?=a)\\b$1", "a|b|1"),
            ("Ann, ann AND Ben", "ann|and|ben"),
            ("Don't panic, it\u{2019}s tea", "dont|panic|its|tea"),
            ("e-mail: a.b@c.example", "e|mail|a|b|c|example"),
            ("चाय की कहानी", "चाय|की|कहानी"),
            ("x\u{fe0f}y", "xy"),
            ("tea🍵tea", "tea"),
            ("C++ in 2026", "c|in|2026"),
        ] {
            assert_eq!(of(text), expected, "{text}");
        }
        assert_eq!(words(&"a".repeat(200)), ["a".repeat(WORD_CHARS_MAX)]);
    }

    #[test]
    fn scripts_without_spaces_are_found_by_pairs() {
        let of = |text: &str| words(text).join("|");
        for (text, expected) in [
            ("東京都", "東京|京都"),
            ("京都", "京都"),
            ("茶", "茶"),
            ("ほうじ茶が好き、です", "ほう|うじ|じ茶|茶が|が好|好き|です"),
            ("コーヒー", "コー|ーヒ|ヒー"),
            ("Rustを2年", "rust|を|2|年"),
            ("한국어 차", "한국어|차"),
            ("ชาเขียว", "ชา|าเ|เข|ขี|ีย|ยว"),
        ] {
            assert_eq!(of(text), expected, "{text}");
        }
        let whole = words("今日は東京で緑茶を飲む");
        for part in ["東京", "緑茶を", "飲む", "今日は東京"] {
            assert!(words(part).iter().all(|pair| whole.contains(pair)), "{part}");
        }
    }
}
