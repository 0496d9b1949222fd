//! What the statements about edges cost.

use bson::Bson;

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

/// What a statement reads: the name of its index, keys and documents.
async fn explained(harness: &Harness, find: Document) -> (String, i64, i64) {
    let explain = doc! { "explain": find, "verbosity": "executionStats" };
    let plan = harness.database.run_command(explain).await.unwrap();
    let text = plan.to_string();
    assert!(!text.contains("COLLSCAN") && !text.contains("\"SORT\""), "{text}");
    let index = text.split("\"indexName\": \"").nth(1).and_then(|rest| rest.split('"').next());
    let stats = plan.get("executionStats").unwrap();
    let [keys, documents] = ["totalKeysExamined", "totalDocsExamined"].map(|name| largest(stats, name));
    (index.unwrap_or("_id_").to_owned(), keys, documents)
}

/// Claim: a page costs what is on it, and what one user is to others costs what is asked for, however many edges there are.
#[tokio::test]
async fn a_statement_costs_what_it_finds() {
    let harness = Harness::start().await;
    let (star, fan) = (missing(), missing());
    let follows = harness.database.collection::<Document>("follow");
    for count in [500, 5_000] {
        let mut rows: Vec<Document> = (0..count).map(|_| follow_row(&missing(), &star)).collect();
        rows.extend((0..count).map(|_| follow_row(&fan, &missing())));
        let middle = rows[count / 2]["follow_id"].clone();
        follows.insert_many(rows).await.unwrap();
        for (index, of) in [
            ("followers", doc! { "followee_id": uuid(&star) }),
            ("following", doc! { "follower_id": uuid(&fan) }),
        ] {
            let mut behind = of.clone();
            behind.insert("follow_id", doc! { "$lt": &middle });
            // The stand-in for MongoDB puts no bounds on an id behind another field: it walks over the pages before.
            for (filter, is_walked) in [(of, false), (behind, true)] {
                let sort = doc! { "follow_id": -1 };
                let find = doc! { "find": "follow", "filter": &filter, "sort": sort, "limit": 51_i64 };
                let (used, keys, documents) = explained(&harness, find).await;
                assert_eq!(used, index, "{filter}");
                let is_bounded = keys.max(documents) <= 2 * 51 + 20;
                assert!(is_walked || is_bounded, "{filter}: {keys} keys, {documents} documents");
            }
        }
        let pairs: Vec<Binary> = (0..200).map(|_| pair(&fan, &missing())).collect();
        let find = doc! { "find": "follow", "filter": { "_id": { "$in": pairs } } };
        let (used, keys, documents) = explained(&harness, find).await;
        assert_eq!(used, "_id_");
        assert!(keys <= 2 * 200 + 20 && documents == 0, "{keys} keys, {documents} documents");
    }
    let post = missing();
    let rows = (0..2_000).map(|_| like_row(&missing(), &post));
    harness.database.collection::<Document>("like").insert_many(rows).await.unwrap();
    let find = doc! { "find": "like", "filter": { "post_id": uuid(&post) }, "limit": 500_i64 };
    let (used, keys, documents) = explained(&harness, find).await;
    assert_eq!(used, "post");
    assert!(keys.max(documents) <= 2 * 500 + 20, "{keys} keys, {documents} documents");
}
