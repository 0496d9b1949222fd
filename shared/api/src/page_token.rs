//! Opaque page tokens: where the next page starts, bound to the list that it came from. A token gives no permission,
//! since rights are checked on every page, so it is bound by a hash and needs no secret key.

use data_encoding::HEXLOWER;
use prost::encoding::{decode_varint, encode_varint};
use sha2::{Digest, Sha256};

const BINDING: usize = 16;

/// Makes the token of the page that starts after `position`. `list` says which list it is: method, caller
/// and filters.
#[must_use]
pub fn encode(list: &[&str], position: &[u8]) -> String {
    let mut bytes = binding(list, position).to_vec();
    bytes.extend_from_slice(position);
    HEXLOWER.encode(&bytes)
}

/// Reads a token back; `None` when it is damaged or of another list.
#[must_use]
pub fn decode(list: &[&str], token: &str) -> Option<Vec<u8>> {
    if token.len() > 512 {
        return None;
    }
    let bytes = HEXLOWER.decode(token.as_bytes()).ok()?;
    let (bound, position) = bytes.split_at_checked(BINDING)?;
    (bound == binding(list, position)).then(|| position.to_vec())
}

/// A token for a list that is ordered by a number.
#[must_use]
pub fn encode_number(list: &[&str], number: u64) -> String {
    let mut position = Vec::new();
    encode_varint(number, &mut position);
    encode(list, &position)
}

/// Reads back what [`encode_number`] made.
#[must_use]
pub fn decode_number(list: &[&str], token: &str) -> Option<u64> {
    let position = decode(list, token)?;
    let mut rest = position.as_slice();
    let number = decode_varint(&mut rest).ok()?;
    rest.is_empty().then_some(number)
}

fn binding(list: &[&str], position: &[u8]) -> [u8; BINDING] {
    let mut parts: Vec<&[u8]> = list.iter().map(|part| part.as_bytes()).collect();
    parts.push(position);
    let hash: [u8; 32] = Sha256::digest(crate::fingerprint::join(&parts)).into();
    let [bound @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = hash;
    bound
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_own_list_only() {
        let list = ["user.v1.WalletService/ListWalletEntries", "ann", "EUR"];
        let token = encode_number(&list, 300);
        assert_eq!(decode_number(&list, &token), Some(300));
        assert_eq!(decode_number(&["x", "ann", "EUR"], &token), None);
        assert_eq!(decode_number(&["user.v1.WalletService/ListWalletEntries", "annEUR", ""], &token), None);
        for bad in ["", "zz", "é", &token[2..], &token[..token.len() - 2], &token.replace('a', "b")] {
            if bad != token {
                assert_eq!(decode_number(&list, bad), None, "{bad}");
            }
        }
    }
}
