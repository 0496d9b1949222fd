//! Under which key the failed logins of an address are counted, and which texts are no address and are not counted.
//!
//! User service decides which spellings mean the same address. Those must all have the same key here, or each spelling
//! would be another set of guesses. So the key leaves out more than user service does: accents, case and the encoding
//! of international domains. That two addresses share a wait now and then is harmless.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use types::Source;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// The longest part before the `@`, in bytes.
const LOCAL_BYTES_MAX: usize = 64;

/// Whether somebody may have this address. It must never be stricter than user service: else the owner could not log
/// in.
pub(crate) fn may_be_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let is_local = (1..=LOCAL_BYTES_MAX).contains(&local.len())
        && !local.chars().any(|c| c.is_control() || c.is_whitespace());
    let is_domain = idna::domain_to_ascii_strict(domain).is_ok_and(|domain| {
        domain.rsplit_once('.').is_some_and(|(_, last)| !last.bytes().all(|byte| byte.is_ascii_digit()))
    });
    is_local && is_domain
}

/// The key of an address, as lower-case hexadecimal digits: addresses themselves are not kept.
pub(crate) fn throttle_key(email: &str) -> String {
    let (local, domain) = email.trim().rsplit_once('@').unwrap_or((email, ""));
    let (domain, _) = idna::domain_to_unicode(domain);
    let skeleton = format!("{}@{}", skeleton(local), skeleton(domain.trim_end_matches('.')));
    HEXLOWER.encode(&Sha256::digest(skeleton))
}

/// The key of a source under that of an address. The source itself is not kept, and the keys do not show that two
/// addresses have a source in common.
pub(crate) fn source_key(address: &str, source: Source) -> String {
    HEXLOWER.encode(&Sha256::digest(format!("{address} {source}"))[..16])
}

fn skeleton(text: &str) -> String {
    // Folded twice, since a change of case may add marks: İ becomes i with a dot above.
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
    fn only_what_may_be_an_address_is_taken_for_one() {
        for good in [
            "ann@example.com",
            "Ann.O'Hara+x@Example.COM",
            "jos\u{e9}@b\u{fc}cher.example",
            "ann@xn--bcher-kva.example",
            "ann@example\u{3002}com",
            &format!("{}@example.com", "a".repeat(64)),
        ] {
            assert!(may_be_email(good), "{good}");
        }
        for bad in [
            "",
            "@",
            "ann",
            "ann@",
            "@example.com",
            "ann@localhost",
            "a@b@example.com",
            "a nn@example.com",
            "ann@example.com ",
            "ann@127.0.0.1",
            "ann@example.com.",
            "ann@exa_mple.com",
            &format!("{}@example.com", "a".repeat(65)),
        ] {
            assert!(!may_be_email(bad), "{bad:?}");
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
