//! What a request said, kept to notice when its id is used again for something else.

/// What a request contained, so that reusing its id for another content is noticed: SHA-256 of the whole request, then
/// for each top-level field its number and four bytes of the field's hash. The latter only serve to name the fields
/// that differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint(Vec<u8>);

const WHOLE: usize = 32;
const FIELD: usize = 8;

impl Fingerprint {
    /// Puts a fingerprint together from the hash of the whole request and those of its fields, by number.
    #[must_use]
    pub fn new(whole: [u8; 32], fields: &[(u32, [u8; 4])]) -> Self {
        let mut bytes = whole.to_vec();
        for (number, hash) in fields {
            bytes.extend(number.to_be_bytes());
            bytes.extend(hash);
        }
        Self(bytes)
    }

    /// Reads back what a database kept; `None` for bytes that are not a fingerprint.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        let fields = bytes.len().checked_sub(WHOLE)?;
        fields.is_multiple_of(FIELD).then_some(Self(bytes))
    }

    /// What a database keeps.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether both were made of the same content.
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        self.0[..WHOLE] == other.0[..WHOLE]
    }

    /// The numbers of the top-level fields that differ, ascending.
    #[must_use]
    pub fn differing_fields(&self, other: &Self) -> Vec<u32> {
        let (ours, theirs) = (self.fields(), other.fields());
        let mut numbers: Vec<u32> = ours
            .iter()
            .filter(|field| !theirs.contains(field))
            .chain(theirs.iter().filter(|field| !ours.contains(field)))
            .map(|(number, _)| *number)
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    fn fields(&self) -> Vec<(u32, [u8; 4])> {
        let (chunks, _) = self.0[WHOLE..].as_chunks::<FIELD>();
        chunks.iter().map(|[a, b, c, d, hash @ ..]| (u32::from_be_bytes([*a, *b, *c, *d]), *hash)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differing_fields_are_named_whichever_side_has_them() {
        let one = Fingerprint::new([1; 32], &[(2, [1; 4]), (3, [1; 4])]);
        let two = Fingerprint::new([2; 32], &[(2, [1; 4]), (3, [9; 4]), (4, [1; 4])]);
        assert_eq!(one.differing_fields(&two), [3, 4]);
        assert_eq!(two.differing_fields(&one), [3, 4]);
        assert!(!one.same_content(&two) && one.same_content(&one.clone()));
        assert_eq!(Fingerprint::from_bytes(one.as_bytes().to_vec()), Some(one));
        assert_eq!(Fingerprint::from_bytes(vec![0; 33]), None);
    }
}
