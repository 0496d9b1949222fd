//! Where the next page of many users begins, as it travels: what a token is good for, and the place in it.

use api::page_token;
use api::user::v1::list_users_request::OrderBy;
use api::user::v1::user;
use time::OffsetDateTime;
use types::UserId;
use uuid::Uuid;

use crate::domain::user::UserState;
use crate::domain::user_find::{Found, Rank, UserSearch};
use crate::domain::user_list::{PlaceKey, UserFilter, UserList, UserOrder, UserPlace};

const LIST: &str = "user.v1.UserService/ListUsers";
const SEARCH: &str = "user.v1.UserService/SearchUsers";
const STREAM: &str = "user.v1.UserService/StreamUsers";
const NANOS_OF_MILLI: i128 = 1_000_000;

/// The token of the page of a list behind a place.
pub(super) fn of_list(caller: Option<UserId>, list: &UserList, place: &UserPlace) -> String {
    encode(&list_of(caller, list), &place_bytes(place))
}

/// The place in such a token; `None` for any other.
pub(super) fn place_in_list(caller: Option<UserId>, list: &UserList, token: &str) -> Option<UserPlace> {
    let place = place(&decode(&list_of(caller, list), token)?)?;
    list.order.has(&place.key).then_some(place)
}

/// The token of the page of a search behind somebody who was found.
pub(super) fn of_search(caller: Option<UserId>, search: &UserSearch, last: &Found) -> String {
    encode(&search_of(caller, search), &found_bytes(last))
}

/// Who is in such a token; `None` for any other.
pub(super) fn last_of_search(caller: Option<UserId>, search: &UserSearch, token: &str) -> Option<Found> {
    let found = found(&decode(&search_of(caller, search), token)?)?;
    finds(search, &found.rank).then_some(found)
}

/// The token of a stream that goes on behind a user.
pub(super) fn of_stream(caller: Option<UserId>, filter: &UserFilter, through: UserId) -> String {
    encode(&filtered(STREAM, caller, filter), through.uuid().as_bytes())
}

/// Who is in such a token; `None` for any other.
pub(super) fn last_of_stream(caller: Option<UserId>, filter: &UserFilter, token: &str) -> Option<UserId> {
    let id = decode(&filtered(STREAM, caller, filter), token)?;
    Uuid::from_slice(&id).ok().map(UserId::from_uuid)
}

fn encode(list: &[String], position: &[u8]) -> String {
    page_token::encode(&as_texts(list), position)
}

fn decode(list: &[String], token: &str) -> Option<Vec<u8>> {
    page_token::decode(&as_texts(list), token)
}

/// What a page token is good for: this method, this caller, these users in this order.
fn list_of(caller: Option<UserId>, list: &UserList) -> Vec<String> {
    let order = match list.order {
        UserOrder::CreateTimeDesc => OrderBy::CreateTimeDesc,
        UserOrder::CreateTimeAsc => OrderBy::CreateTimeAsc,
        UserOrder::DisplayName => OrderBy::DisplayName,
        UserOrder::LastLoginTime => OrderBy::LastLoginTime,
    };
    let mut texts = filtered(LIST, caller, &list.filter);
    texts.push(order.as_str_name().to_owned());
    texts
}

fn filtered(method: &str, caller: Option<UserId>, filter: &UserFilter) -> Vec<String> {
    let moment = |time: Option<OffsetDateTime>| {
        time.map(|time| time.unix_timestamp_nanos().to_string()).unwrap_or_default()
    };
    let state = match filter.state {
        UserState::Active => user::State::Active,
        UserState::Deactivated => user::State::Deactivated,
        UserState::Deleted => user::State::Deleted,
    };
    let roles: Vec<&str> = filter.roles.iter().map(|role| role.as_str()).collect();
    vec![
        method.to_owned(),
        of_caller(caller),
        roles.join(","),
        state.as_str_name().to_owned(),
        moment(filter.created.start),
        moment(filter.created.end),
        moment(filter.logged_in.start),
        moment(filter.logged_in.end),
    ]
}

/// What a page token of a search is good for: this method, this caller, this search.
fn search_of(caller: Option<UserId>, search: &UserSearch) -> Vec<String> {
    let mut texts = vec![SEARCH.to_owned(), of_caller(caller)];
    match search {
        UserSearch::Words(words) => texts.extend(["words".to_owned(), words.join(" ")]),
        UserSearch::NamePrefix(prefix) => texts.extend(["name_prefix".to_owned(), prefix.clone()]),
        UserSearch::Near(near) => {
            let (longitude, latitude) = near.place.hundredths();
            let place = format!("{longitude} {latitude} {}", near.radius_km);
            texts.extend(["near".to_owned(), place]);
        }
    }
    texts
}

fn of_caller(caller: Option<UserId>) -> String {
    caller.map(|caller| caller.to_string()).unwrap_or_default()
}

fn as_texts(list: &[String]) -> Vec<&str> {
    list.iter().map(String::as_str).collect()
}

/// Whether a search comes to ranks of this kind.
fn finds(search: &UserSearch, rank: &Rank) -> bool {
    match search {
        UserSearch::Words(_) => matches!(rank, Rank::Score(_) | Rank::Words { .. }),
        UserSearch::NamePrefix(_) => matches!(rank, Rank::Name(_)),
        UserSearch::Near(_) => matches!(rank, Rank::Distance { .. }),
    }
}

const NOTHING: u8 = 0;
const TIME: u8 = 1;
const NAME: u8 = 2;
const SCORE: u8 = 3;
const NAME_OR_BIO: u8 = 4;
const DISTANCE: u8 = 5;

/// A position as a token carries it: of what kind it is, the key, and the id.
fn position(kind: u8, key: &[u8], id: UserId) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(id.uuid().as_bytes());
    bytes
}

