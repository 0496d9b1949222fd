//! What lists and searches cost: no more than what they show, however many users there are.

use api::user::v1::{ListUsersRequest, UserFilter};

use super::*;

/// Numbers of a plan, wherever they are in it.
fn largest(plan: &Bson, name: &str) -> i64 {
    match plan {
        Bson::Document(document) => {
            let inner = document.iter().map(|(key, value)| {
                if key == name {
                    value.as_i64().or_else(|| value.as_i32().map(i64::from)).unwrap_or(0)
                } else {
                    largest(value, name)
                }
            });
            inner.max().unwrap_or(0)
        }
        Bson::Array(values) => values.iter().map(|value| largest(value, name)).max().unwrap_or(0),
        _ => 0,
    }
}

/// A user of many: nobody stands out, few log in, a handful says where they are.
fn one_of(number: u32) -> Document {
    let name = format!("{} {number}", ["Ann", "Ben", "Cleo", "Dora"][usize::try_from(number % 4).unwrap()]);
    let mut one = user(number, &name);
    let time = DateTime::from_millis(LONG_AGO + i64::from(number / 9) * 1000);
    one.insert("create_time", time);
    one.insert("role", ["customer", "merchant", "admin"][usize::try_from(number % 3).unwrap()]);
    if number.is_multiple_of(4) {
        one.insert("last_login_time", time);
    }
    if number.is_multiple_of(10) {
        one.insert("state", "deactivated");
    }
    if number < 40 { at(one, 1000, 5000, true) } else { one }
}

struct Statement {
    name: &'static str,
    index: &'static str,
    filter: Document,
    sort: Document,
    limit: i64,
    is_hinted: bool,
}

/// What the service sends, with places in the middle of a list.
fn statements(place: &Document) -> Vec<Statement> {
    let get = |field: &str| place.get(field).cloned().unwrap();
    let (id, created) = (get("_id"), get("create_time"));
    let name = place.get_document("search").unwrap().get("name_key").cloned().unwrap();
    let roles = || doc! { "state": "active", "role": { "$in": ["customer", "merchant", "admin"] } };
    let listed = |name, index, more: Document, sort: Document| Statement {
        name,
        index,
        filter: with(roles(), more),
        sort,
        limit: 51,
        is_hinted: true,
    };
    let order = |field: &str, way: i32| doc! { field: way, "_id": way };
    let by = ("listed_by_creation", "listed_by_name", "listed_by_login");
    let (login, key) = ("last_login_time", "search.name_key");
    let found = |name, index, filter: Document, sort: Document, is_hinted| Statement {
        name,
        index,
        filter,
        sort,
        limit: 200,
        is_hinted,
    };
    let near = doc! {
        "$nearSphere": { "$geometry": { "type": "Point", "coordinates": [10.0, 50.0] }, "$maxDistance": 1000.0 },
    };
    vec![
        listed("newest", by.0, doc! {}, order("create_time", -1)),
        listed("oldest", by.0, doc! {}, order("create_time", 1)),
        listed("older", by.0, doc! { "create_time": { "$lt": &created } }, order("create_time", -1)),
        listed("newer", by.0, doc! { "create_time": { "$gt": &created } }, order("create_time", 1)),
        listed("as old", by.0, doc! { "create_time": &created, "_id": { "$lt": &id } }, doc! { "_id": -1 }),
        listed("by name", by.1, doc! {}, order(key, 1)),
        listed("behind a name", by.1, doc! { key: { "$gt": &name } }, order(key, 1)),
        listed("of a name", by.1, doc! { key: &name, "_id": { "$gt": &id } }, doc! { "_id": 1 }),
        listed("last login", by.2, doc! {}, order(login, -1)),
        listed("login before", by.2, doc! { login: { "$not": { "$gte": &created } } }, order(login, -1)),
        listed(
            "login between",
            by.2,
            doc! { login: { "$gte": DateTime::from_millis(0), "$lt": &created } },
            order(login, -1),
        ),
        listed("never", by.2, doc! { login: Bson::Null }, doc! { "_id": -1 }),
        found(
            "prefix",
            "named",
            doc! { "state": "active", key: { "$gte": "ann 1", "$lt": "ann 2" } },
            order(key, 1),
            false,
        ),
        found(
            "words of a name",
            "name_words",
            doc! { "state": "active", "search.name_words": { "$all": ["1234", "cleo"] } },
            doc! { "_id": 1 },
            false,
        ),
        found(
            "one word",
            "words",
            doc! { "state": "active", "search.words": { "$all": ["ann"] } },
            doc! { "_id": 1 },
            false,
        ),
        found(
            "near",
            "located",
            doc! { "state": "active", "profile.location_shared": true, "profile.location": near },
            doc! {},
            true,
        ),
    ]
}

/// Claim: no list and no search reads more keys or documents than twice its rows and twenty, at its beginning or behind,
/// with ten times the users as little as before.
#[tokio::test]
async fn a_page_costs_what_is_on_it_however_many_users_there_are() {
    let harness = Harness::start().await;
    let admin = harness.admin().await.caller;
    let mut examined: Vec<Vec<[i64; 2]>> = Vec::new();
    for (from, to) in [(0, 1_500), (1_500, 11_500)] {
        let more: Vec<Document> = (from..to).map(one_of).collect();
        insert(&harness.database, &more).await;
        let place = one_of(1_234);
        let mut numbers = Vec::new();
        for Statement { name, index, filter, sort, limit, is_hinted } in statements(&place) {
            let mut find = doc! { "find": "user", "filter": filter, "sort": sort, "limit": limit };
            if is_hinted {
                find.insert("hint", index);
            }
            let explain = doc! { "explain": find, "verbosity": "executionStats" };
            let plan = harness.database.run_command(explain).await.unwrap();
            let winner =
                plan.get_document("queryPlanner").and_then(|planner| planner.get_document("winningPlan"));
            let text = winner.unwrap().to_string();
            assert!(!text.contains("COLLSCAN") && !text.contains("\"SORT\""), "{name}: {text}");
            assert!(text.contains(&format!("\"indexName\": \"{index}\"")), "{name}: {text}");
            let stats = plan.get("executionStats").unwrap();
            let cost = ["totalKeysExamined", "totalDocsExamined"].map(|number| largest(stats, number));
            assert!(cost.iter().all(|count| *count <= 2 * limit + 20), "{name}: {cost:?}: {text}");
            numbers.push(cost);
        }
        examined.push(numbers);
    }
    for ((statement, few), many) in statements(&one_of(1_234)).iter().zip(&examined[0]).zip(&examined[1]) {
        // There are more rows for the prefix in the end.
        if statement.name != "prefix" {
            assert_eq!(few, many, "{}", statement.name);
        }
    }
    // Those are more than are counted.
    let request = ListUsersRequest {
        filter: Some(UserFilter::default()),
        show_total_size: true,
        page_size: 1,
        skip: 10_000,
        ..ListUsersRequest::default()
    };
    let counted = admin.users().list_users(request).await.unwrap().into_inner();
    assert_eq!((counted.total_size, counted.total_size_is_minimum, counted.users.len()), (10_000, true, 1));
}
