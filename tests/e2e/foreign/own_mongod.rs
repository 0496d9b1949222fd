//! A `cargo xtask up` on a MongoDB that somebody has named.

use anyhow::{Context, Result, ensure};
use testkit::{MongoAdmin, Profile, fake_mongod, state};

use super::up::{Up, new_folder};

/// CLAIM: `up` runs on the mongod that `MONGOD` names, says so, and finds what it has stored when it is started again on
/// other ports, although such a server remembers its port. (The program here only passes for a mongod.)
#[tokio::test]
async fn up_runs_on_a_named_mongod_and_again_on_other_ports() -> Result<()> {
    tests::build(Profile::Debug).await?;
    Profile::Debug.build(&["testkit"]).await?;
    let folder = new_folder();
    let program = fake_mongod(&folder.join("programs"), &Profile::Debug.binary("fake-mongod")?, "8.0.4")?;

    let mut first = Up::start_with(folder.clone(), program.clone()).await?;
    ensure!(first.printed().contains("MongoDB is mongod."), "{}", first.printed());
    let (place, users) = users(&first).await?;
    assert_eq!(users, 1, "the first admin");
    first.down(&[]).await?;
    first.ended().await?;

    let second = Up::start_with(folder, program).await?;
    let (elsewhere, users) = self::users(&second).await?;
    assert_eq!(users, 1, "the same admin");
    assert_ne!(elsewhere, place);
    second.stop().await
}

/// Where MongoDB is, and how many users of Tristore are in it.
async fn users(up: &Up) -> Result<(String, i32)> {
    let url = std::fs::read_to_string(state::secret_path(&up.folder.join("up"), "mongodb-reader-url"))?;
    let count = bson::doc! { "count": "user" };
    let answer = MongoAdmin::new(&url)?.run("user_service", count).await?;
    let place = url.split(['@', '/']).rfind(|part| part.contains("127.0.0.1")).context("a place")?;
    Ok((place.to_owned(), answer.get_i32("n")?))
}
