//! The rows for calls. Each keeps sixteen calls in flight over one connection, to the service and its floor in turn.

use anyhow::{Context, Result};
use api::order::v1::{OrderItem, PlaceOrderRequest};
use measurement::Round;
use testkit::ServiceName;
use testkit::client::{PASSWORD, Person, request_id};

use super::Bench;
use super::rows::Row;
use super::stage::{Part, Side};
use super::stats::Goal;
use super::table::Line;

/// Calls in flight. Each login is that of another person.
const IN_FLIGHT: usize = 16;
/// Enough products for orders to seldom wait for each other's locks.
const PRODUCTS: usize = 900;
const ORDERS: usize = 200;
const ITEMS: usize = 3;
const SERVICE_GOAL: Goal = Goal::TimesFloor(1.3);
const DATABASE_GOAL: Goal = Goal::TimesFloor(1.1);

/// A figure of a round.
pub(super) type Figure = fn(&Round) -> f64;

/// What to call, and which processes to watch.
struct Call {
    service: ServiceName,
    database: Option<Part>,
    /// A service that does a part of the work. The floor has a helper too.
    helper: Option<ServiceName>,
    args: Vec<String>,
}

impl Bench {
    pub(super) async fn measure_call(&mut self, row: Row) -> Result<()> {
        let call = self.prepare(row).await?;
        let watched = |side: Side| {
            let part = |name| if side == Side::Ours { Part::Service(name) } else { Part::Floor(name) };
            let services = [Some(call.service), call.helper].into_iter().flatten().map(part);
            services.chain(call.database).collect::<Vec<_>>()
        };
        let (mut ours, mut floor) = (Vec::new(), Vec::new());
        for _ in 0..self.args.rounds {
            ours.push(self.round(Side::Ours, &watched(Side::Ours), &call.args).await?);
            floor.push(self.round(Side::Floor, &watched(Side::Floor), &call.args).await?);
        }
        let row = row.name();
        let cpu = |bench: &Self, rounds: &[Round], part: Part| -> Vec<f64> {
            rounds.iter().map(|round| bench.cpu_each(round, part)).collect()
        };
        let services = [(call.service, "service CPU, us a call".to_owned(), SERVICE_GOAL)];
        let helper = call.helper.map(|name| (name, format!("{name} CPU, us a call"), Goal::None));
        for (name, measure, goal) in services.into_iter().chain(helper) {
            let each = cpu(self, &ours, Part::Service(name));
            let at_best = cpu(self, &floor, Part::Floor(name));
            self.add(Line::beside(row, measure, &each, &at_best, goal));
        }
        if let Some(database) = call.database {
            let (each, at_best) = (cpu(self, &ours, database), cpu(self, &floor, database));
            let measure = format!("{} CPU, us a call", database.name());
            self.add(Line::beside(row, measure, &each, &at_best, DATABASE_GOAL));
        }
        let all = |rounds: &[Round], figure: Figure| rounds.iter().map(figure).collect::<Vec<_>>();
        let figures: [(&str, Figure); 3] = [
            ("calls a second", Round::rate),
            ("p50, ms", |round| round.p50_ms),
            ("p99, ms", |round| round.p99_ms),
        ];
        for (measure, figure) in figures {
            self.add(Line::beside(row, measure, &all(&ours, figure), &all(&floor, figure), Goal::None));
        }
        let memory = |rounds: &[Round], part: Part| -> Vec<f64> {
            rounds.iter().map(|round| round.processes[&part.name()].resident_mib).collect()
        };
        let (ours, floor) =
            (memory(&ours, Part::Service(call.service)), memory(&floor, Part::Floor(call.service)));
        self.add(Line::beside(row, "service resident, MiB", &ours, &floor, Goal::AtMost(60.0)));
        Ok(())
    }

    /// Starts the floor of a row, and makes the users and data that its calls need.
    async fn prepare(&mut self, row: Row) -> Result<Call> {
        let text = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
        let own = |service, database, args| Call { service, database, helper: None, args };
        self.stage.floor(ServiceName::User, &[]).await?;
        Ok(match row {
            Row::SessionValidate => {
                self.stage.floor(ServiceName::Session, &[]).await?;
                let mut args = vec!["--token".to_owned(), self.stage.service_token()?];
                args.extend(text(&["validate-session"]));
                for _ in 0..IN_FLIGHT {
                    let person = self.stage.api.sign_up("Validated").await?;
                    args.extend(["--access-token".to_owned(), person.access_token]);
                }
                own(ServiceName::Session, Some(Part::RedisSession), args)
            }
            Row::SessionLogin => {
                self.stage.floor(ServiceName::Session, &[]).await?;
                let mut args = text(&["login", "--password", PASSWORD]);
                for _ in 0..IN_FLIGHT {
                    args.extend(["--email".to_owned(), self.stage.api.sign_up("Login").await?.email]);
                }
                let helper = Some(ServiceName::User);
                Call { helper, ..own(ServiceName::Session, Some(Part::RedisSession), args) }
            }
            Row::UserGet => {
                let caller = self.stage.api.sign_up("Caller").await?;
                let mut args = vec!["--token".to_owned(), caller.access_token, "get-user".to_owned()];
                for _ in 0..IN_FLIGHT {
                    args.extend(["--user-id".to_owned(), self.stage.api.sign_up("User").await?.user_id]);
                }
                own(ServiceName::User, Some(Part::Mongo), args)
            }
            Row::OrderPlace => {
                let buyer = self.orderer().await?;
                let mut args = vec!["--token".to_owned(), buyer.access_token, "place-order".to_owned()];
                args.extend(text(&["--items", &ITEMS.to_string()]));
                let seller = self.stage.seller().await?;
                for id in self.stage.products(&seller, PRODUCTS).await? {
                    args.extend(["--product-id".to_owned(), id]);
                }
                own(ServiceName::Order, Some(Part::Postgres), args)
            }
            Row::OrderGet => {
                let buyer = self.orderer().await?;
                let mut args = vec!["--token".to_owned(), buyer.access_token.clone(), "get-order".to_owned()];
                for id in self.orders(&buyer).await? {
                    args.extend(["--order-id".to_owned(), id]);
                }
                own(ServiceName::Order, Some(Part::Postgres), args)
            }
            _ => own(ServiceName::User, None, text(&["empty"])),
        })
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
