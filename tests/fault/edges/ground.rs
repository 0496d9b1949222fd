//! How each of these tests begins and ends: with people whose calls go through proxies, callers that repeat a call whose
//! outcome is unknown, and the state that must be left after every fault.

use std::time::Duration;

use anyhow::{Result, ensure};
use api::event::v1::ListParkedRequest;
use testkit::client::{Api, Caller, Person};
use testkit::proxy::{Bites, Edge, Proxy};
use testkit::{LogMark, ServiceName, wait_until};
use tests::System;
use tests::people::Market;
use tests::status::has_common_details;
use tests::streams::caught_up;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

/// How long anything may take on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(40);

/// All edges of the system.
pub(crate) const EDGES: [Edge; 14] = {
    use ServiceName::{Order, Session, User};
    [
        Edge::Database(User),
        Edge::Database(Order),
        Edge::Database(Session),
        Edge::Events(User),
        Edge::Events(Order),
        Edge::Events(Session),
        Edge::Peer { from: User, to: Order },
        Edge::Peer { from: User, to: Session },
        Edge::Peer { from: Order, to: User },
        Edge::Peer { from: Order, to: Session },
        Edge::Peer { from: Session, to: User },
        Edge::Client(User),
        Edge::Client(Order),
        Edge::Client(Session),
    ]
};

/// Which service has which durable consumers.
const CONSUMERS: [(ServiceName, &[&str]); 3] = [
    (ServiceName::User, &["user.transfers", "user.statistics", "user.counters"]),
    (ServiceName::Order, &["order.transfers", "order.customers"]),
    (ServiceName::Session, &["session.revocations"]),
];

/// A system with proxies on all edges, and where its logs stood.
pub(crate) struct Ground {
    pub(crate) system: System,
    /// Calls through the clients' edges.
    pub(crate) api: Api,
    logs: [LogMark; 3],
}

impl Ground {
    pub(crate) async fn take() -> Result<Self> {
        Self::on(System::with_edges().await?)
    }

    pub(crate) fn on(system: System) -> Result<Self> {
        let services = &system.stack.services;
        let logs = ServiceName::ALL.map(|name| services.get(name).log().mark());
        Ok(Self { api: system.stack.edges().api()?, system, logs })
    }

    pub(crate) fn edge(&self, edge: Edge) -> &Proxy {
        self.system.stack.edge(edge)
    }

    /// Somebody's calls, through the clients' edges.
    pub(crate) fn caller(&self, person: &Person) -> Result<Caller> {
        self.api.bearer(&person.access_token)
    }

    pub(crate) async fn market(&self, credit: i64, stock: i64) -> Result<Market> {
        Market::open(&self.system, credit, stock).await
    }

    /// What every fault must leave once it is over: every transfer ended and both books balanced, each consumer at
    /// the head of its stream with nothing parked, and no ERROR in the logs.
    pub(crate) async fn settled(&self) -> Result<()> {
        self.system.stack.edges().heal();
        self.system.stack.edges().understood()?;
        self.system.books_balance().await?;
        for (service, consumers) in CONSUMERS {
            let admin = self.system.admin.caller.event_admin(service);
            for &consumer in consumers {
                caught_up(&self.system.admin.caller, consumer).await?;
                let request =
                    ListParkedRequest { consumer: consumer.to_owned(), ..ListParkedRequest::default() };
                let parked =
                    answered(async || admin.clone().list_parked(request.clone()).await).await?.events;
                ensure!(parked.is_empty(), "{consumer} has parked {parked:?}");
            }
        }
        for (name, mark) in ServiceName::ALL.into_iter().zip(self.logs) {
            let lines = self.system.stack.services.get(name).log().errors_since(mark);
            ensure!(lines.is_empty(), "{name} logged errors:\n{}", lines.join("\n"));
        }
        Ok(())
    }
}

/// What proto/README.md says of an error whose call may have taken effect, and nothing else. What services answer
/// themselves has all details and tells when to repeat; what no service answered has none.
pub(crate) fn is_unknown(status: &Status) -> Result<()> {
    if !has_common_details(status) {
        ensure!(
            status.get_error_details().error_info().is_none(),
            "an answer with half of its details: {status:?}"
        );
        // What tonic makes of a connection that went away, or of its own deadline.
        let codes =
            [Code::Unavailable, Code::Unknown, Code::Cancelled, Code::DeadlineExceeded, Code::Internal];
        ensure!(codes.contains(&status.code()), "not what a lost connection comes to: {status:?}");
        return Ok(());
    }
    match status.code() {
        Code::Unavailable => {
            let hint = status.get_error_details().retry_info().and_then(|info| info.retry_delay);
            ensure!(hint.is_some(), "UNAVAILABLE without a hint when to repeat: {status:?}");
        }
        Code::DeadlineExceeded => {}
        _ => anyhow::bail!("not an answer to an unknown outcome: {status:?}"),
    }
    Ok(())
}

/// Repeats a call while its outcome is unknown, as clients are told to. Any other error ends it.
pub(crate) async fn answered<T>(call: impl AsyncFn() -> Result<Response<T>, Status>) -> Result<T> {
    let answer = wait_until(SOON, "an answer", async || match call().await {
        Ok(answer) => Ok(Ok(answer.into_inner())),
        Err(status) => match is_unknown(&status) {
            Ok(()) => Err(format!("{status:?}")),
            Err(other) => Ok(Err(other)),
        },
    });
    answer.await?
}

/// Waits until a fault has had its effect.
pub(crate) async fn bitten(bites: &Bites) -> Result<()> {
    wait_until(SOON, "the fault to bite", async || if bites.count() > 0 { Ok(()) } else { Err("it has not") })
        .await
}
