use std::collections::BTreeSet;

use super::*;

/// For each row of the table a text that it refuses, the place of the character that it is about, and whether a body with
/// it is refused as well.
const REFUSED: [(&str, &str, usize, bool); 46] = [
    ("a control character", "a\0b", 2, true),
    ("a control character", "a\u{1b}[31mb", 2, true),
    ("a control character", "a\u{7f}", 2, true),
    ("a control character", "a\u{9b}31mb", 2, true),
    ("a tab or a line break", "a\tb", 2, false),
    ("a tab or a line break", "a\r\nb", 2, false),
    ("a tab or a line break", "a\u{b}b", 2, false),
    ("a tab or a line break", "a\u{85}b", 2, false),
    ("a tab or a line break", "a\u{2028}b", 2, false),
    ("a tab or a line break", "a\u{2029}b", 2, false),
    ("a noncharacter", "ab\u{fdd0}", 3, true),
    ("a noncharacter", "ab\u{ffff}", 3, true),
    ("a noncharacter", "ab\u{10fffe}", 3, true),
    ("a direction mark", "Z\u{200e}", 2, false),
    ("a direction mark", "שלום\u{200f} (5)", 5, false),
    ("a direction mark", "a\u{61c}b", 2, false),
    ("a direction mark", "gnp.\u{202e}exe", 5, false),
    // Balanced ones too: whether they are is for a bidirectional algorithm to say, and a name needs none.
    ("a direction mark", "\u{202d}+44 7976\u{202c}", 1, false),
    ("a direction mark", "\u{2068}Zoë\u{2069}", 1, false),
    ("a direction mark", "Zoë\u{2069}", 4, false),
    ("a joiner where nothing is joined", "Ann\u{200d}", 4, false),
    ("a joiner where nothing is joined", "A\u{200c}nn", 2, false),
    ("a joiner where nothing is joined", "\u{200d}محمد", 1, false),
    ("a joiner where nothing is joined", "می\u{200c}\u{200c}خواهم", 4, false),
    ("a joiner where nothing is joined", "👨\u{200d}", 2, false),
    ("a joiner where nothing is joined", "👨\u{200d}Ann", 2, false),
    ("a joiner where nothing is joined", "👨\u{200c}👩", 2, false),
    ("a joiner where nothing is joined", "7\u{200d}7", 2, false),
    ("a tag outside the flag of a region", "Ann\u{e0041}\u{e006e}\u{e006e}", 4, false),
    ("a tag outside the flag of a region", "\u{1f3f4}\u{e0067}\u{e0062}", 2, false),
    (
        "a tag outside the flag of a region",
        "\u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e0067}\u{e0067}\u{e007f}",
        2,
        false,
    ),
    ("a tag outside the flag of a region", "😀\u{e0067}\u{e0062}\u{e0065}\u{e007f}", 2, false),
    ("a variation selector where nothing varies", "\u{fe0f}", 1, false),
    ("a variation selector where nothing varies", "A\u{fe0f}", 2, false),
    ("a variation selector where nothing varies", "😀\u{fe0f}\u{fe0f}", 3, false),
    ("a variation selector where nothing varies", "😀\u{e0100}\u{e0101}", 2, false),
    ("a variation selector where nothing varies", "A\u{180b}", 2, false),
    ("an invisible character", "Donau\u{ad}dampf", 6, false),
    ("an invisible character", "a\u{200b}b", 2, false),
    ("an invisible character", "\u{feff}Ann", 1, false),
    ("an invisible character", "\u{3164}", 1, false),
    ("an annotation", "a\u{fff9}b", 2, false),
    ("a blank symbol", "\u{2800}", 1, false),
    ("a private character", "Ann \u{f8ff}", 5, false),
    ("a mark above too many others", "Z\u{300}\u{301}\u{302}\u{303}\u{304}", 6, false),
    ("a mark above too many others", MANY_MARKS, 32, true),
];

/// A letter with 31 marks.
const MANY_MARKS: &str = "Z\u{300}\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}\u{307}\u{308}\u{309}\u{30a}\u{30b}\u{30c}\u{30d}\u{30e}\
    \u{30f}\u{310}\u{311}\u{312}\u{313}\u{314}\u{315}\u{316}\u{317}\u{318}\u{319}\u{31a}\u{31b}\u{31c}\u{31d}\u{31e}";

