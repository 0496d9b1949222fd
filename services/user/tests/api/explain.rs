//! Every query finds what it wants by an index: what the service really sends is taken down on its way to the server,
//! which explains it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::order::v1::OrderPlaced;
use api::user::v1::*;
use bson::{Bson, Document, doc};
use testkit::client::request_id;
use testkit::{MongoAdmin, TestMongo, wait_until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::faults::{draft, write};
use crate::harness::Harness;
use crate::parking::reserve_for;
use crate::wallets::{grant, grant_of, send, send_of};

const WITHIN: Duration = Duration::from_secs(30);

/// What is read as a whole: a document for each migration, two sums for each currency, and for a trial balance before the
/// first audit every entry.
const READ_WHOLE: [(&str, &str); 3] = [("find", "migration"), ("find", "audit_sum"), ("aggregate", "entry")];
/// What the service must have sent for this test to mean something: a command, its collection, and a field that it has.
const SENT: [(&str, &str, &str); 14] = [
    ("aggregate", "entry", "pipeline"),
    ("bulkWrite", "wallet", "ops"),
    ("find", "entry", "sort"),
    // Those that are due.
    ("find", "hold", "sort"),
    // The sequencer's scan, in a transaction.
    ("find", "outbox", "txnNumber"),
    ("find", "outbox_lease", "filter"),
    ("find", "post", "filter"),
    ("find", "request", "filter"),
    ("find", "user", "filter"),
    ("find", "wallet", "filter"),
    ("findAndModify", "outbox_lease", "query"),
    ("update", "consumer_mark", "updates"),
    ("update", "order_statistics", "updates"),
    ("update", "outbox", "updates"),
];

/// Commands as they were sent.
type Sent = Arc<Mutex<Vec<Document>>>;

/// A way to a server on which all commands are taken down.
async fn listening_way_to(server: SocketAddr, sent: Sent) -> (u16, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut ways = JoinSet::new();
    ways.spawn(async move {
        let mut ways = JoinSet::new();
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = TcpStream::connect(server).await.unwrap().into_split();
            ways.spawn(carry(from_client, to_server, Some(Arc::clone(&sent))));
            ways.spawn(carry(from_server, to_client, None));
        }
    });
    (port, ways)
}

/// Carries frames until an end hangs up. What the service's own client sends is taken down: a client says its name first.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, sent: Option<Sent>) {
    let (mut len, mut is_service) = ([0; 4], false);
    while from.read_exact(&mut len).await.is_ok() {
        let mut frame = len.to_vec();
        frame.resize(u32::from_le_bytes(len) as usize, 0);
        if from.read_exact(&mut frame[4..]).await.is_err() {
            return;
        }
        if let Some(sent) = &sent {
            let command = command(&frame);
            let application = || {
                command.get_document("client").ok()?.get_document("application").ok()?.get_str("name").ok()
            };
            is_service |= application() == Some("user-service");
            if is_service {
                sent.lock().unwrap().push(command);
            }
        }
        if to.write_all(&frame).await.is_err() {
            return;
        }
    }
}

/// The command of an `OP_MSG`, with its document sequences as the arrays that they stand for.
fn command(frame: &[u8]) -> Document {
    let (mut at, mut body, mut sequences) = (20, Document::new(), Document::new());
    while at < frame.len() {
        let kind = frame[at];
        let len = u32::from_le_bytes(frame[at + 1..at + 5].try_into().unwrap()) as usize;
        let section = &frame[at + 1..at + 1 + len];
        if kind == 0 {
            body = bson::deserialize_from_slice(section).unwrap();
        } else {
            let name_end = section[4..].iter().position(|byte| *byte == 0).unwrap() + 4;
            let (name, mut rest) = (&section[4..name_end], &section[name_end + 1..]);
            let mut documents = Vec::new();
            while !rest.is_empty() {
                let (document, others) =
                    rest.split_at(u32::from_le_bytes(rest[..4].try_into().unwrap()) as usize);
                documents.push(Bson::Document(bson::deserialize_from_slice(document).unwrap()));
                rest = others;
            }
            sequences.insert(String::from_utf8(name.to_vec()).unwrap(), documents);
        }
        at += 1 + len;
    }
    body.extend(sequences);
    body
}

