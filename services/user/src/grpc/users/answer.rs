//! How users look on the wire, and who sees what of them.

use api::auth::v1::Role as WireRole;
use api::user::v1 as wire;
use api::violations::timestamp;
use auth::Principal;
use types::UserId;

use crate::domain::profile::{HttpsUrl, Location, Profile};
use crate::domain::user::{OrderStatistics, User, UserState, WholeUser};
use crate::domain::user_view::{UserView, Viewer};

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

/// A user as the caller may see one.
pub(super) fn shown(principal: &Principal, whole: &WholeUser) -> wire::User {
    UserView::from(whole).seen_by(viewer(principal, whole.user.id)).into()
}

/// A user as they see themselves.
pub(super) fn own(whole: &WholeUser) -> wire::User {
    UserView::from(whole).seen_by(Viewer::Owner).into()
}

/// A user for a service that keeps a read model of who there is and what they may do.
pub(super) fn for_read_model(user: &User) -> wire::User {
    let view = UserView::from(user);
    UserView { username: None, profile: Profile::default(), last_login_time: None, auth_epoch: None, ..view }
        .into()
}

impl From<UserView> for wire::User {
    fn from(view: UserView) -> Self {
        Self {
            id: view.id.to_string(),
            email: view.email.unwrap_or_default(),
            display_name: view.display_name.unwrap_or_default(),
            role: view.role.map_or(WireRole::Unspecified, WireRole::from).into(),
            state: match view.state {
                Some(UserState::Active) => wire::user::State::Active,
                Some(UserState::Deactivated) => wire::user::State::Deactivated,
                None => wire::user::State::Unspecified,
            }
            .into(),
            create_time: view.create_time.map(timestamp),
            update_time: view.update_time.map(timestamp),
            etag: view.version.map(|version| version.to_string()).unwrap_or_default(),
            post_count: view.post_count.unwrap_or_default(),
            order_statistics: view.statistics.map(wire::OrderStatistics::from),
            version: view.event_version.unwrap_or_default(),
            username: view.username.unwrap_or_default(),
            profile: (view.profile != Profile::default()).then(|| view.profile.into()),
            last_login_time: view.last_login_time.map(timestamp),
            auth_epoch: view.auth_epoch.unwrap_or_default(),
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