fn parts(bytes: &[u8]) -> Option<(u8, &[u8], UserId)> {
    let (rest, id) = bytes.split_at_checked(bytes.len().checked_sub(16)?)?;
    let (kind, key) = rest.split_first()?;
    Some((*kind, key, UserId::from_uuid(Uuid::from_slice(id).ok()?)))
}

fn place_bytes(place: &UserPlace) -> Vec<u8> {
    match &place.key {
        PlaceKey::Nothing => position(NOTHING, &[], place.id),
        PlaceKey::Time(time) => {
            let millis = i64::try_from(time.unix_timestamp_nanos() / NANOS_OF_MILLI).unwrap_or(i64::MAX);
            position(TIME, &millis.to_be_bytes(), place.id)
        }
        PlaceKey::Name(name) => position(NAME, name.as_bytes(), place.id),
    }
}

fn place(bytes: &[u8]) -> Option<UserPlace> {
    let (kind, key, id) = parts(bytes)?;
    let key = match (kind, key) {
        (NOTHING, []) => PlaceKey::Nothing,
        (TIME, millis) => {
            let nanos = i128::from(i64::from_be_bytes(millis.try_into().ok()?)) * NANOS_OF_MILLI;
            PlaceKey::Time(OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?)
        }
        (NAME, name) => PlaceKey::Name(String::from_utf8(name.to_vec()).ok()?),
        _ => return None,
    };
    Some(UserPlace { key, id })
}

fn found_bytes(found: &Found) -> Vec<u8> {
    match &found.rank {
        Rank::Name(name) => position(NAME, name.as_bytes(), found.id),
        Rank::Score(score) => position(SCORE, &score.to_be_bytes(), found.id),
        Rank::Words { in_bio } => position(NAME_OR_BIO, &[u8::from(*in_bio)], found.id),
        Rank::Distance { mm } => position(DISTANCE, &mm.to_be_bytes(), found.id),
    }
}

fn found(bytes: &[u8]) -> Option<Found> {
    let (kind, key, id) = parts(bytes)?;
    let rank = match (kind, key) {
        (NAME, name) => Rank::Name(String::from_utf8(name.to_vec()).ok()?),
        (SCORE, score) => Rank::Score(i64::from_be_bytes(score.try_into().ok()?)),
        (NAME_OR_BIO, [in_bio @ 0..=1]) => Rank::Words { in_bio: *in_bio == 1 },
        (DISTANCE, mm) => Rank::Distance { mm: u64::from_be_bytes(mm.try_into().ok()?) },
        _ => return None,
    };
    Some(Found { rank, id })
}

#[cfg(test)]
mod tests {
    use types::Role;

    use super::*;
    use crate::domain::user_list::TimeRange;

    const ID: UserId = UserId::from_uuid(Uuid::from_u128(7));

    fn list(order: UserOrder) -> UserList {
        let all = TimeRange::default();
        let roles = vec![Role::Admin];
        UserList {
            filter: UserFilter { roles, state: UserState::Active, created: all, logged_in: all },
            order,
        }
    }

    #[test]
    fn a_place_is_read_back_and_fits_its_order_only() {
        let time = PlaceKey::Time(OffsetDateTime::UNIX_EPOCH + time::Duration::milliseconds(-1_234_567));
        let name = PlaceKey::Name("\u{fdfa}".repeat(66));
        for (order, good, bad) in [
            (UserOrder::CreateTimeDesc, vec![&time], vec![&name, &PlaceKey::Nothing]),
            (UserOrder::DisplayName, vec![&name, &PlaceKey::Nothing], vec![&time]),
            (UserOrder::LastLoginTime, vec![&time, &PlaceKey::Nothing], vec![&name]),
        ] {
            let list = list(order);
            for key in good {
                let place = UserPlace { key: key.clone(), id: ID };
                let token = of_list(None, &list, &place);
                assert!(token.len() <= 512, "{}", token.len());
                assert_eq!(place_in_list(None, &list, &token), Some(place));
                assert_eq!(place_in_list(Some(ID), &list, &token), None, "another caller");
            }
            for key in bad {
                let token = of_list(None, &list, &UserPlace { key: key.clone(), id: ID });
                assert_eq!(place_in_list(None, &list, &token), None, "{order:?} {key:?}");
            }
        }
    }

    #[test]
    fn who_was_found_is_read_back_and_fits_their_search_only() {
        let search = UserSearch::Words(vec!["tea".to_owned()]);
        let prefix = UserSearch::NamePrefix("tea".to_owned());
        for (search, other, rank) in [
            (&search, &prefix, Rank::Score(-7)),
            (&search, &prefix, Rank::Words { in_bio: true }),
            (&prefix, &search, Rank::Name("tea".to_owned())),
        ] {
            let found = Found { rank, id: ID };
            let token = of_search(None, search, &found);
            assert_eq!(last_of_search(None, search, &token), Some(found.clone()));
            assert_eq!(last_of_search(None, other, &token), None);
            let forged = of_search(None, other, &found);
            assert_eq!(last_of_search(None, other, &forged), None);
        }
        let near = Found { rank: Rank::Distance { mm: u64::MAX }, id: ID };
        assert_eq!(found(&found_bytes(&near)), Some(near));
    }

    #[test]
    fn what_is_no_position_is_none() {
        for bad in [
            &[][..],
            &[0; 15],
            &[1; 17],
            &[9; 17],
            &[0; 18],
            &[2, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert_eq!((place(bad), found(bad)), (None, None), "{bad:?}");
        }
        // A time that no calendar has.
        assert_eq!(place(&position(TIME, &i64::MAX.to_be_bytes(), ID)), None);
    }
}
