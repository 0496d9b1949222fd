//! The texts of a request: names, titles and prose. Which characters they may have is settled in [`types::text`].

use types::text::{Kind, Misfit, is_legible, misfits};

use super::Violations;

impl Violations {
    /// A name or a title: 1 to `max` characters in one line, each of which may be in a [`Kind::Line`]. White space at the
    /// ends is refused and not cut off, so that the text is kept as it was sent.
    pub fn line(&mut self, field: &str, text: &str, max: usize) -> Option<String> {
        self.text(Kind::Line, field, text, max)
    }

    /// Prose of any number of lines, kept byte for byte: 1 to `max` characters, each of which may be in a
    /// [`Kind::Body`], something of it to read.
    pub fn body(&mut self, field: &str, text: &str, max: usize) -> Option<String> {
        self.text(Kind::Body, field, text, max)
    }

    fn text(&mut self, kind: Kind, field: &str, text: &str, max: usize) -> Option<String> {
        let before = self.count;
        let is_fine = match kind {
            Kind::Line => text.trim().len() == text.len(),
            Kind::Body => is_legible(text),
        };
        if text.is_empty() {
            self.add(field, "REQUIRED", "must be set");
        } else if !is_fine {
            let ends = if kind == Kind::Line { " or begin or end with white space" } else { "" };
            self.add(field, "BLANK", format!("must not be blank{ends}"));
        }
        // A character has at most 4 bytes; combining marks count as characters, so length is bounded twice.
        if text.chars().count() > max {
            self.add(field, "TOO_LONG", format!("must have at most {max} characters"));
        }
        let mut found: Vec<(Misfit, usize)> = Vec::new();
        for misfit in misfits(kind, text) {
            match found.iter_mut().find(|(first, _)| first.reason() == misfit.reason()) {
                Some((_, more)) => *more += 1,
                None => found.push((misfit, 0)),
            }
        }
        for (first, more) in found {
            let more = if more == 0 { String::new() } else { format!("; {more} more like it") };
            self.add(field, first.reason(), format!("must not contain {first}{more}"));
        }
        (self.count == before).then(|| text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::reasons;
    use super::*;

    #[test]
    fn text_keeps_out_what_cannot_be_seen() {
        for (bad, reason) in [
            ("", "REQUIRED"),
            (" \u{3000}", "BLANK"),
            ("a ", "BLANK"),
            ("a\0b", "CONTROL_CHARACTER"),
            ("a\r\nb", "CONTROL_CHARACTER"),
            ("a\u{1b}[31mb", "CONTROL_CHARACTER"),
            ("a\u{202e}b", "DISALLOWED_CHARACTER"),
            ("a\u{2028}b", "CONTROL_CHARACTER"),
            ("aaaaaaaaaaa", "TOO_LONG"),
        ] {
            let found = reasons(|v| assert_eq!(v.line("name", bad, 10), None));
            assert_eq!(found, [format!("name {reason}")], "{bad:?}");
        }
        for good in ["Ann", "Łódź", "山田", "👨\u{200d}👩\u{200d}👧", "a'b; DROP"] {
            assert_eq!(Violations::new().line("name", good, 10).as_deref(), Some(good));
        }
    }

    #[test]
    fn a_body_is_kept_byte_for_byte() {
        for good in ["a\r\nb\r\n", "\u{202d}+44\u{202c}", "\u{2068}Zoë\u{2069}", "\u{feff}a", " a "] {
            assert_eq!(Violations::new().body("body", good, 10).as_deref(), Some(good));
        }
        for (bad, reason) in [
            ("", "REQUIRED"),
            (" \r\n", "BLANK"),
            ("\u{200b}", "BLANK"),
            ("a\0b", "CONTROL_CHARACTER"),
            ("a\u{ffff}", "DISALLOWED_CHARACTER"),
            ("aaaaaaaaaaa", "TOO_LONG"),
        ] {
            let found = reasons(|v| assert_eq!(v.body("body", bad, 10), None));
            assert_eq!(found, [format!("body {reason}")], "{bad:?}");
        }
    }

    #[test]
    fn the_first_character_that_is_refused_is_named_and_the_others_are_counted() {
        let mut violations = Violations::new();
        violations.line("name", "a\u{202e}b\n\u{202c}\u{200b}", 10);
        let told: Vec<_> = violations.listed.into_iter().map(|violation| violation.description).collect();
        assert_eq!(
            told,
            [
                "must not contain U+202E (right-to-left override), which is character 2; 2 more like it",
                "must not contain U+000A (line feed), which is character 4"
            ]
        );
    }
}
