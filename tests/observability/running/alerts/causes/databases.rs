//! Databases that are slow or away.

use std::cell::Cell;

use anyhow::{Context as _, Result, ensure};
use api::order::v1::GetProductRequest;
use futures_util::future::join_all;
use sqlx::{Connection as _, PgConnection};

use super::super::stage::{Stage, Wanted};

/// More calls than order service has connections.
const AT_ONCE: usize = 40;

pub(super) async fn locked(stage: &Stage) -> Result<()> {
    const JOB: (&str, &str) = ("job", "order-service");
    const WANTED: &[Wanted] = &[
        ("PoolTimeouts", &[JOB]),
        ("SlowCalls", &[JOB, ("rpc_method", "order.v1.CatalogService/GetProduct")]),
    ];
    stage.are_over(&WANTED[..1]).await?;
    let mut somebody = PgConnection::connect(&stage.postgres_url().await?).await?;
    let mut transaction = somebody.begin().await?;
    sqlx::query("LOCK TABLE products IN ACCESS EXCLUSIVE MODE").execute(&mut *transaction).await?;
    let is_over = Cell::new(false);
    let load = async {
        let mut failed = 0;
        while !is_over.get() {
            let calls = (0..AT_ONCE).map(|_| async {
                let request = GetProductRequest { product_id: stage.market.product_id.clone() };
                stage.market.buyer.caller.catalog().get_product(request).await
            });
            failed += join_all(calls).await.iter().filter(|answer| answer.is_err()).count();
        }
        failed
    };
    let provoked = async {
        let provoked = stage.fire(WANTED).await;
        is_over.set(true);
        provoked
    };
    let (failed, provoked) = tokio::join!(load, provoked);
    transaction.rollback().await.context("unlocking")?;
    provoked?;
    ensure!(failed > 0, "every call was answered");
    stage.are_over(WANTED).await
}

pub(super) async fn postgres_down(stage: &Stage) -> Result<()> {
    const JOB: (&str, &str) = ("job", "order-service");
    const WANTED: &[Wanted] = &[
        ("DependencyDown", &[JOB, ("dependency", "postgresql")]),
        ("ProcessNotServing", &[JOB]),
        ("DatabaseUnseen", &[("job", "postgresql")]),
        ("NoAudit", &[JOB]),
    ];
    stage.are_over(WANTED).await?;
    let postgres = &stage.watched.system.stack.databases.postgres;
    postgres.process().kill().await?;
    let provoked = stage.fire(WANTED).await;
    postgres.restart().await?;
    provoked?;
    stage.are_over(WANTED).await
}
