//! What requests for many users ask for, and how they are answered: lists, searches and streams.

use api::auth::v1::Role as WireRole;
use api::read_mask::ReadMask;
use api::user::v1::list_users_request::OrderBy;
use api::user::v1::search_users_response::Ranking;
use api::user::v1::{
    self as wire, ListUsersRequest, ListUsersResponse, SearchUsersRequest, SearchUsersResponse,
    StreamUsersRequest, StreamUsersResponse, user,
};
use api::violations::{Violations, time};
use prost_types::Timestamp;
use types::{Role, UserId, search};

use super::convert::{location, read_mask};
use super::tokens;
use crate::app::users::{FoundPage, ListUsers, PageStart, SearchUsers, StreamUsers, UserBatch, UserPage};
use crate::domain::user::UserState;
use crate::domain::user_find::{Near, UserSearch};
use crate::domain::user_list::{TimeRange, UserFilter, UserList, UserOrder};
use crate::domain::user_search::name_key;

/// Of users who say a good deal of themselves, these fit into one message.
const PAGE_MAX: u32 = 500;
const SKIP_MAX: u32 = 10_000;
const WORDS_CHARS: std::ops::RangeInclusive<usize> = 2..=64;
const PREFIX_CHARS_MAX: usize = 50;
const RADIUS_KM: std::ops::RangeInclusive<i32> = 1..=100;
const ALL_ROLES: [Role; 3] = [Role::Customer, Role::Merchant, Role::Admin];

pub(super) fn list_users(v: &mut Violations, request: &ListUsersRequest) -> Option<(ListUsers, ReadMask)> {
    let filter = filter(v, request.filter.as_ref());
    let order = order(v, request.order_by);
    if let (Some(filter), Some(order)) = (&filter, order) {
        require_own_order(v, filter, order);
    }
    let size = v.page_size(request.page_size).map(|size| size.min(PAGE_MAX));
    let skip = skip(v, request);
    let mask = read_mask(v, request.read_mask.as_ref());
    let list = filter.zip(order).map(|(filter, order)| UserList { filter, order });
    let start = match (request.page_token.as_str(), &list) {
        ("", _) | (_, None) => skip.map(PageStart::Skip),
        (token, Some(list)) => {
            let place = tokens::place_in_list(v.caller(), list, token);
            if place.is_none() {
                v.invalid_page_token();
            }
            place.map(PageStart::Behind)
        }
    };
    let wish = ListUsers { list: list?, start: start?, size: size?, counts: request.show_total_size };
    skip?;
    mask.map(|mask| (wish, mask))
}

pub(super) fn stream_users(
    v: &mut Violations,
    request: &StreamUsersRequest,
) -> Option<(StreamUsers, ReadMask)> {
    let filter = filter(v, request.filter.as_ref());
    let mask = read_mask(v, request.read_mask.as_ref());
    let after = match (request.resume_token.as_str(), &filter) {
        ("", _) | (_, None) => Some(None),
        (token, Some(filter)) => {
            let after = tokens::last_of_stream(v.caller(), filter, token);
            if after.is_none() {
                let rule = "must be a resume_token of a stream with the same filter";
                v.add("resume_token", "INVALID_RESUME_TOKEN", rule);
            }
            after.map(Some)
        }
    };
    let wish = StreamUsers { filter: filter?, after: after? };
    mask.map(|mask| (wish, mask))
}

pub(super) fn search_users(
    v: &mut Violations,
    request: &SearchUsersRequest,
) -> Option<(SearchUsers, ReadMask)> {
    let search = user_search(v, request);
    let size = v.page_size(request.page_size);
    let mask = read_mask(v, request.read_mask.as_ref());
    let after = match (request.page_token.as_str(), &search) {
        ("", _) | (_, None) => Some(None),
        (token, Some(search)) => {
            let found = tokens::last_of_search(v.caller(), search, token);
            if found.is_none() {
                v.invalid_page_token();
            }
            found.map(Some)
        }
    };
    let wish = SearchUsers { search: search?, after: after?, size: size? };
    mask.map(|mask| (wish, mask))
}

fn filter(v: &mut Violations, filter: Option<&wire::UserFilter>) -> Option<UserFilter> {
    let filter = filter.cloned().unwrap_or_default();
    let roles = roles(v, &filter.roles);
    let state = match user::State::try_from(filter.state) {
        Ok(user::State::Unspecified | user::State::Active) => Some(UserState::Active),
        Ok(user::State::Deactivated) => Some(UserState::Deactivated),
        Ok(user::State::Deleted) => Some(UserState::Deleted),
        Err(_) => {
            v.add("filter.state", "UNKNOWN_ENUM_VALUE", "must be one of the states");
            None
        }
    };
    let created = range(v, "create", filter.create_start_time.as_ref(), filter.create_end_time.as_ref());
    let logged_in = range(v, "login", filter.login_start_time.as_ref(), filter.login_end_time.as_ref());
    Some(UserFilter { roles: roles?, state: state?, created: created?, logged_in: logged_in? })
}

