use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use auth::Principal;
use testkit::{Reference, TestMongo};
use types::Role;

use super::super::plans::explain;
use super::super::recorder::Recorder;
use super::super::statement::shapes;
use super::{journey, people, posts, relations};
use crate::app::posts::{GetPopularPosts, ListPosts};
use crate::app::relations::ListFollows;
use crate::config::MongoConfig;
use crate::domain::counters::Window;
use crate::domain::post::{PostState, PostsOf};
use crate::domain::relation::FollowEnd;
use crate::storage::{Shared, Store, forms};

const STATEMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctor/journey/statements.md");

#[tokio::test]
async fn the_service_sends_what_is_known_here_and_nothing_else() {
    let (mongo, recorder) = (TestMongo::create().await.unwrap(), Recorder::default());
    let config = MongoConfig::for_tests(mongo.migrate_url());
    let store = Store::connect_heard(&config, Shared::default(), Some(recorder.handler())).await.unwrap();
    store.migrate().await.unwrap();
    let (done, commands) = recorder.during(journey(&store)).await;
    done.unwrap();
    let mut rows = String::from("| statement | index |\n| --- | --- |\n");
    let mut used = BTreeSet::new();
    // Only a server with an index of text is sent one that asks for text.
    for (shape, statement) in shapes(&commands).into_iter().filter(|(shape, _)| !shape.contains("$text")) {
        let plan = explain(&store, &statement).await.unwrap();
        let index = plan.index_of(&shape);
        assert_ne!(index, "none", "{shape} reads a whole collection");
        rows.push_str(&format!("| `{shape}` | {index} |\n"));
        used.extend(plan.indexes().map(|index| (statement.collection.clone(), index.to_owned())));
    }
    Reference::new(STATEMENTS, "seen").check(&rows).unwrap();
    let unused = unused(&used);
    assert!(unused.is_empty(), "no statement uses {unused:?}");
}

/// The indexes that no statement uses, but for those that delete, those that forbid, and those that not every server has.
fn unused(used: &BTreeSet<(String, String)>) -> Vec<(String, String)> {
    let indexes = forms().unwrap().into_iter().flat_map(|(name, form)| {
        let work = form.indexes.into_iter();
        let work = work.filter(|index| !index.unique && !index.optional && index.ttl_seconds.is_none());
        work.map(move |index| (name.clone(), index.name))
    });
    indexes.filter(|index| !used.contains(index)).collect()
}

#[tokio::test]
async fn a_page_of_posts_is_three_statements_however_long_it_is() {
    let (mongo, recorder) = (TestMongo::create().await.unwrap(), Recorder::default());
    let config = MongoConfig::for_tests(mongo.migrate_url());
    let store = Store::connect_heard(&config, Shared::default(), Some(recorder.handler())).await.unwrap();
    store.migrate().await.unwrap();
    let app = people::app(&store, 1).unwrap();
    for name in ["ann", "ben", "cid"] {
        let author = people::person(people::sign_up(&app, name).await.unwrap(), Role::Customer);
        for number in 0..4 {
            posts::published(&app, author, &format!("{name} {number}")).await.unwrap();
        }
    }
    store.post_windows_fill(None, app.now(), 50).await.unwrap();
    for size in [1, 11, 50] {
        let wish = ListPosts { of: PostsOf::Everybody, state: PostState::Published, after: None, size };
        let (page, commands) = recorder.during(app.list_posts(&Principal::Anyone, wish)).await;
        assert_eq!(page.unwrap().posts.len(), 12.min(size as usize));
        assert_eq!(commands.len(), 3, "{commands:?}");
        let wish = GetPopularPosts { window: Window::Month, size };
        let (popular, commands) = recorder.during(app.get_popular_posts(wish)).await;
        assert_eq!((popular.unwrap().len(), commands.len()), (12.min(size as usize), 3), "{commands:?}");
    }
}

#[tokio::test]
async fn a_page_of_who_follows_whom_is_two_statements_however_long_it_is() {
    let (mongo, recorder) = (TestMongo::create().await.unwrap(), Recorder::default());
    let config = MongoConfig::for_tests(mongo.migrate_url());
    let store = Store::connect_heard(&config, Shared::default(), Some(recorder.handler())).await.unwrap();
    store.migrate().await.unwrap();
    let app = people::app(&store, 1).unwrap();
    let star = people::sign_up(&app, "star").await.unwrap();
    for number in 0..12 {
        let fan = people::sign_up(&app, &format!("fan{number}")).await.unwrap();
        relations::follow(&app, fan, star).await.unwrap();
    }
    for size in [1, 11, 50] {
        let wish = ListFollows { of: FollowEnd::Followee(star), after: None, size };
        let (page, commands) = recorder.during(app.list_follows(wish)).await;
        assert_eq!(page.unwrap().users.len(), 12.min(size as usize));
        assert_eq!(commands.len(), 2, "{commands:?}");
    }
}

#[test]
fn each_file_of_the_storage_makes_as_many_statements_as_are_known_here() {
    let mut made = BTreeMap::new();
    count(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/storage")), &mut made);
    let made: Vec<String> = made.into_iter().map(|(file, count)| format!("{file}: {count}")).collect();
    Reference::new(STATEMENTS, "made").check(&listed(&made)).unwrap();
}

fn listed(lines: &[String]) -> String {
    lines.iter().map(|line| format!("- `{line}`\n")).collect()
}

/// Counts the calls of the driver that look for documents, file by file.
fn count(folder: &Path, made: &mut BTreeMap<String, usize>) {
    const CALLS: [&str; 19] = [
        ".find(",
        ".find_one(",
        ".find_one_and_update(",
        ".find_one_and_delete(",
        ".aggregate(",
        ".update_one(",
        ".update_many(",
        ".delete_one(",
        ".delete_many(",
        ".count_documents(",
        "UpdateOneModel::builder(",
        "ReplaceOneModel::builder(",
        ".replace_one(",
        ".find_one_and_replace(",
        ".distinct(",
        ".update_all(",
        "UpdateManyModel::builder(",
        "DeleteOneModel::builder(",
        "DeleteManyModel::builder(",
    ];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            count(&path, made);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let calls: usize = CALLS.iter().map(|call| code.matches(call).count()).sum();
        // Iterators have such a method too.
        let of_iterators = code.matches(".find(|").count();
        if calls > of_iterators {
            let root = concat!(env!("CARGO_MANIFEST_DIR"), "/src/storage/");
            let name = path.display().to_string().replace(root, "");
            made.insert(name, calls - of_iterators);
        }
    }
}
