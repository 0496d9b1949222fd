//! A good request of each method, and who makes it.

use anyhow::{Context as _, Result, bail};
use api::descriptor;
use api::page_token;
use prost_reflect::{DynamicMessage, Kind, MethodDescriptor, ReflectMessage as _, Value};
use serde_json::json;
use testkit::ServiceName;
use testkit::client::request_id;
use tests::streams::head;
use uuid::Uuid;

use super::values::{Variant, of_size, variants};
use crate::every_rpc::policy;
use crate::stage::{Stage, services_of};

/// A method at a service that has it, with good requests.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) path: String,
    pub(super) service: ServiceName,
    pub(super) method: MethodDescriptor,
    pub(super) caller: &'static str,
    good: Vec<DynamicMessage>,
    extremes: Vec<Variant>,
}

/// Every method that has fields, at each service that has it.
pub(super) async fn asked_methods(stage: &Stage) -> Result<Vec<Asked>> {
    let mut all = Vec::new();
    for method in descriptor::pool().services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        if method.input().fields().len() == 0 {
            continue;
        }
        let path = format!("{}/{}", method.parent_service().full_name(), method.name());
        for service in services_of(&path)? {
            let asked = Asked::of(stage, path.clone(), service, method.clone()).await;
            all.push(asked.with_context(|| format!("a good request of {path}"))?);
        }
    }
    Ok(all)
}

impl Asked {
    async fn of(stage: &Stage, path: String, service: ServiceName, method: MethodDescriptor) -> Result<Self> {
        let caller = caller(&path, &method)?;
        let mut good = vec![good(stage, &path, service, &method).await?];
        // A flag may lead elsewhere, so each field is tried with and without all of them.
        let flags: Vec<_> = method.input().fields().filter(|field| field.kind() == Kind::Bool).collect();
        if !flags.is_empty() {
            let mut flagged = good[0].clone();
            flags.iter().for_each(|flag| flagged.set_field(flag, Value::Bool(true)));
            good.push(flagged);
        }
        let mut extremes = Vec::new();
        for good in &good {
            extremes.extend(variants(good)?);
        }
        if let Some(field) = method.input().get_field_by_name("page_token") {
            for (number, token) in tokens(stage, &path, caller, &good[0])? {
                let mut message = good[0].clone();
                message.set_field(&field, Value::String(token));
                let what = format!("page_token = the one for {number}");
                extremes.push(Variant { field: "page_token".to_owned(), what, message });
            }
        }
        Ok(Self { path, service, method, caller, good, extremes })
    }

    /// The good requests.
    pub(super) fn good(&self) -> impl Iterator<Item = Variant> {
        self.good.iter().map(|good| {
            fresh(Variant { field: String::new(), what: "good".to_owned(), message: good.clone() })
        })
    }

    /// Those with one field at an end.
    pub(super) fn extremes(&self) -> impl Iterator<Item = Variant> {
        self.extremes.iter().cloned().map(fresh)
    }

    /// The request of a variant with the same field of this size; `None` when the field is not at the top and no limit of
    /// it can be tried in this way, or when the size does not fit.
    pub(super) fn at(&self, variant: &Variant, size: i64) -> Option<Variant> {
        let mut message = self.good[0].clone();
        set(&mut message, &variant.field, size)?;
        let what = format!("{} of size {size}", variant.field);
        Some(fresh(Variant { field: variant.field.clone(), what, message }))
    }
}

/// Sets the field at a path such as `items[0].quantity`.
fn set(message: &mut DynamicMessage, path: &str, size: i64) -> Option<()> {
    let (head, rest) = path.split_once('.').map_or((path, None), |(head, rest)| (head, Some(rest)));
    let field = message.descriptor().get_field_by_name(head.trim_end_matches("[0]"))?;
    let Some(rest) = rest else {
        if head.ends_with("[0]") {
            return None;
        }
        let value = of_size(message, &field, size)?;
        message.set_field(&field, value);
        return Some(());
    };
    match message.get_field_mut(&field) {
        Value::Message(inner) => set(inner, rest, size),
        Value::List(list) => set(list.first_mut()?.as_message_mut()?, rest, size),
        _ => None,
    }
}

