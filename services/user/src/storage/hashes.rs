//! Hashes of chains, as the database has them.

use bookkeeping::Hash;
use bson::Binary;
use bson::spec::BinarySubtype;

use crate::error::{Error, Result};

/// A hash that this service wrote.
pub(super) fn hash(binary: &Binary) -> Result<Hash> {
    binary.bytes.as_slice().try_into().map_err(|_| Error::internal("a hash in a chain has another length"))
}

/// A hash to write.
pub(super) fn binary(hash: &Hash) -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes: hash.to_vec() }
}
