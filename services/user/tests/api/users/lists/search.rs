//! `SearchUsers`.

use api::user::v1::search_users_response::Ranking;
use api::user::v1::{FoundUser, Location, Near, SearchUsersRequest, SearchUsersResponse};
use tonic::{Code, Status};

use super::*;
use crate::users::update::{update, updated};

async fn page(by: &Person, request: SearchUsersRequest) -> Result<SearchUsersResponse, Status> {
    Ok(by.caller.users().search_users(request).await?.into_inner())
}

async fn found(by: &Person, request: &SearchUsersRequest, page_size: i32) -> Vec<FoundUser> {
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = SearchUsersRequest { page_size, page_token, ..request.clone() };
        let answer = page(by, request).await.unwrap();
        found.extend(answer.users);
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return found;
        }
    }
}

async fn names(by: &Person, request: &SearchUsersRequest, page_size: i32) -> Vec<String> {
    let found = found(by, request, page_size).await;
    found.into_iter().map(|found| found.user.unwrap().display_name).collect()
}

fn words(words: &str) -> SearchUsersRequest {
    SearchUsersRequest { words: words.to_owned(), ..SearchUsersRequest::default() }
}

fn prefix(prefix: &str) -> SearchUsersRequest {
    SearchUsersRequest { name_prefix: prefix.to_owned(), ..SearchUsersRequest::default() }
}

/// In hundredths of a degree.
fn near(longitude: i32, latitude: i32, radius_km: i32) -> SearchUsersRequest {
    let location = Location { longitude_e7: longitude * 100_000, latitude_e7: latitude * 100_000 };
    let near = Some(Near { location: Some(location), radius_km });
    SearchUsersRequest { near, ..SearchUsersRequest::default() }
}

#[tokio::test]
async fn words_are_found_in_names_first_and_then_in_bios() {
    let harness = Harness::start().await;
    let reader = harness.customer().await;
    let users = [
        with_bio(user(1, "Ben"), "I like green tea, and Zoë's cake."),
        user(2, "Green Tea"),
        with_bio(user(3, "Zoe"), "A greengrocer."),
        with_bio(user(4, "Tea Lee"), "Everything GREEN."),
        with_bio(with(user(5, "Green Tea"), doc! { "state": "deactivated" }), "Tea"),
        with_bio(user(6, "山田"), "東京で緑茶を飲んでいます"),
        with_bio(user(7, "田中"), "京都の緑と、お茶"),
    ];
    insert(&harness.database, &users).await;
    let ranking = page(&reader, words("tea")).await.unwrap().ranking();
    assert_ne!(ranking, Ranking::Unspecified);
    for (search, expected) in [
        ("green tea", &["Green Tea", "Ben", "Tea Lee"][..]),
        ("TEA, green!", &["Green Tea", "Ben", "Tea Lee"]),
        ("zoe", &["Zoe"]),
        ("ZOËS", &["Ben"]),
        ("green", &["Green Tea", "Ben", "Tea Lee"]),
        ("greengrocer", &["Zoe"]),
        ("tea cake", &["Ben"]),
        ("tea coffee", &[]),
        ("緑茶", &["山田"]),
        ("東京", &["山田"]),
        ("京都 お茶", &["田中"]),
        ("京で", &["山田"]),
        ("山田", &["山田"]),
        ("中田", &[]),
        // What means something in a regular expression finds nothing, and takes no longer.
        (".*", &[]),
        ("gr.*n", &[]),
        ("(x+)+$", &[]),
        ("\"green\" -tea", &["Green Tea", "Ben", "Tea Lee"]),
        ("$where", &[]),
        ("\u{0}\u{0}", &[]),
    ] {
        let search = &words(search);
        let (one, many) = (names(&reader, search, 1).await, names(&reader, search, 50).await);
        assert_eq!(one, many, "{search:?}");
        // How well they fit is for the server to say, if it can; names come first in any case.
        assert_eq!(many.first().map(String::as_str), expected.first().copied(), "{search:?}");
        let (mut many, mut expected) = (many, expected.to_vec());
        if ranking == Ranking::Ranked {
            many.sort();
            expected.sort_unstable();
        }
        assert_eq!(many, expected, "{search:?}");
    }
}

