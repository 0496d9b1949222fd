//! The main work of the system, done through its gRPC APIs only. People sign up, credit is granted, an order is placed,
//! paid across two databases and partly refunded, a post and an order change their owner, and a session ends.
//!
//! Every step checks what it claims. When a check fails, the command exits with 1.

mod books;
mod money;
mod ownership;
mod pace;
mod people;
mod script;

use std::process::ExitCode;

use anyhow::Result;
use api::conservation::Books;
use testkit::client::Api;

use crate::local::{Local, LocalArgs, Ports, stoppable};
use crate::out;
use pace::Pace;
use people::Cast;
use script::Script;

/// Does the main work through the APIs, checks every step, prints both ledgers, and stops everything.
///
/// With --without-event-redis it first pays some orders on a system that has that Redis, to show how much slower
/// payments are without it.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    local: LocalArgs,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let with = if args.local.without_event_redis {
        let local = args.local.with_event_redis();
        out::step("for comparison: payments with the Redis for events");
        Some(on(&local, async |api, local| pace::measure(&api, admin(local)).await).await?)
    } else {
        None
    };
    let without = on(&args.local, async |api, local| {
        let (mut script, balanced) = played(&api, admin(local)).await?;
        books::agree(&mut script, &local.stack, &balanced).await?;
        match with {
            Some(_) => Ok(Some(pace::measure(&api, admin(local)).await?)),
            None => Ok(None),
        }
    })
    .await?;
    if let (Some(with), Some(without)) = (with, without) {
        compare(&with, &without);
    }
    out::line("\nEvery promise was kept.");
    Ok(ExitCode::SUCCESS)
}

/// Does something with a started system, and stops the system even when that fails.
async fn on<T>(args: &LocalArgs, what: impl AsyncFnOnce(Api, &Local) -> Result<T>) -> Result<T> {
    // Dropping an unfinished start ends everything that it has started.
    let local = stoppable(Box::pin(Local::start(args, "demo", Ports::Free))).await?;
    let [user, order, session] = [&local.endpoints.user, &local.endpoints.order, &local.endpoints.session]
        .map(|address| format!("http://{address}"));
    let result = match Api::new(&user, &order, &session) {
        Ok(api) => stoppable(Box::pin(what(api, &local))).await,
        Err(error) => Err(error),
    };
    let stopped = local.stop().await;
    let result = result?;
    stopped?;
    Ok(result)
}

fn admin(local: &Local) -> (&str, &str) {
    (&local.endpoints.admin_email, &local.endpoints.admin_password)
}

fn compare(with: &Pace, without: &Pace) {
    let ms = |time: std::time::Duration| time.as_secs_f64() * 1000.0;
    out::line("\nPayments, one after the other:        median     slowest");
    for (name, pace) in [("with the Redis for events", with), ("without it", without)] {
        let (median, slowest) = (ms(pace.median()), ms(pace.slowest()));
        out::line(format_args!("  {name:<30} {median:>9.1} ms {slowest:>8.1} ms"));
    }
    let factor = ms(without.median()) / ms(with.median());
    out::line(format_args!("  without it a payment takes {factor:.2} times as long"));
}

/// Plays the demo against a running system.
pub(crate) async fn play(api: &Api, admin: (&str, &str)) -> Result<()> {
    Box::pin(played(api, admin)).await.map(drop)
}

/// The books as the services tell them at the end.
async fn played(api: &Api, admin: (&str, &str)) -> Result<(Script, Books)> {
    let mut script = Script::new();
    let cast = Cast::enter(&mut script, api, admin).await?;
    money::granted(&mut script, &cast).await?;
    let order = money::ordered(&mut script, &cast).await?;
    money::paid(&mut script, &cast, &order).await?;
    money::refunded(&mut script, &cast, &order).await?;
    ownership::post(&mut script, &cast).await?;
    ownership::order(&mut script, &cast).await?;
    people::session_revoked(&mut script, &cast).await?;
    let balanced = books::balance(&mut script, &cast).await?;
    Ok((script, balanced))
}
