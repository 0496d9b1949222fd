//! How users look on the wire, and who sees what of them.

use api::auth::v1::Role as WireRole;
use api::read_mask::ReadMask;
use api::user::v1 as wire;
use api::violations::timestamp;
use auth::Principal;
use types::UserId;

use crate::domain::counters::FollowCounts;
use crate::domain::post::Post;
use crate::domain::profile::{HttpsUrl, Location, Profile};
use crate::domain::user::{OrderStatistics, UserState, WholeUser};
use crate::domain::user_view::{UserField, UserFields, UserView, Viewer};

/// As whom the caller sees a user.
pub(super) fn viewer(principal: &Principal, user_id: UserId) -> Viewer {
    if principal.service().is_some() {
        Viewer::Service
    } else if principal.person().is_some_and(|person| person.user_id == user_id) {
        Viewer::Owner
    } else if principal.is_admin() {
        Viewer::Admin
    } else {
        Viewer::Other
    }
}

/// Every field of a user that there may be something of, and the parts that it is made of.
const FIELDS: [(&str, &[UserField]); 25] = [
    ("email", &[UserField::Email]),
    ("display_name", &[UserField::DisplayName]),
    ("role", &[UserField::Role]),
    ("state", &[UserField::State]),
    ("create_time", &[UserField::CreateTime]),
    ("update_time", &[UserField::UpdateTime]),
    ("etag", &[UserField::Etag]),
    ("post_count", &[UserField::PostCount]),
    ("order_statistics", &[UserField::Statistics]),
    ("version", &[UserField::Version]),
    ("username", &[UserField::Username]),
    ("profile.given_name", &[UserField::GivenName]),
    ("profile.family_name", &[UserField::FamilyName]),
    ("profile.full_name", &[UserField::GivenName, UserField::FamilyName]),
    ("profile.bio", &[UserField::Bio]),
    ("profile.avatar_url", &[UserField::AvatarUrl]),
    ("profile.twitter", &[UserField::Twitter]),
    ("profile.facebook", &[UserField::Facebook]),
    ("profile.linkedin", &[UserField::Linkedin]),
    // Whether it is shared decides who sees it.
    ("profile.location", &[UserField::Location, UserField::LocationShared]),
    ("profile.location_shared", &[UserField::LocationShared]),
    ("last_login_time", &[UserField::LastLoginTime]),
    ("auth_epoch", &[UserField::AuthEpoch]),
    ("recent_posts", &[UserField::RecentPosts]),
    ("counts", &[UserField::PostCount, UserField::Counts]),
];

/// What has to be read for a mask.
pub(super) fn fields(mask: &ReadMask) -> UserFields {
    if mask.is_all() {
        return UserFields::everything();
    }
    let mut fields: Vec<UserField> = Vec::new();
    for part in FIELDS.into_iter().filter(|(path, _)| mask.wants(path)).flat_map(|(_, parts)| parts) {
        if !fields.contains(part) {
            fields.push(*part);
        }
    }
    UserFields::of(fields)
}

/// A user as the caller may see one.
pub(super) fn shown(principal: &Principal, whole: &WholeUser) -> wire::User {
    UserView::from(whole).seen_by(viewer(principal, whole.user.id)).into()
}

/// A user as they see themselves.
pub(super) fn own(whole: &WholeUser) -> wire::User {
    UserView::from(whole).seen_by(Viewer::Owner).into()
}