/// With a request id and an e-mail address that nobody has used, unless it is they that are tried.
fn fresh(mut variant: Variant) -> Variant {
    let descriptor = variant.message.descriptor();
    for (name, value) in [("request_id", request_id()), ("email", format!("{}@example.com", request_id()))] {
        if let Some(field) = descriptor.get_field_by_name(name).filter(|_| variant.field != name) {
            variant.message.set_field(&field, Value::String(value));
        }
    }
    variant
}

/// Somebody whom the method admits. Those who own the things that the good requests name, where that matters; and whoever
/// ends all sessions of hers calls nothing else.
fn caller(path: &str, method: &MethodDescriptor) -> Result<&'static str> {
    match path {
        "session.v1.SessionService/RevokeAllSessions" => return Ok("stranger"),
        "order.v1.TransferService/RefundOrder" => return Ok("seller"),
        _ => {}
    }
    let policy = policy(method)?;
    let roles = [(api::auth::v1::Role::Admin, "admin"), (api::auth::v1::Role::Merchant, "seller")];
    let role = roles.into_iter().find(|(role, _)| policy.roles().any(|admitted| admitted == *role));
    let services = ["user-service", "order-service", "session-service"];
    Ok(if policy.anyone {
        "anyone"
    } else if policy.authenticated {
        "buyer"
    } else if let Some((_, who)) = role {
        who
    } else {
        let named = services.into_iter().find(|name| policy.services.iter().any(|service| service == name));
        named.with_context(|| format!("nobody here may call {path}"))?
    })
}

async fn good(
    stage: &Stage,
    path: &str,
    service: ServiceName,
    method: &MethodDescriptor,
) -> Result<DynamicMessage> {
    let (stream, consumer, followed_by) = match service {
        ServiceName::User => ("user", "user.transfers", "order.customers"),
        ServiceName::Order => ("order", "order.transfers", "user.transfers"),
        ServiceName::Session => ("session-00", "session.revocations", "nobody"),
    };
    let mut message = DynamicMessage::new(method.input());
    for field in method.input().fields() {
        let value = match (path, field.name()) {
            (_, "stream") => json!(stream),
            ("order.v1.TransferService/GetDecision", "epoch") => json!("$order_epoch"),
            (_, "epoch") => json!(head(&stage.system.admin.caller, stream).await?.epoch),
            ("event.v1.EventService/Acknowledge", "consumer") => json!(followed_by),
            // Whatever else is said, nothing is rebuilt.
            ("event.v1.EventAdminService/Resync", "consumer") => json!("nobody"),
            (_, "consumer") => json!(consumer),
            (_, name) => named(path, name).with_context(|| format!("{name} has no good value"))?,
        };
        let value = stage.fill(&value)?;
        if !value.is_null() {
            let value = json!({ field.json_name(): value });
            let part = DynamicMessage::deserialize(method.input(), value).context("a value of its type")?;
            message.set_field(&field, part.get_field(&field).into_owned());
        }
    }
    Ok(message)
}