/// What there is to explain in a command: of one that changes many documents, each change by itself.
fn explainable(command: &Document) -> Vec<Document> {
    let name = command.keys().next().unwrap().as_str();
    let each = |field: &str, then: &dyn Fn(&Document) -> Option<Document>| -> Vec<Document> {
        let items = command.get_array(field).unwrap().iter();
        items.filter_map(|item| then(item.as_document().unwrap())).collect()
    };
    match name {
        "find" | "aggregate" | "findAndModify" | "count" | "distinct" => {
            let mut plain = command.clone();
            let of_exchange = [
                "lsid",
                "txnNumber",
                "autocommit",
                "startTransaction",
                "readConcern",
                "writeConcern",
                "maxTimeMS",
                "$db",
                "$clusterTime",
                "$readPreference",
            ];
            of_exchange.into_iter().for_each(|field| drop(plain.remove(field)));
            vec![plain]
        }
        "update" => each("updates", &|update| {
            Some(doc! { "update": command.get_str("update").unwrap(), "updates": [update] })
        }),
        "delete" => each("deletes", &|delete| {
            Some(doc! { "delete": command.get_str("delete").unwrap(), "deletes": [delete] })
        }),
        "bulkWrite" => each("ops", &|op| {
            let place = op.get_i32("update").ok()?;
            let namespace =
                command.get_array("nsInfo").unwrap()[usize::try_from(place).unwrap()].as_document()?;
            let (_, collection) = namespace.get_str("ns").ok()?.split_once('.')?;
            let update = doc! { "q": op.get("filter")?, "u": op.get("updateMods")? };
            Some(doc! { "update": collection, "updates": [update] })
        }),
        _ => Vec::new(),
    }
}

/// A command without its values: queries that differ in nothing else have one plan.
fn shape(value: &Bson) -> Bson {
    match value {
        Bson::Document(document) => {
            Bson::Document(document.iter().map(|(name, value)| (name.clone(), shape(value))).collect())
        }
        Bson::Array(items) => Bson::Array(items.first().map(shape).into_iter().collect()),
        Bson::String(text) => text.as_str().into(),
        other => format!("{:?}", other.element_type()).into(),
    }
}

/// The stages of a plan.
fn stages(plan: &Bson, found: &mut BTreeSet<String>) {
    match plan {
        Bson::Document(document) => {
            if let Ok(stage) = document.get_str("stage") {
                found.insert(stage.to_owned());
            }
            document.iter().for_each(|(_, value)| stages(value, found));
        }
        Bson::Array(items) => items.iter().for_each(|item| stages(item, found)),
        _ => {}
    }
}

