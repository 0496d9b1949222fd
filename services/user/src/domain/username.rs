//! Usernames: shown as they were given, and claimed by what they look like, so that nobody passes for somebody else.
//!
//! Unicode Technical Standard 39 gives each text a skeleton, which is equal for texts that look alike. It knows nothing
//! of case, so a username has up to two: that of its folded form, which all spellings share, and that of the form in
//! which it is shown, in which `PauI` with a capital i is `Paul`. Letters come from one script, since `pаypal` with a Cyrillic
//! `а` has no honest use; whole names of another script that look like a Latin one share its skeleton.

use unicode_normalization::char::is_combining_mark;
use unicode_security::{GeneralSecurityProfile as _, MixedScript as _, skeleton};

use super::email::fold;

/// The fewest characters of a username.
pub(crate) const USERNAME_CHARS_MIN: usize = 3;
/// The most characters of a username.
pub(crate) const USERNAME_CHARS_MAX: usize = 30;

/// A name that somebody may be found by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Username(String);

/// What a username looks like.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Skeleton(String);

/// Why a text is no username.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UsernameError {
    /// Fewer characters than [`USERNAME_CHARS_MIN`].
    TooShort,
    /// More characters than [`USERNAME_CHARS_MAX`].
    TooLong,
    /// Something else than letters and digits, or letters that only look like others.
    Disallowed,
    /// Letters of more than one script.
    MixedScripts,
}

impl Username {
    /// A username, of what somebody wrote.
    pub(crate) fn new(text: String) -> Result<Self, UsernameError> {
        // Before anything that takes longer for a longer text.
        let count = text.chars().take(USERNAME_CHARS_MAX + 1).count();
        if count > USERNAME_CHARS_MAX {
            return Err(UsernameError::TooLong);
        }
        if count < USERNAME_CHARS_MIN {
            return Err(UsernameError::TooShort);
        }
        if text.starts_with(is_combining_mark) || !text.chars().all(is_allowed) {
            return Err(UsernameError::Disallowed);
        }
        if !text.as_str().is_single_script() {
            return Err(UsernameError::MixedScripts);
        }
        Ok(Self(text))
    }

    /// Takes what the database kept.
    pub(crate) fn from_row(text: String) -> Self {
        Self(text)
    }

    /// As it was given.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// What is claimed with the username: the skeleton that all its spellings have comes first.
    pub(crate) fn skeletons(&self) -> Vec<Skeleton> {
        let mut skeletons = vec![Skeleton::of(&fold(&self.0)), Skeleton::of(&self.0)];
        skeletons.dedup();
        skeletons
    }

    /// The skeleton that all spellings of the username have.
    pub(crate) fn skeleton(&self) -> Skeleton {
        Skeleton::of(&fold(&self.0))
    }

    /// Whether both are spellings of one username. Those that only look alike are not.
    pub(crate) fn is_spelling_of(&self, other: &Self) -> bool {
        fold(&self.0) == fold(&other.0)
    }
}

impl Skeleton {
    fn of(text: &str) -> Self {
        Self(fold(&skeleton(text).collect::<String>()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Letters, digits and the marks of those scripts that write with them, as far as they are in use and look like
/// themselves.
fn is_allowed(c: char) -> bool {
    (c.is_alphanumeric() || is_combining_mark(c)) && c.identifier_allowed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn username(text: &str) -> Username {
        Username::new(text.to_owned()).unwrap_or_else(|error| panic!("{text}: {error:?}"))
    }

    fn collide(one: &str, other: &str) -> bool {
        let others = username(other).skeletons();
        username(one).skeletons().iter().any(|skeleton| others.contains(skeleton))
    }

    #[test]
    fn letters_and_digits_of_one_script_are_a_username() {
        for good in [
            "ann",
            "Ann42",
            "007",
            "Zoë",
            "Łódź",
            "иван",
            "山田太郎",
            "やまだタロウ",
            "山田さん",
            "한국어",
            "हिन्दी",
            "עברית",
            &"a".repeat(30),
        ] {
            assert_eq!(username(good).as_str(), good);
        }
    }

    #[test]
    fn what_is_no_username_is_refused() {
        use UsernameError::{Disallowed, MixedScripts, TooLong, TooShort};
        for (bad, error) in [
            ("", TooShort),
            ("ab", TooShort),
            (&*"a".repeat(31), TooLong),
            (&*"a".repeat(1 << 20), TooLong),
            ("ann lee", Disallowed),
            ("ann_lee", Disallowed),
            ("ann.lee", Disallowed),
            ("ann\0", Disallowed),
            ("ann\u{200d}", Disallowed),
            ("an\u{ad}n", Disallowed),
            ("\u{202e}nna", Disallowed),
            ("\u{301}ann", Disallowed),
            ("ann²", Disallowed),
            ("𝐚𝐧𝐧", Disallowed),
            ("ａｎｎ", Disallowed),
            ("ann😀", Disallowed),
            ("p\u{430}ypal", MixedScripts),
            ("ann\u{661}", MixedScripts),
            ("annα", MixedScripts),
        ] {
            assert_eq!(Username::new(bad.to_owned()), Err(error), "{bad:.40?}");
        }
    }

    #[test]
    fn what_looks_alike_has_a_skeleton_in_common() {
        for (one, other) in [
            ("Ann", "aNN"),
            ("Paul", "PauI"),
            ("Paul", "Pau1"),
            ("bob", "B0B"),
            ("mark", "rnark"),
            ("paypal", "paypaI"),
            ("scope", "ѕсоре"),
            ("Zoë", "Zoe\u{308}"),
            ("Ida", "lda"),
        ] {
            assert!(collide(one, other) && collide(other, one), "{one} {other}");
        }
        for (one, other) in [("ann", "anna"), ("zoe", "zoë"), ("иван", "ivan"), ("ida", "lda")] {
            assert!(!collide(one, other), "{one} {other}");
        }
    }

    #[test]
    fn spellings_differ_by_case_only() {
        assert!(username("Ann").is_spelling_of(&username("aNN")));
        assert_eq!(username("Ann").skeleton(), username("aNN").skeleton());
        assert!(!username("mark").is_spelling_of(&username("rnark")));
        assert_eq!(username("Ida").skeletons().len(), 2);
        assert_eq!(username("ann").skeletons().len(), 1);
    }
}
