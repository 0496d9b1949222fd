//! Opaque tokens: 256 random bits without any meaning.
//!
//! `ts_a_0f_<43 characters>_<6 characters>`: a prefix that secret scanners can look for, the kind, the
//! partition that keeps the session, the random part in base 62, and a checksum (CRC-32) that lets a typing
//! error be refused without a look-up. The checksum is no protection: whoever holds a token can compute it.
//! Stores keep [`AccessToken::hash`], never the token.

use std::fmt;

use sha2::{Digest, Sha256};

/// How many partitions there are; a partition is written with two hexadecimal digits.
pub const PARTITIONS: u8 = 16;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 43 characters of 62 are 256.03 bits.
const RANDOM: usize = 43;
const CHECKSUM: usize = 6;
const HEAD: usize = "ts_a_0f_".len();
const BODY: usize = HEAD + RANDOM;
/// The length of every token.
pub const LENGTH: usize = BODY + 1 + CHECKSUM;

macro_rules! kind {
    ($(#[$doc:meta])* $name:ident, $letter:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name(Token);

        impl $name {
            /// Makes a new token for a session of this partition.
            ///
            /// # Panics
            /// When the partition is not below [`PARTITIONS`], or the system has no random numbers to make a secret
            /// from.
            #[must_use]
            pub fn generate(partition: u8) -> Self {
                Self(Token::generate($letter, partition))
            }

            /// Reads a token. `None` for another kind and for anything whose length, alphabet or checksum is
            /// wrong.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                Token::parse($letter, text).map(Self)
            }

            /// What a store keeps instead of the token.
            #[must_use]
            pub fn hash(&self) -> [u8; 32] {
                Sha256::digest(self.0.0).into()
            }

            /// Which partition keeps the session.
            #[must_use]
            pub fn partition(&self) -> u8 {
                self.0.partition()
            }

            /// The secret itself, for the one message that hands it to its owner.
            #[must_use]
            pub fn expose(&self) -> &str {
                std::str::from_utf8(&self.0.0).expect("tokens are ASCII")
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };
}

kind! {
    /// Shown with every call.
    AccessToken, b'a'
}
kind! {
    /// Shown once, for new tokens.
    RefreshToken, b'r'
}

#[derive(Clone, PartialEq, Eq)]
struct Token([u8; LENGTH]);

impl Token {
    fn generate(kind: u8, partition: u8) -> Self {
        assert!(partition < PARTITIONS, "there are {PARTITIONS} partitions");
        let mut token = [b'_'; LENGTH];
        token[..HEAD].copy_from_slice(&head(kind, partition));
        fill_random(&mut token[HEAD..BODY]);
        let checksum = checksum(&token[..BODY]);
        token[BODY + 1..].copy_from_slice(&checksum);
        Self(token)
    }

    fn parse(kind: u8, text: &str) -> Option<Self> {
        let token: [u8; LENGTH] = text.as_bytes().try_into().ok()?;
        // Every part is checked, even when another one is wrong, so that the time tells nothing.
        let hex = token[6];
        let partition = match hex {
            b'0'..=b'9' => hex - b'0',
            b'a'..=b'f' => hex - b'a' + 10,
            _ => PARTITIONS,
        };
        let head_right = token[..HEAD] == head(kind, partition);
        let alphabet_right =
            token[HEAD..BODY].iter().fold(true, |right, byte| right & byte.is_ascii_alphanumeric());
        let checksum_right = token[BODY] == b'_' && token[BODY + 1..] == checksum(&token[..BODY]);
        (head_right & alphabet_right & checksum_right).then_some(Self(token))
    }

    fn partition(&self) -> u8 {
        let hex = self.0[6];
        if hex.is_ascii_digit() { hex - b'0' } else { hex - b'a' + 10 }
    }
}

fn head(kind: u8, partition: u8) -> [u8; HEAD] {
    // For a partition that does not exist this is a head that no token has.
    let digit = b"0123456789abcdef?"[usize::from(partition.min(PARTITIONS))];
    [b't', b's', b'_', kind, b'_', b'0', digit, b'_']
}

/// Fills with random characters of the alphabet. Bytes that would make some characters more likely than others are left
/// out.
fn fill_random(out: &mut [u8]) {
    const FAIR: u8 = 248;
    let mut filled = 0;
    while filled < out.len() {
        let mut bytes = [0; 64];
        getrandom::fill(&mut bytes).expect("the system has random numbers");
        for byte in bytes.into_iter().filter(|byte| *byte < FAIR).take(out.len() - filled) {
            out[filled] = ALPHABET[usize::from(byte % 62)];
            filled += 1;
        }
    }
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM] {
    let mut rest = crc32fast::hash(body);
    let mut out = [b'0'; CHECKSUM];
    for digit in out.iter_mut().rev() {
        *digit = ALPHABET[(rest % 62) as usize];
        rest /= 62;
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_survives_the_wire_and_knows_its_partition() {
        for partition in 0..PARTITIONS {
            let token = AccessToken::generate(partition);
            let read = AccessToken::parse(token.expose()).unwrap();
            assert_eq!((read.partition(), read.hash()), (partition, token.hash()));
            assert!(token.expose().starts_with(&format!("ts_a_{partition:02x}_")), "{}", token.expose());
        }
    }

    #[test]
    fn kinds_are_not_mixed_up() {
        assert_eq!(AccessToken::parse(RefreshToken::generate(3).expose()), None);
        assert_eq!(RefreshToken::parse(AccessToken::generate(3).expose()), None);
    }

    #[test]
    fn debug_tells_nothing() {
        assert_eq!(format!("{:?}", AccessToken::generate(0)), "AccessToken(..)");
    }

    #[test]
    fn a_thousand_tokens_differ_and_use_the_whole_alphabet() {
        let tokens: HashSet<_> = (0..1000).map(|_| AccessToken::generate(0).expose().to_owned()).collect();
        assert_eq!(tokens.len(), 1000);
        let used: HashSet<u8> =
            tokens.iter().flat_map(|token| token.as_bytes()[HEAD..BODY].to_vec()).collect();
        assert_eq!(used.len(), ALPHABET.len());
    }

    proptest! {
        #[test]
        fn one_changed_character_is_noticed(at in 0..LENGTH, to in any::<char>()) {
            let token = AccessToken::generate(7).expose().to_owned();
            let changed: String =
                token.chars().enumerate().map(|(index, old)| if index == at { to } else { old }).collect();
            prop_assert_eq!(AccessToken::parse(&changed).is_some(), changed == token);
        }

        #[test]
        fn anything_else_is_refused_without_a_panic(text in ".{0,80}") {
            prop_assert!(AccessToken::parse(&text).is_none());
        }
    }
}
