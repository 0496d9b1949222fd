//! Under which key failed logins of an address are counted.
//!
//! User service decides which spellings are one address. The key here must never tell spellings apart that it
//! takes for one, or each spelling would be another set of guesses; so it takes many more for one: without
//! accents, whatever the case, IDNA undone. That two addresses share a wait is harmless.

use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// The key of an address, as lower-case hexadecimal digits: addresses themselves are not kept.
pub(crate) fn throttle_key(email: &str) -> String {
    let (local, domain) = email.trim().rsplit_once('@').unwrap_or((email, ""));
    let (domain, _) = idna::domain_to_unicode(domain);
    let skeleton = format!("{}@{}", skeleton(local), skeleton(domain.trim_end_matches('.')));
    Sha256::digest(skeleton).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn skeleton(text: &str) -> String {
    // Twice, since a change of case may bring marks back: İ becomes i with a dot above.
    let once = fold(text);
    fold(&once)
}

fn fold(text: &str) -> String {
    text.nfkd().filter(|c| !is_combining_mark(*c)).collect::<String>().to_uppercase().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_address_share_a_key() {
        for (one, other) in [
            ("ann@example.com", "ANN@Example.COM"),
            ("ann@bücher.example", "ann@xn--bcher-kva.example"),
            ("jos\u{e9}@example.com", "jose\u{301}@example.com"),
            ("\u{ff41}nn@example.com", "ann@example.com"),
            ("straße@example.com", "STRASSE@example.com"),
            ("\u{130}@example.com", "i@example.com"),
            ("ann@example.com.", "ann@example.com"),
            (" ann@example.com ", "ann@example.com"),
        ] {
            assert_eq!(throttle_key(one), throttle_key(other), "{one} {other}");
        }
    }

    #[test]
    fn other_addresses_have_other_keys() {
        let keys = ["a@b.example", "b@a.example", "a@bexample", "ab.example", "a@b@c.example", "a"]
            .map(throttle_key);
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[..at].contains(key) && key.len() == 64);
        }
    }
}
