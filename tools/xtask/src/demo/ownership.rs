//! Things that change owner: a post inside MongoDB, an order in PostgreSQL with statistics that follow by events.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use api::order::v1::{GetOrderRequest, TransferOrderRequest};
use api::user::v1::{CreatePostRequest, GetUserRequest, OrderStatistics, TransferPostRequest};
use testkit::client::{Person, request_id};
use testkit::wait_until;
use tonic::Code;

use super::money::{on_sale, place};
use super::people::Cast;
use super::script::Script;

async fn user(person: &Person) -> Result<api::user::v1::User> {
    let request = GetUserRequest { user_id: person.user_id.clone(), read_mask: None };
    let answer = person.caller.users().get_user(request).await.context("GetUser")?;
    answer.into_inner().user.context("a user")
}

/// Ann hands a post to Ben.
pub(crate) async fn post(script: &mut Script, cast: &Cast) -> Result<()> {
    script.step("Ann writes a post and hands it to Ben")?;
    let create = CreatePostRequest {
        request_id: request_id(),
        title: "On tea".to_owned(),
        body: "Three minutes, not four.".to_owned(),
        publish: true,
        ..CreatePostRequest::default()
    };
    let post = cast.ann.caller.posts().create_post(create).await?.into_inner().post.context("a post")?;
    let before = (user(&cast.ann).await?.post_count, user(&cast.ben).await?.post_count);
    let hand_over = TransferPostRequest {
        request_id: request_id(),
        post_id: post.id.clone(),
        to_user_id: cast.ben.user_id.clone(),
        etag: post.etag,
    };
    let answer = cast.ann.caller.posts().transfer_post(hand_over.clone()).await.context("TransferPost")?;
    let repeat =
        cast.ann.caller.posts().transfer_post(hand_over.clone()).await.context("TransferPost again")?;
    ensure!(answer.get_ref() == repeat.get_ref(), "the repeat must return the first answer");
    let after = (user(&cast.ann).await?.post_count, user(&cast.ben).await?.post_count);
    ensure!(after == (before.0 - 1, before.1 + 1), "post counts {before:?} -> {after:?}");
    let again = TransferPostRequest { request_id: request_id(), etag: String::new(), ..hand_over };
    let refused = cast.ann.caller.posts().transfer_post(again).await.err().context("not hers")?;
    ensure!(refused.code() == Code::PermissionDenied, "Ann has no right to it any more: {refused}");
    script.saw(format!("posts of Ann {} -> {}, of Ben {} -> {}", before.0, after.0, before.1, after.1))?;
    script.proves("owner and both counts are one transaction; a repeat is no second hand-over")
}

/// Ann hands an order to Ben.
pub(crate) async fn order(script: &mut Script, cast: &Cast) -> Result<()> {
    script.step("Ann hands an order to Ben")?;
    let product = on_sale(&cast.ben, "Cup", 1).await?;
    let owned = |statistics: OrderStatistics| statistics.owned_count;
    let placed = place(&cast.ann, &product, 1).await?;
    let hand_over = TransferOrderRequest {
        request_id: request_id(),
        order_id: placed.id.clone(),
        to_user_id: cast.ben.user_id.clone(),
        etag: placed.etag,
    };
    let answer = cast.ann.caller.orders().transfer_order(hand_over).await.context("TransferOrder")?;
    let order = answer.into_inner().order.context("an order")?;
    ensure!(order.customer_id == cast.ben.user_id, "the order is Ben's");
    let request = GetOrderRequest { order_id: order.id };
    let hidden = cast.ann.caller.orders().get_order(request).await.err().context("not hers")?;
    ensure!(hidden.code() == Code::NotFound, "another's order is NOT_FOUND: {hidden}");
    let wait = wait_until(Duration::from_secs(5), "the statistics in MongoDB to follow", async || {
        let ann = user(&cast.ann).await.map_err(|error| error.to_string())?;
        let ben = user(&cast.ben).await.map_err(|error| error.to_string())?;
        let seen = (ann.order_statistics.map(owned), ben.order_statistics.map(owned));
        if seen == (Some(1), Some(1)) { Ok(()) } else { Err(format!("orders owned: {seen:?}")) }
    });
    wait.await?;
    script.saw("orders owned, as user service counts them from events: Ann 1, Ben 1")?;
    script.proves("a change in PostgreSQL reached MongoDB by an event, applied once")
}