#[tokio::test]
async fn what_users_say_is_found_as_soon_as_they_say_it() {
    let harness = Harness::start().await;
    let (ann, reader) = (harness.customer().await, harness.customer().await);
    let whole = async |request: &SearchUsersRequest| -> Vec<String> {
        let found = found(&reader, request, 50).await;
        found.into_iter().map(|found| found.user.unwrap().id).collect()
    };
    let own = std::slice::from_ref(&ann.id);
    let profile = api::user::v1::Profile {
        given_name: "Bärbel".into(),
        family_name: "Groß".into(),
        bio: "Otters".into(),
        ..Default::default()
    };
    let said = User { username: "otto42".into(), profile: Some(profile), ..User::default() };
    updated(&ann, update(&ann.id, &["username", "profile"], said)).await;
    for search in ["barbel", "GROSS", "otters", "otto42", "otters ann"] {
        assert_eq!(whole(&words(search)).await, own, "{search}");
    }
    let renamed = User { display_name: "Mira".into(), ..User::default() };
    updated(&ann, update(&ann.id, &["display_name", "profile.bio"], renamed)).await;
    assert_eq!(whole(&prefix("MÍ")).await, own);
    assert_eq!(whole(&words("mira gross")).await, own);
    for search in ["otters", "ann barbel"] {
        assert_eq!(whole(&words(search)).await, Vec::<String>::new(), "{search}");
    }
    let found = found(&reader, &prefix("mir"), 50).await.remove(0).user.unwrap();
    assert_eq!(found, super::super::get(&reader, &ann.id).await, "what anybody sees, and all of it");
    let admin = harness.admin().await;
    let seen = page(&admin, prefix("mir")).await.unwrap().users.remove(0).user.unwrap();
    assert_eq!((seen.email.as_str(), seen.last_login_time, seen.auth_epoch), ("", None, 0));
    let masked = SearchUsersRequest { read_mask: mask(&["profile.bio", "email", "id"]), ..prefix("mira") };
    let seen = page(&reader, masked).await.unwrap().users.remove(0).user.unwrap();
    assert_eq!(User { profile: None, ..seen }, User { id: ann.id.clone(), ..User::default() });
}

#[tokio::test]
async fn names_are_found_by_how_they_begin_in_their_order() {
    let harness = Harness::start().await;
    let reader = harness.customer().await;
    let mut users: Vec<Document> =
        ["Mo", "Mona", "MONA", "Móna", "mona lisa", "Monb", "Mn", "M.na", "M%", "モナ", "モナリザ"]
            .into_iter()
            .zip(1..)
            .map(|(name, number)| user(number, name))
            .collect();
    users.push(with(user(50, "Mona"), doc! { "state": "deactivated" }));
    insert(&harness.database, &users).await;
    for (search, expected) in [
        ("mona", &["Mona", "MONA", "Móna", "mona lisa"][..]),
        ("MÓN", &["Mona", "MONA", "Móna", "mona lisa", "Monb"]),
        ("mona ", &["Mona", "MONA", "Móna", "mona lisa"]),
        ("mona l", &["mona lisa"]),
        ("m.", &["M.na"]),
        ("m%", &["M%"]),
        ("m.*", &[]),
        ("^m", &[]),
        ("ﾓﾅ", &["モナ", "モナリザ"]),
    ] {
        for size in [1, 3, 50] {
            assert_eq!(names(&reader, &prefix(search), size).await, expected, "{search} by {size}");
        }
    }
    let answer = page(&reader, prefix("mona")).await.unwrap();
    assert_eq!((answer.ranking(), answer.users[0].distance_km), (Ranking::Unspecified, None));
}