/// A good value of a field, by its name. Null leaves it out.
fn named(path: &str, field: &str) -> Result<serde_json::Value> {
    let method = path.rsplit_once('/').map_or("", |(_, method)| method);
    let money = json!({ "currencyCode": "EUR", "minorUnits": 1 });
    Ok(match (method, field) {
        (_, "request_id") => json!("$new_id"),
        (_, "email") => json!("somebody@example.com"),
        (_, "username") => json!("row"),
        (_, "user_ids") => json!(["$buyer", "$seller"]),
        // Nothing is counted of what is not there.
        ("RecordPostViews", "post_ids") => json!(["$missing"]),
        (_, "window") => json!("WINDOW_WEEK"),
        (_, "read_mask") => json!("id,etag"),
        (_, "user") => json!({ "displayName": "Row", "profile": { "bio": "Row" } }),
        // Whose password changes is logged out, and so is whoever else calls as they.
        ("ChangeEmail" | "ChangePassword", "password") => json!("not the right password"),
        (_, "new_password") => json!("$password"),
        (_, "password") => json!("$password"),
        (_, "name" | "display_name" | "title" | "client_name" | "body" | "justification") => json!("Row"),
        // Where a stale one is told before anything is changed, each call finds what the others found.
        (_, "etag") => json!("999999"),
        (_, "role") => json!("ROLE_CUSTOMER"),
        (_, "filter") => json!({ "roles": ["ROLE_CUSTOMER"] }),
        (_, "order_by") => json!("ORDER_BY_CREATE_TIME_DESC"),
        (_, "skip") => json!(0),
        (_, "show_total_size") => json!(true),
        (_, "words") => json!("row"),
        // With words there is no other search.
        (_, "name_prefix") => json!(""),
        (_, "near") => json!(null),
        (_, "resume_token") => json!(""),
        (_, "stock") => json!(1),
        (_, "amount" | "unit_price" | "payment_limit" | "day_limit") => money,
        ("ListWalletEntries", "kind") => json!("KIND_UNSPECIFIED"),
        ("ListWalletEntries", "start_time" | "end_time") => json!(null),
        (_, "currency_code") => json!("EUR"),
        (_, "page_size") => json!(10),
        (_, "page_token") => json!(""),
        (_, "items") => json!([{ "productId": "$product", "quantity": 1 }]),
        (_, "product") => json!({ "name": "Row", "unitPrice": money }),
        (_, "post") => json!({ "title": "Row", "body": "Row" }),
        ("UpdateProduct", "update_mask") => json!("name,unitPrice"),
        ("UpdatePost", "update_mask") => json!("title,body"),
        ("GetPostBySlug", "slug") => json!("$slug"),
        ("CreatePost", "category") => json!("row"),
        (_, "slug" | "tag" | "category") => json!(""),
        (_, "tags") => json!(["row"]),
        (_, "excerpt") => json!("Row"),
        (_, "publish" | "delete_posts") => json!(false),
        (_, "author_id") => json!("$buyer"),
        ("ListPosts", "state") => json!("STATE_PUBLISHED"),
        // The caller's posts, which go to nobody.
        ("TransferAllPosts", "from_user_id") => json!(""),
        ("TransferAllPosts", "to_user_id") => json!("$missing"),
        ("UpdateUser", "update_mask") => json!("displayName,profile.bio"),
        ("DeactivateUser" | "ChangeUserRole" | "ResetPassword" | "DeleteUser", "user_id") => json!("$gone"),
        ("FreezeWallet" | "UnfreezeWallet" | "SetWalletLimits", "user_id") => json!("$missing"),
        ("RevokeSession", "session_id") => json!("$missing"),
        // Left out, it is the caller.
        (
            "ListWalletEntries" | "GetWallet" | "AuditBook" | "ListSessions" | "RevokeSession"
            | "RevokeAllSessions",
            "user_id",
        ) => {
            json!("")
        }
        ("FollowUser" | "UnfollowUser", "user_id") => json!("$seller"),
        (_, "user_id") => json!("$buyer"),
        (_, "to_user_id") => json!("$seller"),
        (_, "owner_id") => json!(""),
        ("CancelOrder" | "TransferOrder", "order_id") => json!("$cancelled_order"),
        ("PayOrder" | "RefundOrder", "order_id") => json!("$paid_order"),
        (_, "order_id") => json!("$placed_order"),
        (_, "product_id") => json!("$product"),
        (_, "post_id") => json!("$post"),
        (_, "post_ids") => json!(["$post", "$draft"]),
        (_, "transfer_id") => json!("$transfer"),
        (_, "transfer_ids") => json!(["$transfer"]),
        (_, "event_id" | "aggregate_id") => json!("$missing"),
        (_, "aggregate_type") => json!("transfer"),
        (_, "after_position") => json!(0),
        (_, "position") => json!(1),
        (_, "follow" | "full") => json!(false),
        (_, "access_token" | "refresh_token") => json!("ts_a_00_none"),
        _ => bail!("add one"),
    })
}

