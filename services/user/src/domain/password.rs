//! Passwords: what is accepted as a new one, and the hash that is all the database ever sees.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};

use super::email::{Email, fold};

/// The fewest characters of a new password; it is the only factor.
pub(crate) const PASSWORD_CHARS_MIN: usize = 15;
/// The most characters of a password.
pub(crate) const PASSWORD_CHARS_MAX: usize = 128;
/// Fewer different characters than this are no password, however long the text is.
const DISTINCT_MIN: usize = 5;

const IS_ADDRESS: &str = "must not be the e-mail address";

/// Passwords of at least fifteen characters that everybody tries first, without their spaces.
const COMMON: &str = include_str!("common_passwords.txt");

/// A password as somebody typed it. Compared exactly as given: no normalisation, no trimming, no cutting.
#[derive(Clone)]
pub(crate) struct Password(SecretString);

/// Why a password is not accepted as a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PasswordError {
    /// Nothing was given.
    Missing,
    /// Too easy to guess; the text says why.
    Weak(&'static str),
    /// Longer than anybody types.
    TooLong,
}

impl Password {
    /// A password to compare with a stored one. `None` when no stored one can be like it.
    pub(crate) fn to_verify(text: String) -> Option<Self> {
        let length = text.chars().count();
        (1..=PASSWORD_CHARS_MAX).contains(&length).then(|| Self(text.into()))
    }

    /// A new password for the owner of `email`.
    pub(crate) fn new(text: String, email: &str) -> Result<Self, PasswordError> {
        let length = text.chars().count();
        if length == 0 {
            return Err(PasswordError::Missing);
        }
        if length > PASSWORD_CHARS_MAX {
            return Err(PasswordError::TooLong);
        }
        if length < PASSWORD_CHARS_MIN {
            return Err(PasswordError::Weak("must have at least 15 characters"));
        }
        if text.contains('\0') {
            return Err(PasswordError::Weak("must not contain the character NUL"));
        }
        let folded = fold(&text);
        if folded == fold(email) {
            return Err(PasswordError::Weak(IS_ADDRESS));
        }
        let mut characters: Vec<char> = folded.chars().collect();
        characters.sort_unstable();
        characters.dedup();
        if characters.len() < DISTINCT_MIN {
            return Err(PasswordError::Weak("must have at least 5 different characters"));
        }
        let dense: String = folded.chars().filter(|c| !c.is_whitespace()).collect();
        if COMMON.lines().any(|common| common == dense) {
            return Err(PasswordError::Weak("is among those that are tried first"));
        }
        Ok(Self(text.into()))
    }

    /// Refuses a new password that is the e-mail address of its owner.
    pub(crate) fn require_not_address(&self, email: &Email) -> Result<(), PasswordError> {
        let is_address = fold(self.0.expose_secret()) == fold(email.address());
        if is_address { Err(PasswordError::Weak(IS_ADDRESS)) } else { Ok(()) }
    }

    /// The bytes to hash.
    pub(crate) fn expose(&self) -> &[u8] {
        self.0.expose_secret().as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// A password's hash as a PHC string: the only thing that the database takes, so that no write path can store a
/// password itself. Made by `passwords::Hasher` alone, and read back from the database.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PasswordHash(String);

impl PasswordHash {
    /// Takes what the hasher made, or what the database kept.
    pub(crate) fn from_phc(phc: String) -> Self {
        Self(phc)
    }

    /// The PHC string.
    pub(crate) fn as_phc(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weak(text: &str) -> bool {
        matches!(Password::new(text.to_owned(), "long.address@example.com"), Err(PasswordError::Weak(_)))
    }

    #[test]
    fn length_counts_characters_and_both_ends_are_inclusive() {
        let accented = |n: usize| "aé漢🔑b".chars().cycle().take(n).collect::<String>();
        assert!(weak(&accented(14)));
        for good in [15, 128] {
            assert!(Password::new(accented(good), "a@b.example").is_ok(), "{good}");
        }
        for long in [129, 1 << 20] {
            assert_eq!(Password::new(accented(long), "a@b.example").unwrap_err(), PasswordError::TooLong);
        }
        assert_eq!(Password::new(String::new(), "a@b.example").unwrap_err(), PasswordError::Missing);
    }

    #[test]
    fn what_everybody_tries_first_is_weak() {
        for bad in [
            "passwordpassword",
            "Password Password",
            "123456789012345",
            "aaaaaaaaaaaaaaaaaaaa",
            "abababababababab",
            "Long.Address@example.com",
            "nul\0in the middle of it",
        ] {
            assert!(weak(bad), "{bad:?}");
        }
        assert!(!weak("correct horse battery"));
    }

    #[test]
    fn neither_a_password_nor_its_hash_is_shown() {
        let password = Password::new("a canary that sings".to_owned(), "a@b.example").unwrap();
        let hash = PasswordHash::from_phc("$argon2id$canary".to_owned());
        assert!(!format!("{password:?}{hash:?}").contains("canary"));
    }
}
