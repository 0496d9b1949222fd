//! What the rows for calls need: users, posts, products and orders, and the arguments of the load generator.

use anyhow::{Context, Result};
use api::order::v1::{OrderItem, PlaceOrderRequest};
use api::user::v1::CreatePostRequest;
use testkit::ServiceName;
use testkit::client::{PASSWORD, Person, request_id};

use super::Bench;
use super::rows::Row;
use super::stage::Part;

/// Calls in flight. Each login is that of another person.
const IN_FLIGHT: usize = 16;
/// Enough products for orders to seldom wait for each other's locks.
const PRODUCTS: usize = 900;
const ORDERS: usize = 200;
const ITEMS: usize = 3;

/// What to call, and which processes to watch.
pub(super) struct Call {
    pub(super) service: ServiceName,
    pub(super) database: Option<Part>,
    /// A service that does a part of the work. The floor has a helper too.
    pub(super) helper: Option<ServiceName>,
    pub(super) args: Vec<String>,
}

impl Call {
    /// A call that one service answers alone.
    fn of(service: ServiceName, database: Part, args: Vec<String>) -> Self {
        Self { service, database: Some(database), helper: None, args }
    }
}

impl Bench {
    /// Starts the floor of a row, and makes the users and data that its calls need.
    pub(super) async fn prepare(&mut self, row: Row) -> Result<Call> {
        self.stage.floor(ServiceName::User, &[]).await?;
        match row {
            Row::SessionValidate => self.session_validate().await,
            Row::SessionLogin => self.session_login().await,
            Row::UserGet => self.user_get().await,
            Row::PostList => self.post_list().await,
            Row::PostHandOver => self.post_hand_over().await,
            Row::Follow | Row::Like => self.relate(row).await,
            Row::OrderPlace => self.order_place().await,
            Row::OrderGet => self.order_get().await,
            _ => Ok(Call {
                service: ServiceName::User,
                database: None,
                helper: None,
                args: vec!["empty".to_owned()],
            }),
        }
    }

    async fn session_validate(&mut self) -> Result<Call> {
        self.stage.floor(ServiceName::Session, &[]).await?;
        let mut args = as_whom(&self.stage.service_token()?, "validate-session");
        for _ in 0..IN_FLIGHT {
            args.extend([
                "--access-token".to_owned(),
                self.stage.api.sign_up("Validated").await?.access_token,
            ]);
        }
        Ok(Call::of(ServiceName::Session, Part::RedisSession, args))
    }

    async fn session_login(&mut self) -> Result<Call> {
        self.stage.floor(ServiceName::Session, &[]).await?;
        let mut args = ["login", "--password", PASSWORD].map(str::to_owned).to_vec();
        for _ in 0..IN_FLIGHT {
            args.extend(["--email".to_owned(), self.stage.api.sign_up("Login").await?.email]);
        }
        let alone = Call::of(ServiceName::Session, Part::RedisSession, args);
        Ok(Call { helper: Some(ServiceName::User), ..alone })
    }

    async fn user_get(&mut self) -> Result<Call> {
        let mut args = as_whom(&self.stage.api.sign_up("Caller").await?.access_token, "get-user");
        for _ in 0..IN_FLIGHT {
            args.extend(["--user-id".to_owned(), self.stage.api.sign_up("User").await?.user_id]);
        }
        Ok(Call::of(ServiceName::User, Part::Mongo, args))
    }

    async fn post_list(&mut self) -> Result<Call> {
        self.stage.seed(self.args.users).await?;
        let caller = self.stage.api.sign_up("Reader").await?;
        Ok(Call::of(ServiceName::User, Part::Mongo, as_whom(&caller.access_token, "list-posts")))
    }