/// Tokens of the list that a good request reads, as anybody could make them: they are bound to their list and not secret.
fn tokens(stage: &Stage, path: &str, caller: &str, good: &DynamicMessage) -> Result<Vec<(String, String)>> {
    let me = stage.fill(&json!(format!("${caller}")))?;
    let me = me.as_str().context("a caller's id")?;
    let text = |name: &str| good.get_field_by_name(name).and_then(|value| value.as_str().map(str::to_owned));
    let consumer = text("consumer").unwrap_or_default();
    let user = text("user_id").unwrap_or_default();
    let list: Vec<&str> = match path {
        "user.v1.WalletService/ListWalletEntries" => vec![path, me, me, "EUR"],
        "user.v1.UserService/ListUserChanges" => vec![path, me, &user],
        "order.v1.AccountService/ListAccountEntries" => vec![path, me, "EUR"],
        "event.v1.EventAdminService/ListParked" => vec![path, &consumer],
        "session.v1.SessionService/ListSessions" => return Ok(of_times(&[path, me, ""])),
        "user.v1.PostService/ListPosts" => {
            let author = text("author_id").unwrap_or_default();
            return Ok(of_times(&[path, me, &author, "", "", "2"]));
        }
        "user.v1.RelationService/ListFollowers" | "user.v1.RelationService/ListFollowing" => {
            return Ok(of_ids(&[path, me, me]));
        }
        "user.v1.UserService/ListUsers" => {
            let list = [path, me, "customer", "STATE_ACTIVE", "", "", "", "", "ORDER_BY_CREATE_TIME_DESC"];
            return Ok(of_places(&list, 1, &[i64::MIN, -1, 0, i64::MAX].map(i64::to_be_bytes)));
        }
        "user.v1.UserService/SearchUsers" => {
            return Ok(of_places(&[path, me, "words", "row"], 4, &[[0], [1], [2], [255]]));
        }
        other => bail!("nothing is known of the page tokens of {other}"),
    };
    let largest = i64::MAX.cast_unsigned();
    let ends = [0, 1, largest - 1, largest, largest + 1, u64::MAX];
    Ok(ends.map(|number| (number.to_string(), page_token::encode_number(&list, number))).to_vec())
}

/// Tokens of a list by a key of some kind and an id.
fn of_places<const N: usize>(list: &[&str], kind: u8, keys: &[[u8; N]]) -> Vec<(String, String)> {
    let ends = keys.iter().flat_map(|key| [(key, 0_u8), (key, 255)]);
    let tokens = ends.map(|(key, id)| {
        let position = [&[kind], key.as_slice(), Uuid::from_bytes([id; 16]).as_bytes()].concat();
        (format!("{key:?} and {id}"), page_token::encode(list, &position))
    });
    tokens.collect()
}

/// Tokens of a list by a time in milliseconds and an id.
fn of_times(list: &[&str]) -> Vec<(String, String)> {
    let ends = [i64::MIN, -1, 0, i64::MAX].into_iter().flat_map(|time| [(time, 0_u8), (time, 255)]);
    let tokens = ends.map(|(time, id)| {
        let position = [time.to_be_bytes().as_slice(), Uuid::from_bytes([id; 16]).as_bytes()].concat();
        (format!("{time} and {id}"), page_token::encode(list, &position))
    });
    tokens.collect()
}

/// Tokens of a list by an id.
fn of_ids(list: &[&str]) -> Vec<(String, String)> {
    let ends = [0_u8, 127, 255].map(|byte| {
        let id = Uuid::from_bytes([byte; 16]);
        (id.to_string(), page_token::encode(list, id.as_bytes()))
    });
    ends.to_vec()
}