fn roles(v: &mut Violations, numbers: &[i32]) -> Option<Vec<Role>> {
    if numbers.is_empty() {
        return Some(ALL_ROLES.to_vec());
    }
    if numbers.len() > ALL_ROLES.len() {
        v.add("filter.roles", "TOO_MANY", "must name each role once at most");
        return None;
    }
    let mut roles = Vec::new();
    for (place, number) in numbers.iter().enumerate() {
        let field = format!("filter.roles[{place}]");
        match WireRole::try_from(*number).map(WireRole::known) {
            Err(_) => v.add(&field, "UNKNOWN_ENUM_VALUE", "must be one of the roles"),
            Ok(None) => v.add(&field, "REQUIRED", "must be set"),
            Ok(Some(role)) if roles.contains(&role) => v.add(&field, "DUPLICATE", "must name each role once"),
            Ok(Some(role)) => roles.push(role),
        }
    }
    // In one order, whatever that of the request is.
    let named: Vec<Role> = ALL_ROLES.into_iter().filter(|role| roles.contains(role)).collect();
    (named.len() == numbers.len()).then_some(named)
}

fn range(
    v: &mut Violations,
    of: &str,
    start: Option<&Timestamp>,
    end: Option<&Timestamp>,
) -> Option<TimeRange> {
    let mut moment = |end_of: &str, text: Option<&Timestamp>| {
        let Some(text) = text else { return Some(None) };
        let moment = time(text);
        if moment.is_none() {
            let rule = "must be of the years 1 to 9999, with nanoseconds below a second";
            v.add(&format!("filter.{of}_{end_of}_time"), "INVALID_TIMESTAMP", rule);
        }
        moment.map(Some)
    };
    let (start, end) = (moment("start", start), moment("end", end));
    let (start, end) = start.zip(end)?;
    if start.zip(end).is_some_and(|(start, end)| end < start) {
        let field = format!("filter.{of}_end_time");
        v.add(&field, "BEFORE_START_TIME", format!("must not be before {of}_start_time"));
        return None;
    }
    Some(TimeRange { start, end })
}

fn order(v: &mut Violations, number: i32) -> Option<UserOrder> {
    match OrderBy::try_from(number) {
        Ok(OrderBy::Unspecified | OrderBy::CreateTimeDesc) => Some(UserOrder::CreateTimeDesc),
        Ok(OrderBy::CreateTimeAsc) => Some(UserOrder::CreateTimeAsc),
        Ok(OrderBy::DisplayName) => Some(UserOrder::DisplayName),
        Ok(OrderBy::LastLoginTime) => Some(UserOrder::LastLoginTime),
        Err(_) => {
            v.add("order_by", "UNKNOWN_ENUM_VALUE", "must be one of the orders");
            None
        }
    }
}

/// A range of times is a piece of an index only in the order of these times.
fn require_own_order(v: &mut Violations, filter: &UserFilter, order: UserOrder) {
    let (by_creation, by_login) = match order {
        UserOrder::CreateTimeDesc | UserOrder::CreateTimeAsc => (true, false),
        UserOrder::LastLoginTime => (false, true),
        UserOrder::DisplayName => (false, false),
    };
    let ends = |of: &str, range: &TimeRange| {
        let field = |end: &str, is_set: bool| is_set.then(|| format!("filter.{of}_{end}_time"));
        [field("start", range.start.is_some()), field("end", range.end.is_some())]
    };
    let creation = ends("create", &filter.created).into_iter().flatten().filter(|_| !by_creation);
    for field in creation {
        let rule = "goes with ORDER_BY_CREATE_TIME_DESC and ORDER_BY_CREATE_TIME_ASC only";
        v.add(&field, "OTHER_ORDER", rule);
    }
    let login = ends("login", &filter.logged_in).into_iter().flatten().filter(|_| !by_login);
    for field in login {
        v.add(&field, "OTHER_ORDER", "goes with ORDER_BY_LAST_LOGIN_TIME only");
    }
}

fn skip(v: &mut Violations, request: &ListUsersRequest) -> Option<u64> {
    let Ok(skip) = u32::try_from(request.skip) else {
        v.add("skip", "NEGATIVE", "must not be negative");
        return None;
    };
    if skip > SKIP_MAX {
        v.add("skip", "TOO_LARGE", format!("must be at most {SKIP_MAX}; page tokens lead further"));
        return None;
    }
    if skip > 0 && !request.page_token.is_empty() {
        v.add("skip", "WITH_PAGE_TOKEN", "must not be set together with page_token");
        return None;
    }
    Some(u64::from(skip))
}

