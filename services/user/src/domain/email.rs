//! E-mail addresses: kept as they were given, compared in one normal form, so that nobody can sign up twice, or
//! as somebody else, by writing an address differently.
//!
//! The normal form: the domain after IDNA in lower case; the local part in compatibility form (full-width letters
//! and composed characters become one spelling) with all case differences folded, those of `ß`, `ı` and `İ`
//! included. Dots and `+tags` stay: what they mean is the mail provider's business. Whether the address reaches
//! anybody only a mail can tell; these rules keep out what cannot be an address, or is dangerous in a header.

use std::fmt;
use std::str::FromStr;

use types::UserId;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// The longest address, in bytes (RFC 5321, less the angle brackets).
pub(crate) const EMAIL_BYTES_MAX: usize = 254;
const LOCAL_BYTES_MAX: usize = 64;

/// An address that somebody may have.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Email {
    address: String,
    key: EmailKey,
}

/// The normal form: equal for all spellings of one address.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct EmailKey(String);

/// Not an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InvalidEmail;

impl Email {
    /// As it was given.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// What it is compared by.
    pub(crate) fn key(&self) -> &EmailKey {
        &self.key
    }

    /// What takes the place of the address of a user who is gone: none, and a key that no address has, since the key of
    /// each user is another one.
    pub(crate) fn of_nobody(id: UserId) -> Self {
        Self { address: String::new(), key: EmailKey(id.to_string()) }
    }

    /// Puts together what a database kept.
    pub(crate) fn from_row(address: String, key: String) -> Self {
        Self { address, key: EmailKey(key) }
    }
}

impl EmailKey {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Email {
    type Err = InvalidEmail;

    fn from_str(text: &str) -> Result<Self, InvalidEmail> {
        let (local, domain) = text.split_once('@').ok_or(InvalidEmail)?;
        if text.len() > EMAIL_BYTES_MAX || domain.contains('@') {
            return Err(InvalidEmail);
        }
        check_local(local)?;
        let key = format!("{}@{}", fold(local), ascii_domain(domain)?);
        if key.len() > EMAIL_BYTES_MAX {
            return Err(InvalidEmail);
        }
        Ok(Self { address: text.to_owned(), key: EmailKey(key) })
    }
}

/// The unquoted form of RFC 5321 and 6531: no quotes, comments, spaces or control characters.
fn check_local(local: &str) -> Result<(), InvalidEmail> {
    let dots = local.starts_with('.') || local.ends_with('.') || local.contains("..");
    let allowed = |c: char| {
        c == '.'
            || c.is_ascii_alphanumeric()
            || "!#$%&'*+-/=?^_`{|}~".contains(c)
            || (!c.is_ascii() && is_text(c))
    };
    let good = !local.is_empty() && local.len() <= LOCAL_BYTES_MAX && !dots && local.chars().all(allowed);
    if good { Ok(()) } else { Err(InvalidEmail) }
}

fn is_text(c: char) -> bool {
    c.is_alphanumeric() || is_combining_mark(c)
}

/// At least two labels, none of them an address of the network layer.
pub(super) fn ascii_domain(domain: &str) -> Result<String, InvalidEmail> {
    let ascii = idna::domain_to_ascii_strict(domain).map_err(|_| InvalidEmail)?;
    let last = ascii.rsplit_once('.').map(|(_, last)| last).ok_or(InvalidEmail)?;
    let numeric = last.is_empty() || last.bytes().all(|byte| byte.is_ascii_digit());
    if numeric { Err(InvalidEmail) } else { Ok(ascii) }
}

/// Case folding by way of upper case, which is where `ß`, `ſ` and the final sigma lose their peculiarities.
pub(super) fn fold(text: &str) -> String {
    let compatible: String = text.nfkc().collect();
    let folded = compatible.to_uppercase().to_lowercase().replace("i\u{307}", "i").replace('ς', "σ");
    folded.nfkc().collect()
}

/// Contact data does not belong in logs.
impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(..)")
    }
}

impl fmt::Debug for EmailKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmailKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> String {
        text.parse::<Email>().unwrap().key.0
    }

    #[test]
    fn one_address_has_one_key_however_it_is_written() {
        for (one, other) in [
            ("Ann@Example.COM", "ann@example.com"),
            ("andr\u{e9}@example.com", "andre\u{301}@example.com"),
            ("\u{ff41}nn@example.com", "ann@example.com"),
            ("stra\u{df}e@example.com", "STRASSE@example.com"),
            ("\u{131}rmak@example.com", "IRMAK@example.com"),
            ("\u{130}rmak@example.com", "irmak@example.com"),
            ("ΟΔΟΣ@example.com", "οδος@example.com"),
            ("ann@b\u{fc}cher.example", "ann@xn--bcher-kva.example"),
            ("ann@BÜCHER.example", "ann@bu\u{308}cher.example"),
            ("ann@example\u{3002}com", "ann@example.com"),
        ] {
            assert_eq!(key(one), key(other), "{one}");
        }
    }

    #[test]
    fn different_addresses_have_different_keys() {
        assert_ne!(key("ann+shop@example.com"), key("ann@example.com"));
        assert_ne!(key("a.nn@example.com"), key("ann@example.com"));
        assert_ne!(key("ann@example.com"), key("ann@example.org"));
    }

    #[test]
    fn the_address_is_kept_as_it_was_given() {
        assert_eq!(
            "Ann.O'Hara+x@Example.COM".parse::<Email>().unwrap().address(),
            "Ann.O'Hara+x@Example.COM"
        );
    }

    #[test]
    fn what_cannot_be_an_address_is_refused() {
        let long_local = format!("{}@example.com", "a".repeat(65));
        let long = format!("a@{}.com", "b.".repeat(130));
        for bad in [
            "",
            "@",
            "ann",
            "ann@",
            "@example.com",
            "ann@localhost",
            "a@b@example.com",
            ".ann@example.com",
            "ann.@example.com",
            "a..nn@example.com",
            "\"ann\"@example.com",
            "ann(x)@example.com",
            "a nn@example.com",
            "ann@[127.0.0.1]",
            "ann@127.0.0.1",
            "ann@example.com\r\nBcc: x@y.z",
            "ann\0@example.com",
            "ann@-a.com",
            "ann@a-.com",
            "ann@.com",
            "ann@example..com",
            "ann@example.com.",
            "ann@exa_mple.com",
            "a\u{200b}nn@example.com",
            "ann@example.com ",
            "<ann@example.com>",
            &long_local,
            &long,
        ] {
            assert_eq!(bad.parse::<Email>(), Err(InvalidEmail), "{bad:?}");
        }
    }
}
