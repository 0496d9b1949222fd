//! The `update_mask` of an Update method (AIP-134): which fields of the resource the caller wants to change. It is
//! required, because an empty one that meant "all" would let a client that knows fewer fields than the server erase
//! those that it does not know.

use prost::Name;
use prost_reflect::MessageDescriptor;
pub use prost_types::FieldMask;

use crate::descriptor;
use crate::violations::Violations;

/// More paths than any resource has fields; of more, only that there are too many is told.
const PATHS_MAX: usize = 50;

/// The fields that a request changes.
#[derive(Debug)]
pub struct UpdateMask(Vec<&'static str>);

impl UpdateMask {
    /// The new value of a field, read and checked only if the mask names the field or what it is part of: `Some(None)`
    /// when it does not, `None` when the value breaks a rule.
    pub fn value<T>(&self, field: &str, read: impl FnOnce() -> Option<T>) -> Option<Option<T>> {
        if self.0.iter().any(|named| is_within(field, named)) { read().map(Some) } else { Some(None) }
    }
}

impl Violations {
    /// The required `update_mask` of a request for a resource `R`, which may name these of its fields.
    pub fn update_mask<R: Name>(
        &mut self,
        mask: Option<&FieldMask>,
        changeable: &[&'static str],
    ) -> UpdateMask {
        let paths = mask.map(|mask| mask.paths.as_slice()).unwrap_or_default();
        if paths.is_empty() {
            self.add(
                "update_mask",
                "REQUIRED",
                format!("must name at least one of: {}", changeable.join(", ")),
            );
        }
        if paths.len() > PATHS_MAX {
            self.add("update_mask", "TOO_MANY", format!("must have at most {PATHS_MAX} paths"));
            return UpdateMask(Vec::new());
        }
        let resource = descriptor::pool().get_message_by_name(&R::full_name());
        let mut named = Vec::with_capacity(paths.len());
        for path in paths {
            if let Some(field) = changeable.iter().find(|field| *field == path) {
                named.push(*field);
            } else if resource.as_ref().is_some_and(|resource| is_field(resource, path, changeable)) {
                self.add(
                    "update_mask",
                    "IMMUTABLE_FIELD",
                    format!("must not name {path}, which cannot be set"),
                );
            } else {
                let description = format!("must name fields of the resource: {}", changeable.join(", "));
                self.add("update_mask", "UNKNOWN_FIELD", description);
            }
        }
        UpdateMask(named)
    }
}

/// Whether a path is that of a field, or of a part of one.
fn is_within(path: &str, field: &str) -> bool {
    path.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Whether a path names a field, or a part of a field of which other parts can be named.
fn is_field(resource: &MessageDescriptor, path: &str, changeable: &[&'static str]) -> bool {
    let Some((whole, part)) = path.split_once('.') else { return resource.get_field_by_name(path).is_some() };
    let has_parts = changeable.iter().any(|field| *field != whole && is_within(field, whole));
    let message = resource.get_field_by_name(whole).and_then(|field| field.kind().as_message().cloned());
    has_parts && message.is_some_and(|message| message.get_field_by_name(part).is_some())
}

#[cfg(test)]
mod tests {
    use types::Failure;

    use super::*;
    use crate::order::v1::Product;
    use crate::user::v1::User;

    fn broken(paths: &[&str]) -> Vec<&'static str> {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        let mut violations = Violations::new();
        violations.update_mask::<Product>(Some(&FieldMask { paths }), &["name", "unit_price"]);
        match violations.finish(Some(())) {
            Ok(()) => Vec::new(),
            Err(Failure::Invalid(broken)) => {
                assert!(broken.iter().all(|violation| violation.field == "update_mask"), "{broken:?}");
                broken.iter().map(|violation| violation.reason).collect()
            }
            Err(failure) => panic!("{failure:?}"),
        }
    }

    #[test]
    fn a_mask_names_changeable_fields_and_nothing_else() {
        assert_eq!(broken(&["name"]), [] as [&str; 0]);
        assert_eq!(broken(&["name", "unit_price", "name"]), [] as [&str; 0]);
        assert_eq!(broken(&[]), ["REQUIRED"]);
        for unknown in ["", "*", "Name", "nam", "unit_price.minor_units", "name[0]", "unitPrice", "a\0b"] {
            assert_eq!(broken(&["name", unknown]), ["UNKNOWN_FIELD"], "{unknown:?}");
        }
        for immutable in ["id", "seller_id", "stock", "create_time", "etag"] {
            assert_eq!(broken(&[immutable]), ["IMMUTABLE_FIELD"], "{immutable}");
        }
        assert_eq!(broken(&["name"; 1000]), ["TOO_MANY"]);
        let mut violations = Violations::new();
        violations.update_mask::<Product>(None, &["name"]);
        assert!(!violations.is_empty(), "no mask is no mask of everything");
    }

    #[test]
    fn a_message_is_named_whole_or_by_its_parts() {
        let changeable = ["profile", "profile.bio"];
        let mut violations = Violations::new();
        let mut named = |path: &str| {
            let mask = FieldMask { paths: vec![path.to_owned()] };
            violations.update_mask::<User>(Some(&mask), &changeable)
        };
        let (whole, part) = (named("profile"), named("profile.bio"));
        for broken in ["profile.full_name", "profile.nothing", "profile.", "profile.bio.x", "profil"] {
            named(broken);
        }
        for mask in [whole, part] {
            assert_eq!(mask.value("profile.bio", || Some(1)), Some(Some(1)));
            assert_eq!(mask.value::<()>("profiles", || unreachable!("another field")), Some(None));
        }
        let Err(Failure::Invalid(broken)) = violations.finish(Some(())) else { panic!("rules are broken") };
        let reasons: Vec<_> = broken.iter().map(|violation| violation.reason).collect();
        assert_eq!(reasons[0], "IMMUTABLE_FIELD");
        assert_eq!(reasons[1..], ["UNKNOWN_FIELD"; 4]);
    }

    #[test]
    fn only_a_field_that_is_named_is_read() {
        let mut violations = Violations::new();
        let mask = FieldMask { paths: vec!["name".to_owned()] };
        let mask = violations.update_mask::<Product>(Some(&mask), &["name", "unit_price"]);
        assert_eq!(mask.value("name", || Some("tea")), Some(Some("tea")));
        assert_eq!(mask.value::<&str>("name", || None), None);
        assert_eq!(
            mask.value::<&str>("unit_price", || unreachable!("the mask does not name it")),
            Some(None)
        );
    }
}
