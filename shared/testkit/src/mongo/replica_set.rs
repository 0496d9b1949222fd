//! Makes a mongod the primary of a replica set of one.

use anyhow::{Context, Result, bail};
use bson::{Bson, Document, doc};

use crate::mongo_admin::{MongoAdmin, code_of};

pub(super) const NAME: &str = "tristore";
/// `AlreadyInitialized`, and `Unauthorized`: a set that has users was begun, and only they may ask about it.
const BEGUN: [i32; 2] = [23, 13];

/// Begins the set, or brings one that was begun on another port to this one. Fails always: an election is still to come.
pub(super) async fn begin(anyone: &MongoAdmin, admin: &MongoAdmin, port: u16) -> Result<()> {
    let host = format!("127.0.0.1:{port}");
    let set = doc! { "_id": NAME, "members": [{ "_id": 0, "host": &host }] };
    match anyone.run("admin", doc! { "replSetInitiate": set }).await {
        Ok(_) => bail!("it is not a primary yet"),
        Err(error) if code_of(&error).is_some_and(|code| BEGUN.contains(&code)) => {}
        Err(error) => return Err(error),
    }
    let answer = admin.run("admin", doc! { "replSetGetConfig": 1 }).await?;
    let config = answer.get_document("config").context("a configuration")?;
    // A server is no member of a set that knows it by the port of an earlier start.
    if let Some(moved) = moved(config, &host)? {
        let forced = doc! { "replSetReconfig": moved, "force": true };
        admin.run("admin", forced).await.context("telling the replica set of the port")?;
    }
    bail!("it is not a primary yet")
}

/// The configuration with its only member at `host`; `None` when it is there.
fn moved(config: &Document, host: &str) -> Result<Option<Document>> {
    let mut config = config.clone();
    // Which of the two it is differs between versions of the server.
    let version = match config.get("version") {
        Some(Bson::Int32(version)) => i64::from(*version),
        Some(Bson::Int64(version)) => *version,
        other => bail!("a version that is {other:?}"),
    };
    config.insert("version", version + 1);
    let members = config.get_array_mut("members").context("members")?;
    let member = members.first_mut().and_then(Bson::as_document_mut).context("a member")?;
    if member.get_str("host").is_ok_and(|known| known == host) {
        return Ok(None);
    }
    member.insert("host", host);
    Ok(Some(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_member_elsewhere_is_moved_and_nothing_else_is_changed() {
        let config = |version: Bson, port: u16| {
            let member = doc! { "_id": 0, "host": format!("127.0.0.1:{port}"), "priority": 1.0 };
            doc! { "_id": NAME, "version": version, "term": 3_i64, "members": [member], "settings": { "a": 1 } }
        };
        for version in [Bson::Int32(4), Bson::Int64(4)] {
            let known = config(version, 1);
            assert_eq!(moved(&known, "127.0.0.1:1").unwrap(), None);
            assert_eq!(moved(&known, "127.0.0.1:2").unwrap(), Some(config(Bson::Int64(5), 2)));
        }
        assert!(moved(&doc! { "version": 1, "members": [] }, "127.0.0.1:2").is_err());
    }
}