/// Names and titles as people have them.
const LINES: [&str; 34] = [
    "Ann",
    "O\u{2019}Hara",
    "Łódź",
    "Zoe\u{308}",
    "Việt Nam",
    "Vie\u{323}\u{302}t",
    "山田\u{3000}太郎",
    "葛\u{e0100}城",
    "ÅÄÖ \u{a0}– «Bonjour\u{202f}!»",
    "محمد\u{200c}رضا",
    "می\u{200c}خواهم",
    "مُ\u{200c}حمد",
    "۱۴۰۳ ه\u{200d}",
    "שָׁלוֹם",
    "क्षत्रिय",
    "क्\u{200d}ष",
    "र\u{200d}्य",
    "ශ්\u{200d}රී ලංකාව",
    "അനില്\u{200d}",
    "นํ้า",
    "བསྒྲུབས",
    "ᠮᠣᠩᠭᠣᠯ\u{180e}ᠠ",
    "Ann 👩🏽\u{200d}🚀",
    "👨\u{200d}👩\u{200d}👧\u{200d}👦 \u{2764}\u{fe0f}",
    "\u{2764}\u{fe0f}\u{200d}🔥 🏳\u{fe0f}\u{200d}🌈 🏴\u{200d}☠\u{fe0f}",
    "👩🏻\u{200d}\u{2764}\u{fe0f}\u{200d}💋\u{200d}👨🏿",
    "1\u{fe0f}\u{20e3} \u{a9}\u{fe0f} ☰\u{fe0e}",
    "\u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}!",
    "🇩🇪🇯🇵",
    "\u{378}, not assigned yet",
    "\u{600}\u{661}",
    "ⵣ ᛏ 𓀀 𝕏",
    "a'b; DROP TABLE users --",
    "100 % <b>&amp;</b>",
];

/// Bodies as people paste them. What a line may have, a body may have as well.
const BODIES: [&str; 14] = [
    "one\r\ntwo\nthree\rfour\ttab",
    "\r\n\tone\r\n\r\n",
    "one\u{b}two\u{c}three\u{85}four\u{2028}five\u{2029}six",
    "Call me: \u{202d}+44 7976 399087\u{202c}, mornings.",
    "Ask \u{2068}Zoë\u{2069} about it; \u{2067}unbalanced",
    "שלום\u{200f} (5) ועוד",
    "\u{feff}from a file of Windows",
    "Donau\u{ad}dampf\u{a0}schiff",
    "ไทย\u{200b}แลนด์",
    "a\u{2060}b\u{200d}c\u{200c}d\u{fe0f}e",
    "\u{1f3f4}\u{e0067}\u{e0062}",
    "made on a Mac \u{f8ff}",
    "said to a phone \u{fffc}",
    "Z\u{300}\u{301}\u{302}\u{303}\u{304}",
];

fn told(kind: Kind, text: &str) -> Vec<String> {
    misfits(kind, text).map(|misfit| misfit.to_string()).collect()
}

#[test]
fn every_row_of_the_table_refuses_its_characters_and_says_which_one_where() {
    let mut rows = BTreeSet::new();
    for (what, text, position, in_bodies) in REFUSED {
        let first =
            misfits(Kind::Line, text).next().unwrap_or_else(|| panic!("{what}: {text:?} is not refused"));
        assert_eq!(
            (first.rule.what, first.position),
            (what, if text == MANY_MARKS { 6 } else { position }),
            "{text:?}"
        );
        let body = misfits(Kind::Body, text).next().map(|misfit| (misfit.rule.what, misfit.position));
        assert_eq!(body, in_bodies.then_some((what, position)), "{text:?} as a body");
        rows.insert((what, in_bodies));
    }
    let table: BTreeSet<_> = RULES.iter().map(|rule| (rule.what, rule.in_bodies)).collect();
    assert_eq!(rows, table, "each row has a test");
}

#[test]
fn names_and_titles_as_people_have_them_are_fine() {
    for text in LINES {
        assert_eq!(told(Kind::Line, text), [""; 0], "{text:?}");
        assert_eq!(told(Kind::Body, text), [""; 0], "{text:?}");
    }
}

#[test]
fn bodies_as_people_paste_them_are_fine() {
    for text in BODIES {
        assert_eq!(told(Kind::Body, text), [""; 0], "{text:?}");
    }
}

#[test]
fn a_character_is_told_by_its_number_its_name_or_class_and_its_place() {
    assert_eq!(told(Kind::Line, "a\u{202e}b"), ["U+202E (right-to-left override), which is character 2"]);
    assert_eq!(
        told(Kind::Line, "👍\u{e0067}"),
        ["U+E0067 (a tag outside the flag of a region), which is character 2"]
    );
    assert_eq!(
        told(Kind::Line, "a\r\nb"),
        ["U+000D (carriage return), which is character 2", "U+000A (line feed), which is character 3"]
    );
    assert_eq!(told(Kind::Body, "é\u{1}"), ["U+0001 (a control character), which is character 2"]);
}

#[test]
fn a_text_of_nothing_to_see_is_not_legible() {
    for blank in
        ["", " \u{3000}\r\n", "\u{200b}\u{feff}", "\u{2800}", "\u{3164}", "\u{2068}\u{2069}", "\u{ad}"]
    {
        assert!(!is_legible(blank), "{blank:?}");
    }
    for text in LINES.into_iter().chain(BODIES) {
        assert!(is_legible(text), "{text:?}");
    }
}

/// The longest text that a message can carry, of the character that looks furthest around itself.
#[test]
fn looking_around_has_an_end() {
    let tags = format!("\u{1f3f4}{}\u{e007f}", "\u{e0067}".repeat(16_000));
    assert_eq!(misfits(Kind::Line, &tags).count(), 16_001);
    let marks = format!("Z{}", "\u{300}".repeat(32_000));
    assert_eq!(misfits(Kind::Body, &marks).count(), 32_000 - 30);
}