#[tokio::test]
async fn the_nearest_come_first_and_those_at_one_distance_come_once() {
    let harness = Harness::start().await;
    let reader = harness.customer().await;
    let mut users = Vec::new();
    for number in 0..9 {
        users.push(at(user(number, "here"), 1000, 5000, true));
        // East and west of it, at one distance.
        let longitude = if number % 2 == 0 { 1010 } else { 990 };
        users.push(at(user(100 + number, "beside"), longitude, 5000, true));
    }
    users.push(at(user(200, "hidden"), 1000, 5000, false));
    users.push(with(at(user(201, "gone"), 1000, 5000, true), doc! { "state": "deactivated" }));
    users.push(at(user(202, "far"), 1000, 5100, true));
    users.push(at(user(203, "date line"), -18_000, 0, true));
    users.push(at(user(204, "before it"), 17_990, 0, true));
    users.push(at(user(205, "north"), 0, 9000, true));
    users.push(at(user(206, "almost north"), 12_300, 8990, true));
    insert(&harness.database, &users).await;
    for size in [1, 4, 7, 50] {
        let found = found(&reader, &near(1000, 5000, 100), size).await;
        let ids: Vec<&str> = found.iter().map(|found| found.user.as_ref().unwrap().id.as_str()).collect();
        let mut expected: Vec<String> = users[..18].iter().map(id).collect();
        expected.sort_by_key(|id| {
            (users.iter().position(|user| &super::id(user) == id).unwrap() % 2, id.clone())
        });
        assert_eq!(ids, expected, "by {size}");
        let distances: Vec<Option<i32>> = found.iter().map(|found| found.distance_km).collect();
        assert_eq!(distances, [[Some(0); 9], [Some(8); 9]].concat());
    }
    for (place, expected) in [
        (near(1000, 5000, 7), vec![("here", 0); 9]),
        (near(18_000, 0, 50), vec![("date line", 0), ("before it", 12)]),
        (near(-17_999, 0, 2), vec![("date line", 2)]),
        (near(-9000, 9000, 20), vec![("north", 0), ("almost north", 12)]),
        (near(0, -9000, 100), vec![]),
    ] {
        let found = found(&reader, &place, 50).await;
        let seen: Vec<_> = found
            .iter()
            .map(|found| (found.user.as_ref().unwrap().display_name.as_str(), found.distance_km.unwrap()))
            .collect();
        assert_eq!(seen, expected, "{place:?}");
    }
    set(&harness, &id(&users[0]), doc! { "profile.location_shared": false }).await;
    assert_eq!(found(&reader, &near(1000, 5000, 1), 50).await.len(), 8);
}

#[tokio::test]
async fn a_search_finds_two_hundred_and_its_pages_are_its_own() {
    let harness = Harness::start().await;
    let (reader, other) = (harness.customer().await, harness.customer().await);
    let many: Vec<Document> = (0..230).map(|number| at(user(number, "Crowd"), 1000, 5000, true)).collect();
    insert(&harness.database, &many).await;
    for search in [words("crowd"), prefix("crow"), near(1000, 5000, 1)] {
        let mut all: Vec<String> =
            found(&reader, &search, 90).await.into_iter().map(|found| found.user.unwrap().id).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 200, "{search:?}");
        let first = page(&reader, SearchUsersRequest { page_size: 10, ..search.clone() }).await.unwrap();
        let behind = SearchUsersRequest { page_token: first.next_page_token, ..search };
        let invalid = refused(Code::InvalidArgument, "INVALID_REQUEST", &["page_token INVALID_PAGE_TOKEN"]);
        assert_eq!(refusal(page(&other, behind.clone()).await), invalid);
        let another = SearchUsersRequest { page_token: behind.page_token, ..words("another") };
        assert_eq!(refusal(page(&reader, another).await), invalid);
    }
    let service = harness.session_service().users().search_users(words("crowd")).await;
    assert_eq!(refusal(service), refused(Code::PermissionDenied, "CALLER_NOT_ALLOWED", &[]));
}