fn user_search(v: &mut Violations, request: &SearchUsersRequest) -> Option<UserSearch> {
    let set = [
        ("words", !request.words.is_empty()),
        ("name_prefix", !request.name_prefix.is_empty()),
        ("near", request.near.is_some()),
    ];
    let mut set = set.into_iter().filter(|(_, is_set)| *is_set).map(|(field, _)| field);
    let Some(field) = set.next() else {
        v.add("words", "ONE_SEARCH", "must be set, or name_prefix, or near");
        return None;
    };
    let mut is_one = true;
    for another in set {
        v.add(another, "ONE_SEARCH", format!("must not be set together with {field}"));
        is_one = false;
    }
    let search = match field {
        "words" => words(v, &request.words).map(UserSearch::Words),
        "name_prefix" => prefix(v, &request.name_prefix).map(UserSearch::NamePrefix),
        _ => request.near.as_ref().and_then(|place| near(v, place)).map(UserSearch::Near),
    };
    search.filter(|_| is_one)
}

fn words(v: &mut Violations, text: &str) -> Option<Vec<String>> {
    let count = text.chars().take(WORDS_CHARS.end() + 1).count();
    if count > *WORDS_CHARS.end() {
        v.add("words", "TOO_LONG", format!("must have at most {} characters", WORDS_CHARS.end()));
        return None;
    }
    if count < *WORDS_CHARS.start() {
        v.add("words", "TOO_SHORT", format!("must have at least {} characters", WORDS_CHARS.start()));
        return None;
    }
    Some(search::words(text))
}

fn prefix(v: &mut Violations, text: &str) -> Option<String> {
    if text.chars().nth(PREFIX_CHARS_MAX).is_some() {
        v.add("name_prefix", "TOO_LONG", format!("must have at most {PREFIX_CHARS_MAX} characters"));
        return None;
    }
    let key = name_key(text);
    if key.is_empty() {
        v.add("name_prefix", "BLANK", "must have something besides white space");
        return None;
    }
    Some(key)
}

fn near(v: &mut Violations, near: &wire::Near) -> Option<Near> {
    let place = match &near.location {
        Some(place) => location(v, "near.location", place),
        None => {
            v.add("near.location", "REQUIRED", "must be set");
            None
        }
    };
    let radius_km = u32::try_from(near.radius_km).ok().filter(|_| RADIUS_KM.contains(&near.radius_km));
    if radius_km.is_none() {
        let rule = format!("must be from {} to {}", RADIUS_KM.start(), RADIUS_KM.end());
        v.add("near.radius_km", "OUT_OF_RANGE", rule);
    }
    Some(Near { place: place?, radius_km: radius_km? })
}

pub(super) fn user_page(
    page: UserPage,
    wish: &ListUsers,
    mask: &ReadMask,
    caller: Option<UserId>,
) -> ListUsersResponse {
    let next = page.next.map(|place| tokens::of_list(caller, &wish.list, &place));
    let total = page.total.map(|total| (i32::try_from(total.count).unwrap_or(i32::MAX), total.is_minimum));
    let (total_size, total_size_is_minimum) = total.unwrap_or_default();
    ListUsersResponse {
        users: page.users.into_iter().map(|user| mask.cut(user.into())).collect(),
        next_page_token: next.unwrap_or_default(),
        total_size,
        total_size_is_minimum,
    }
}

pub(super) fn found_page(
    page: FoundPage,
    wish: &SearchUsers,
    mask: &ReadMask,
    caller: Option<UserId>,
) -> SearchUsersResponse {
    let next = page.next.map(|last| tokens::of_search(caller, &wish.search, &last));
    let ranking = match page.is_ranked {
        None => Ranking::Unspecified,
        Some(true) => Ranking::Ranked,
        Some(false) => Ranking::Unranked,
    };
    let found = page.users.into_iter().map(|found| wire::FoundUser {
        user: Some(mask.cut(found.user.into())),
        distance_km: found.distance_km.and_then(|km| i32::try_from(km).ok()),
    });
    SearchUsersResponse {
        users: found.collect(),
        next_page_token: next.unwrap_or_default(),
        ranking: ranking.into(),
    }
}

pub(super) fn batch(
    batch: UserBatch,
    filter: &UserFilter,
    mask: &ReadMask,
    caller: Option<UserId>,
) -> StreamUsersResponse {
    StreamUsersResponse {
        users: batch.users.into_iter().map(|user| mask.cut(user.into())).collect(),
        resume_token: tokens::of_stream(caller, filter, batch.through),
    }
}
