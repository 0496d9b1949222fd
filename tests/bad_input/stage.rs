//! The people and things that wrong calls are made with.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use api::auth::v1::Role;
use api::common::v1::Money;
use api::event::v1::HeadRequest;
use api::order::v1::PlaceOrderRequest;
use api::user::v1::{CreatePostRequest, GetUserRequest};
use serde_json::Value;
use testkit::ServiceName;
use testkit::client::{PASSWORD, Person, eur, request_id};
use tests::System;
use tests::people::{Market, PRICE, cancel, pay, product};
use tokio::sync::{Mutex, MutexGuard};
use tonic::Code;
use uuid::Uuid;

use crate::digest::Digest;

/// A system with an order in each state and people of each kind.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) system: System,
    pub(crate) market: Market,
    stranger: Person,
    ended: Person,
    names: BTreeMap<&'static str, String>,
    _turn: MutexGuard<'static, ()>,
}

impl Stage {
    /// A stage on the shared system, for one test at a time: another's preparations would look like changes.
    pub(crate) async fn get() -> Result<Self> {
        static TURN: Mutex<()> = Mutex::const_new(());
        let turn = TURN.lock().await;
        Box::pin(Self::set(turn)).await
    }

    async fn set(turn: MutexGuard<'static, ()>) -> Result<Self> {
        let system = System::shared().await?;
        let market = Market::open(&system, 10 * PRICE, 5).await?;
        let seller = &market.seller;
        let yen = Money { currency_code: "JPY".to_owned(), minor_units: 100 };
        let yen_product = product(seller, "In yen", yen, 5).await?;
        let dear_product = product(seller, "Dear", eur(1_000_000_000_000), 1_000_000_000).await?;
        let other_seller = system.admin.make(&system.api.sign_up("Other").await?, Role::Merchant).await?;
        let other_product = product(&other_seller, "Of another seller", eur(PRICE), 5).await?;
        let (placed, paid, cancelled) =
            (market.order(1).await?, market.order(1).await?, market.order(1).await?);
        let payment = market.buyer.caller.transfers().pay_order(pay(&paid)).await.context("PayOrder")?;
        let transfer = payment.into_inner().transfer.context("a transfer")?.id;
        market.buyer.caller.orders().cancel_order(cancel(&cancelled.id)).await.context("CancelOrder")?;
        let post = CreatePostRequest {
            request_id: request_id(),
            title: "A post".to_owned(),
            body: "Of the buyer.".to_owned(),
            slug: format!("of-the-buyer-{}", Uuid::now_v7().simple()),
            publish: true,
            ..CreatePostRequest::default()
        };
        let draft = CreatePostRequest {
            request_id: request_id(),
            title: "A draft".to_owned(),
            body: "Of the buyer.".to_owned(),
            ..CreatePostRequest::default()
        };
        let draft =
            market.buyer.caller.posts().create_post(draft).await?.into_inner().post.context("a draft")?;
        let post =
            market.buyer.caller.posts().create_post(post).await?.into_inner().post.context("a post")?;
        let used = request_id();
        let place = PlaceOrderRequest { request_id: used.clone(), ..market.order_request(1) };
        market.buyer.caller.orders().place_order(place).await?;

        let stranger = system.api.sign_up("Stranger").await?;
        let gone = system.api.sign_up("Gone").await?;
        let ended = system.api.log_in(&gone.email, PASSWORD).await?;
        system.admin.deactivate(&gone).await?;
        let head = HeadRequest { stream: "order".to_owned() };
        let head = system.admin.caller.events(ServiceName::Order).head(head).await.context("Head")?;
        let names = BTreeMap::from([
            ("$order_epoch", head.into_inner().head.context("a head")?.epoch),
            ("$buyer", market.buyer.user_id.clone()),
            ("$buyer_email", market.buyer.email.clone()),
            ("$buyer_session", market.buyer.session_id.clone()),
            ("$buyer_refresh_token", market.buyer.refresh_token.clone()),
            ("$seller", market.seller.user_id.clone()),
            ("$stranger", stranger.user_id.clone()),
            ("$gone", gone.user_id.clone()),
            ("$gone_email", gone.email.clone()),
            ("$admin", system.admin.user_id.clone()),
            ("$product", market.product_id.clone()),
            ("$yen_product", yen_product),
            ("$dear_product", dear_product),
            ("$other_product", other_product),
            ("$placed_order", placed.id),
            ("$paid_order", paid.id),
            ("$cancelled_order", cancelled.id),
            ("$transfer", transfer),
            ("$post", post.id),
            ("$slug", post.slug),
            ("$draft", draft.id),
            ("$draft_slug", draft.slug),
            ("$used_request_id", used),
            ("$missing", Uuid::now_v7().to_string()),
            ("$password", PASSWORD.to_owned()),
        ]);
        // The last events of the preparation may still be on their way. Session service applies them in order, and
        // the deactivation is the last that concerns it.
        system.books_balance().await?;
        let me = GetUserRequest { user_id: ended.user_id.clone(), read_mask: None };
        testkit::wait_until(Duration::from_secs(20), "the deactivated user's session to end", async || {
            match ended.caller.users().get_user(me.clone()).await {
                Err(status) if status.code() == Code::Unauthenticated => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await?;
        let stage = Self { system, market, stranger, ended, names, _turn: turn };
        Ok(stage)
    }

    /// Where a service listens.
    pub(crate) fn address(&self, service: ServiceName) -> String {
        self.system.stack.services.get(service).address()
    }

    /// The token of somebody by the name that a row uses; `None` for nobody.
    pub(crate) fn token(&self, who: &str) -> Result<Option<String>> {
        Ok(Some(match who {
            "anyone" => return Ok(None),
            "buyer" => self.market.buyer.access_token.clone(),
            "seller" => self.market.seller.access_token.clone(),
            "admin" => self.system.admin.access_token.clone(),
            "stranger" => self.stranger.access_token.clone(),
            "ended" => self.ended.access_token.clone(),
            "buyer_refresh_token" => self.market.buyer.refresh_token.clone(),
            service if service.ends_with("-service") => {
                self.system.stack.databases.state().secret(&format!("{service}.token"))?
            }
            other => bail!("nobody is called {other}"),
        }))
    }

    /// Replaces `$names` in a row's message; `$new_id` is another UUID each time, `$long:N` is N letters.
    pub(crate) fn fill(&self, value: &Value) -> Result<Value> {
        Ok(match value {
            Value::String(text) if text == "$new_id" => Value::String(request_id()),
            Value::String(text) if text.starts_with("$long:") => {
                let length: usize = text["$long:".len()..].parse().context("a length")?;
                Value::String("a".repeat(length))
            }
            Value::String(text) if text.starts_with('$') => {
                let known = self.names.get(text.as_str());
                Value::String(known.with_context(|| format!("nothing is called {text}"))?.clone())
            }
            Value::Array(items) => {
                Value::Array(items.iter().map(|item| self.fill(item)).collect::<Result<_>>()?)
            }
            Value::Object(fields) => Value::Object(
                fields
                    .iter()
                    .map(|(key, field)| Ok((key.clone(), self.fill(field)?)))
                    .collect::<Result<_>>()?,
            ),
            other => other.clone(),
        })
    }

    /// The digest once everything that was committed is stamped and has arrived. Equal digests mean that nothing
    /// changed.
    pub(crate) async fn settled_digest(&self) -> Result<Digest> {
        self.system.at_rest().await?;
        Digest::of(&self.system).await
    }
}

/// The services that have a method: one, or all of them for those that every service serves.
pub(crate) fn services_of(path: &str) -> Result<Vec<ServiceName>> {
    Ok(match path.split('.').next() {
        Some("user") => vec![ServiceName::User],
        Some("order") => vec![ServiceName::Order],
        Some("session") => vec![ServiceName::Session],
        Some("event" | "doctor") => ServiceName::ALL.to_vec(),
        _ => bail!("no service has {path}"),
    })
}

/// The service that is called where one of them is enough: streams of order service are the ones that rows name.
pub(crate) fn service_of(path: &str) -> Result<ServiceName> {
    let all = services_of(path)?;
    Ok(if let [only] = all.as_slice() { *only } else { ServiceName::Order })
}