impl From<UserView> for wire::User {
    fn from(view: UserView) -> Self {
        let posts = view.post_count.unwrap_or_default();
        let counts = |FollowCounts { followers, following }| wire::UserCounts { posts, followers, following };
        Self {
            id: view.id.to_string(),
            email: view.email.unwrap_or_default(),
            display_name: view.display_name.unwrap_or_default(),
            role: view.role.map_or(WireRole::Unspecified, WireRole::from).into(),
            state: match view.state {
                Some(UserState::Active) => wire::user::State::Active,
                Some(UserState::Deactivated) => wire::user::State::Deactivated,
                Some(UserState::Deleted) => wire::user::State::Deleted,
                None => wire::user::State::Unspecified,
            }
            .into(),
            create_time: view.create_time.map(timestamp),
            update_time: view.update_time.map(timestamp),
            etag: view.version.map(|version| version.to_string()).unwrap_or_default(),
            post_count: posts,
            order_statistics: view.statistics.map(wire::OrderStatistics::from),
            version: view.event_version.unwrap_or_default(),
            username: view.username.unwrap_or_default(),
            profile: (view.profile != Profile::default()).then(|| view.profile.into()),
            last_login_time: view.last_login_time.map(timestamp),
            auth_epoch: view.auth_epoch.unwrap_or_default(),
            recent_posts: view.recent_posts.into_iter().map(wire::RecentPost::from).collect(),
            counts: view.follows.map(counts),
        }
    }
}

impl From<Post> for wire::RecentPost {
    fn from(post: Post) -> Self {
        Self {
            id: post.id.to_string(),
            slug: post.address(),
            title: post.title,
            excerpt: post.excerpt.unwrap_or_default(),
            publish_time: post.publish_time.map(timestamp),
        }
    }
}

impl From<Profile> for wire::Profile {
    fn from(profile: Profile) -> Self {
        let url = |url: Option<HttpsUrl>| url.map(|url| url.as_str().to_owned()).unwrap_or_default();
        Self {
            full_name: profile.full_name(),
            given_name: profile.given_name.unwrap_or_default(),
            family_name: profile.family_name.unwrap_or_default(),
            bio: profile.bio.unwrap_or_default(),
            avatar_url: url(profile.avatar_url),
            twitter: url(profile.twitter),
            facebook: url(profile.facebook),
            linkedin: url(profile.linkedin),
            location: profile.location.map(wire::Location::from),
            location_shared: profile.location_shared,
        }
    }
}

impl From<Location> for wire::Location {
    fn from(location: Location) -> Self {
        let (longitude_e7, latitude_e7) = location.e7();
        Self { longitude_e7, latitude_e7 }
    }
}

impl From<OrderStatistics> for wire::OrderStatistics {
    fn from(sums: OrderStatistics) -> Self {
        Self {
            placed_count: sums.placed_count,
            paid_count: sums.paid_count,
            cancelled_count: sums.cancelled_count,
            owned_count: sums.owned_count,
        }
    }
}

#[cfg(test)]
mod tests {
    use api::update_mask::FieldMask;
    use api::violations::Violations;

    use super::*;

    fn fields_of(paths: &[&str]) -> UserFields {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        fields(&Violations::new().read_mask::<wire::User>(Some(&FieldMask { paths })).unwrap())
    }

    #[test]
    fn a_mask_reads_what_it_names_is_made_of() {
        use UserField::{Bio, Email, Etag, FamilyName, GivenName, Location, LocationShared, Statistics};
        for (paths, expected) in [
            (&["id"][..], &[][..]),
            (&["email", "etag"], &[Email, Etag]),
            (&["order_statistics.placed_count"], &[Statistics]),
            (&["profile.full_name", "profile.bio"], &[GivenName, FamilyName, Bio]),
            (&["profile.location.latitude_e7"], &[Location, LocationShared]),
            (&["profile.location_shared"], &[LocationShared]),
        ] {
            assert_eq!(fields_of(paths), UserFields::of(expected.iter().copied()), "{paths:?}");
        }
        assert_eq!(fields(&ReadMask::default()), UserFields::everything());
    }

    /// A field that is not among them would always be empty where there is a mask.
    #[test]
    fn every_field_of_a_user_can_be_read_by_a_mask() {
        let user = api::descriptor::pool().get_message_by_name("user.v1.User").unwrap();
        let names: Vec<String> = user.fields().map(|field| field.name().to_owned()).collect();
        let paths: Vec<&str> = names.iter().map(String::as_str).collect();
        for field in UserField::ALL {
            assert!(fields_of(&paths).listed().unwrap().contains(&field), "{field:?}");
        }
        for name in paths.into_iter().filter(|name| *name != "id") {
            assert_ne!(fields_of(&[name]), UserFields::of([]), "{name}");
        }
    }
}
