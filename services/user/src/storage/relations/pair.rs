//! The key of an edge.

use bson::Binary;
use bson::spec::BinarySubtype;
use uuid::Uuid;

/// From one to the other: both ids, one behind the other.
pub(super) fn pair(from: impl Into<Uuid>, to: impl Into<Uuid>) -> Binary {
    let bytes = [from.into().into_bytes(), to.into().into_bytes()].concat();
    Binary { subtype: BinarySubtype::Generic, bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back_are_two_keys() {
        let [one, other] = [1, 2].map(Uuid::from_u128);
        assert_ne!(pair(one, other), pair(other, one));
        assert_eq!(pair(one, other).bytes, [one.into_bytes(), other.into_bytes()].concat());
    }
}
