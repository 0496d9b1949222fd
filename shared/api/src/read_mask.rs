//! The `read_mask` of a reading method (AIP-157): which parts of the resource the caller wants to have. Without one, and
//! with an empty one, that is everything which the caller may see.

use prost::{Message, Name};
use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage as _, Value};
use prost_types::FieldMask;

use crate::descriptor;
use crate::violations::Violations;

/// More paths than any resource has fields; of more, only that there are too many is told.
const PATHS_MAX: usize = 50;

/// What a caller wants to read.
#[derive(Debug, Clone, Default)]
pub struct ReadMask(Option<Vec<String>>);

impl ReadMask {
    /// Whether the mask is about everything.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.0.is_none()
    }

    /// Whether the caller wants a field, or a part of it.
    #[must_use]
    pub fn wants(&self, field: &str) -> bool {
        let Some(paths) = &self.0 else { return true };
        paths.iter().any(|path| below(path, field).is_some() || below(field, path).is_some())
    }

    /// The message with what the caller wants, and nothing else.
    ///
    /// # Panics
    /// When the message is of none of our packages.
    #[must_use]
    pub fn cut<M: Message + Name + Default>(&self, message: M) -> M {
        const OURS: &str = "the descriptors have all of our messages";
        let Some(paths) = &self.0 else { return message };
        let descriptor = descriptor::pool().get_message_by_name(&M::full_name()).expect(OURS);
        let mut whole = DynamicMessage::new(descriptor);
        whole.transcode_from(&message).expect(OURS);
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        keep(&mut whole, &paths);
        whole.transcode_to().expect(OURS)
    }
}

impl Violations {
    /// The optional `read_mask` of a request for a resource `R`.
    pub fn read_mask<R: Name>(&mut self, mask: Option<&FieldMask>) -> Option<ReadMask> {
        let paths = mask.map(|mask| mask.paths.as_slice()).unwrap_or_default();
        if paths.is_empty() {
            return Some(ReadMask::default());
        }
        if paths.len() > PATHS_MAX {
            self.add("read_mask", "TOO_MANY", format!("must have at most {PATHS_MAX} paths"));
            return None;
        }
        let resource = descriptor::pool().get_message_by_name(&R::full_name());
        let is_known =
            |path: &String| resource.as_ref().is_some_and(|resource| is_field(resource, path.as_str()));
        let unknown = paths.iter().filter(|path| !is_known(path)).count();
        for _ in 0..unknown {
            self.add("read_mask", "UNKNOWN_FIELD", "must name fields of the resource");
        }
        (unknown == 0).then(|| ReadMask(Some(paths.to_vec())))
    }
}

/// What is left of a path below a field: nothing when it is the field.
fn below<'a>(path: &'a str, field: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(field)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('.') }
}

/// Whether a path leads to a field. Messages of others, such as times, are read whole, and so is what there are many of.
fn is_field(message: &MessageDescriptor, path: &str) -> bool {
    let (head, rest) = path.split_once('.').map_or((path, None), |(head, rest)| (head, Some(rest)));
    let Some(field) = message.get_field_by_name(head) else { return false };
    let Some(rest) = rest else { return true };
    let kind = field.kind();
    let inner = kind.as_message().filter(|inner| !inner.package_name().starts_with("google."));
    !field.is_list() && !field.is_map() && inner.is_some_and(|inner| is_field(inner, rest))
}

fn keep(message: &mut DynamicMessage, paths: &[&str]) {
    for field in message.descriptor().fields() {
        let parts: Vec<&str> = paths.iter().filter_map(|path| below(path, field.name())).collect();
        if parts.is_empty() {
            message.clear_field(&field);
        } else if !parts.contains(&"")
            && message.has_field(&field)
            && let Value::Message(inner) = message.get_field_mut(&field)
        {
            keep(inner, &parts);
        }
    }
}

#[cfg(test)]
mod tests {
    use types::Failure;

    use super::*;
    use crate::user::v1::{Location, Profile, User};

    fn mask(paths: &[&str]) -> Result<ReadMask, Vec<&'static str>> {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        let mut violations = Violations::new();
        let mask = violations.read_mask::<User>(Some(&FieldMask { paths }));
        violations.finish(mask).map_err(|failure| {
            let Failure::Invalid(broken) = failure else { panic!("{failure:?}") };
            assert!(broken.iter().all(|violation| violation.field == "read_mask"), "{broken:?}");
            broken.iter().map(|violation| violation.reason).collect()
        })
    }

    fn ann() -> User {
        let location = Some(Location { longitude_e7: 100_000, latitude_e7: 200_000 });
        let profile = Profile { bio: "Tea".to_owned(), location, ..Profile::default() };
        User {
            id: "1".to_owned(),
            etag: "2".to_owned(),
            create_time: Some(prost_types::Timestamp { seconds: 1, nanos: 2 }),
            profile: Some(profile),
            ..User::default()
        }
    }

    #[test]
    fn a_mask_names_what_the_resource_has() {
        for good in [&["id"][..], &["profile", "profile.bio"], &["profile.location.longitude_e7", "id", "id"]]
        {
            assert!(mask(good).is_ok(), "{good:?}");
        }
        let unknown = [
            "",
            "*",
            "ID",
            "createTime",
            "profile.",
            ".id",
            "profile.nothing",
            "id.x",
            "create_time.seconds",
            "a\0b",
        ];
        for unknown in unknown {
            assert_eq!(mask(&["id", unknown]).unwrap_err(), ["UNKNOWN_FIELD"], "{unknown:?}");
        }
        assert_eq!(mask(&["id"; 51]).unwrap_err(), ["TOO_MANY"]);
        assert!(mask(&[]).unwrap().is_all(), "an empty one is none");
    }

    #[test]
    fn what_is_wanted_is_what_is_named_what_it_is_part_of_and_its_parts() {
        let bio = mask(&["profile.bio", "email"]).unwrap();
        for wanted in ["profile", "profile.bio", "email"] {
            assert!(bio.wants(wanted), "{wanted}");
        }
        for other in ["profile.given_name", "id", "prof"] {
            assert!(!bio.wants(other), "{other}");
        }
        let profile = mask(&["profile"]).unwrap();
        assert!(profile.wants("profile.bio") && !profile.wants("email") && !profile.is_all());
    }

    #[test]
    fn what_is_not_named_is_cut_off() {
        assert_eq!(mask(&[]).unwrap().cut(ann()), ann());
        assert_eq!(mask(&["id"]).unwrap().cut(ann()), User { id: "1".to_owned(), ..User::default() });
        let profile = mask(&["profile", "create_time"]).unwrap().cut(ann());
        assert_eq!(profile, User { id: String::new(), etag: String::new(), ..ann() });
        let longitude = mask(&["profile.location.longitude_e7"]).unwrap().cut(ann());
        let location = Some(Location { longitude_e7: 100_000, latitude_e7: 0 });
        let expected = User { profile: Some(Profile { location, ..Profile::default() }), ..User::default() };
        assert_eq!(longitude, expected);
        assert_eq!(mask(&["profile.bio"]).unwrap().cut(User::default()), User::default());
    }
}
