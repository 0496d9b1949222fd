//! The main job of the system, done through its gRPC APIs only: people sign up, money is granted, an order is
//! placed, paid across two databases and partly refunded, a post and an order change owner, a session ends.
//!
//! Every step checks what it claims. A broken promise is an error, and the command exits with 1.

mod books;
mod money;
mod ownership;
mod pace;
mod people;
mod script;

use anyhow::Result;
use testkit::client::Api;

pub(crate) use pace::{Pace, measure};
use people::Cast;
use script::Script;

/// Plays the demo against running services; `admin` is the address and the password of an admin.
pub(crate) async fn run(api: &Api, admin: (&str, &str)) -> Result<()> {
    let mut script = Script::new();
    let cast = Cast::enter(&mut script, api, admin).await?;
    money::granted(&mut script, &cast).await?;
    let order = money::ordered(&mut script, &cast).await?;
    money::paid(&mut script, &cast, &order).await?;
    money::refunded(&mut script, &cast, &order).await?;
    ownership::post(&mut script, &cast).await?;
    ownership::order(&mut script, &cast).await?;
    people::session_revoked(&mut script, &cast).await?;
    books::balance(&mut script, &cast).await
}
