//! One client: what is about the replica set is answered here, everything else behind.

use anyhow::{Context, Result};
use bson::Document;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::replica_set::{NOT_PRIMARY, ReplicaSet, error};
use crate::wire;

/// What a server answers that is no primary, beside what is about the set.
const ALWAYS: [&str; 10] = [
    "hello",
    "isMaster",
    "ismaster",
    "ping",
    "buildInfo",
    "saslStart",
    "saslContinue",
    "getParameter",
    "connectionStatus",
    "endSessions",
];

pub(crate) async fn serve(mut client: TcpStream, behind: u16, set: ReplicaSet) -> Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", behind)).await?;
    let mut is_known = false;
    while let Some(asked) = wire::read(&mut client).await? {
        let command = wire::document(&asked)?;
        let name = command.keys().next().context("a command has a name")?.as_str();
        let answered = match set.answer(name, &command, is_known)? {
            Some(answer) => Some(answer),
            None if set.is_primary() || ALWAYS.contains(&name) => None,
            None => Some(error(NOT_PRIMARY, "not primary")),
        };
        if let Some(answer) = answered {
            client.write_all(&wire::answer(&asked, &answer)?).await?;
            continue;
        }
        server.write_all(&asked).await?;
        let Some(frame) = wire::read(&mut server).await? else { return Ok(()) };
        let mut answer = wire::document(&frame)?;
        let is_ok = is_ok(&answer);
        if name == "createUser" && is_ok {
            set.has_a_user_now()?;
        }
        is_known |= name.starts_with("sasl") && is_ok && answer.get_bool("done").unwrap_or_default();
        let frame = match name {
            "hello" | "isMaster" | "ismaster" => {
                set.greet(&mut answer);
                wire::answer(&asked, &answer)?
            }
            _ => frame,
        };
        client.write_all(&frame).await?;
    }
    Ok(())
}

fn is_ok(answer: &Document) -> bool {
    answer.get_f64("ok").is_ok_and(|ok| ok == 1.0) || answer.get_i32("ok").is_ok_and(|ok| ok == 1)
}