/// Claim: no query of the service reads a whole collection, or sorts what an index has in order.
#[tokio::test]
async fn every_query_has_its_index_and_none_sorts() {
    let mongo = TestMongo::create().await.unwrap();
    let sent = Sent::default();
    let place = mongo.url().split_once("://").unwrap().1.split('/').next().unwrap();
    let server = place.rsplit('@').next().unwrap();
    let (port, ways) = listening_way_to(server.parse().unwrap(), Arc::clone(&sent)).await;
    let url = mongo.url().replace(server, &format!("127.0.0.1:{port}"));
    let harness = Harness::start_on(mongo.urls(), &url, &[]).await;
    journey(&harness).await;
    wait_until(WITHIN, "all that the service sends", async || {
        let sent = sent.lock().unwrap();
        let is_there = |(name, of, field): &&(&str, &str, &str)| {
            let is_it = |command: &Document| {
                command.contains_key(field)
                    && targets(command).iter().any(|(is, collection)| is == name && collection == of)
            };
            sent.iter().any(is_it)
        };
        let missing: Vec<_> = SENT.iter().filter(|wanted| !is_there(wanted)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?}")) }
    })
    .await
    .unwrap();

    let commands = sent.lock().unwrap().clone();
    let of_database = |command: &&Document| command.get_str("$db").is_ok_and(|name| name == mongo.name());
    let all = commands.iter().filter(of_database).flat_map(explainable);
    let shapes: BTreeMap<String, Document> =
        all.map(|command| (shape(&Bson::Document(command.clone())).to_string(), command)).collect();
    let admin = MongoAdmin::new(mongo.admin_url()).unwrap();
    let mut bad = Vec::new();
    for (shape, command) in &shapes {
        let explain = doc! { "explain": command, "verbosity": "queryPlanner" };
        let plan = admin.run(mongo.name(), explain).await.unwrap();
        let mut found = BTreeSet::new();
        stages(&Bson::Document(plan), &mut found);
        let (name, collection) = command.iter().next().unwrap();
        let is_whole = READ_WHOLE.contains(&(name, collection.as_str().unwrap_or_default()));
        let is_bad = found.contains("SORT") || (found.contains("COLLSCAN") && !is_whole);
        if is_bad {
            bad.push(format!("{found:?} for {shape}"));
        }
    }
    assert!(shapes.len() > 40, "{}", shapes.len());
    assert!(bad.is_empty(), "{} of {}:\n{}", bad.len(), shapes.len(), bad.join("\n"));
    drop(harness);
    drop(ways);
}

/// A command's name with each of its collections.
fn targets(command: &Document) -> Vec<(String, String)> {
    let Some((name, of)) = command.iter().next() else { return Vec::new() };
    let names = command.get_array("nsInfo").into_iter().flatten();
    let many =
        names.filter_map(|ns| Some(ns.as_document()?.get_str("ns").ok()?.split_once('.')?.1.to_owned()));
    of.as_str().map(str::to_owned).into_iter().chain(many).map(|of| (name.clone(), of)).collect()
}

/// Calls and events that make the service read and write in all ways that it has for its users.
async fn journey(harness: &Harness) {
    let (admin, ann) = (harness.admin().await, harness.customer().await);
    grant(&admin, &grant_of(&ann, 50)).await.unwrap();
    send(&ann, &send_of(&admin, 1)).await.unwrap();
    let post = write(&ann, &draft()).await.unwrap().into_inner().post.unwrap();
    let (id, post_id) = (ann.id.clone(), post.id);
    ann.caller.posts().get_post(GetPostRequest { post_id: post_id.clone() }).await.unwrap();
    let handing = TransferPostRequest {
        request_id: request_id(),
        post_id,
        to_user_id: admin.id.clone(),
        etag: String::new(),
    };
    ann.caller.posts().transfer_post(handing).await.unwrap();
    harness.user(&id).await;
    let entries = ListWalletEntriesRequest {
        user_id: id.clone(),
        currency_code: "EUR".into(),
        page_size: 1,
        page_token: String::new(),
    };
    ann.caller.wallets().list_wallet_entries(entries).await.unwrap();
    admin.caller.wallets().get_trial_balance(GetTrialBalanceRequest {}).await.unwrap();
    harness.orders.tell(&OrderPlaced {
        customer_id: id.clone(),
        order_id: Uuid::now_v7().to_string(),
        ..OrderPlaced::default()
    });
    harness.orders.tell(&reserve_for(&id));
    wait_until(WITHIN, "the answer", async || match harness.events("user.v1.CreditReserved").await {
        0 => Err("no answer"),
        _ => Ok(()),
    })
    .await
    .unwrap();
    let gone = DeactivateUserRequest { request_id: request_id(), user_id: id, etag: String::new() };
    ann.caller.users().deactivate_user(gone).await.unwrap();
}