    async fn post_hand_over(&mut self) -> Result<Call> {
        let mut args = vec!["hand-over".to_owned()];
        for _ in 0..IN_FLIGHT {
            let owners = [self.stage.api.sign_up("Giver").await?, self.stage.api.sign_up("Taker").await?];
            let post_id = published(&owners[0]).await?;
            args.extend(["--post-id".to_owned(), post_id]);
            for owner in owners {
                args.extend(["--owner-token".to_owned(), owner.access_token]);
                args.extend(["--owner-id".to_owned(), owner.user_id]);
            }
        }
        Ok(Call::of(ServiceName::User, Part::Mongo, args))
    }

    async fn relate(&mut self, row: Row) -> Result<Call> {
        let (people, ends) = self.people_with_ends(row, IN_FLIGHT).await?;
        let args = std::iter::once("relate".to_owned()).chain(people).chain(ends).collect();
        Ok(Call::of(ServiceName::User, Part::Mongo, args))
    }

    /// Arguments for so many people, and for as many users to follow or posts to like.
    pub(super) async fn people_with_ends(
        &mut self,
        row: Row,
        count: usize,
    ) -> Result<(Vec<String>, Vec<String>)> {
        let (mut people, mut ends) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let person = self.stage.api.sign_up("Follower").await?;
            people.push(format!("--person-token={}", person.access_token));
            let other = self.stage.api.sign_up("Followed").await?;
            ends.push(match row {
                Row::Follow => format!("--user-id={}", other.user_id),
                _ => format!("--post-id={}", published(&other).await?),
            });
        }
        Ok((people, ends))
    }

    async fn order_place(&mut self) -> Result<Call> {
        let buyer = self.orderer().await?;
        let mut args = as_whom(&buyer.access_token, "place-order");
        args.extend(["--items".to_owned(), ITEMS.to_string()]);
        let seller = self.stage.seller().await?;
        for id in self.stage.products(&seller, PRODUCTS).await? {
            args.extend(["--product-id".to_owned(), id]);
        }
        Ok(Call::of(ServiceName::Order, Part::Postgres, args))
    }

    async fn order_get(&mut self) -> Result<Call> {
        let buyer = self.orderer().await?;
        let mut args = as_whom(&buyer.access_token, "get-order");
        for id in self.orders(&buyer).await? {
            args.extend(["--order-id".to_owned(), id]);
        }
        Ok(Call::of(ServiceName::Order, Part::Postgres, args))
    }

    /// A customer, also known to the floor.
    async fn orderer(&mut self) -> Result<Person> {
        let buyer = self.stage.api.sign_up("Orderer").await?;
        let as_whom = ["--customer-id".to_owned(), buyer.user_id.clone()];
        self.stage.floor(ServiceName::Order, &as_whom).await?;
        Ok(buyer)
    }

    /// Places orders of a customer, to be read.
    async fn orders(&self, buyer: &Person) -> Result<Vec<String>> {
        let products = self.stage.products(&self.stage.seller().await?, ITEMS).await?;
        let item = |id: &String| OrderItem { product_id: id.clone(), quantity: 1, ..OrderItem::default() };
        let mut ids = Vec::new();
        for _ in 0..ORDERS {
            let items = products.iter().map(item).collect();
            let request = PlaceOrderRequest { request_id: request_id(), items };
            let answer = buyer.caller.orders().place_order(request).await.context("PlaceOrder")?;
            ids.push(answer.into_inner().order.context("an order")?.id);
        }
        Ok(ids)
    }
}

/// The arguments of a call that is made with a token.
fn as_whom(token: &str, call: &str) -> Vec<String> {
    ["--token", token, call].map(str::to_owned).to_vec()
}

/// A post that somebody has published.
async fn published(author: &Person) -> Result<String> {
    let request = CreatePostRequest {
        request_id: request_id(),
        title: "On tea".to_owned(),
        body: "Water that boils, leaves that wait, and three minutes of patience.".to_owned(),
        publish: true,
        ..CreatePostRequest::default()
    };
    let answer = author.caller.posts().create_post(request).await.context("CreatePost")?;
    Ok(answer.into_inner().post.context("a post")?.id)
}
