//! `tristore streams`.

use anyhow::{Context, Result};
use api::event::v1::HeadRequest;

use crate::client::{Client, Service};
use crate::output::Output;

pub(crate) async fn run(client: &Client, output: &Output) -> Result<()> {
    let mut rows = Vec::new();
    for service in Service::ALL {
        for stream in service.streams() {
            let request = HeadRequest { stream: stream.clone() };
            let answer = client.events(service).head(request).await;
            let answer =
                answer.with_context(|| format!("{} on stream {stream}", service.name()))?.into_inner();
            if output.is_json() {
                output.json(service.name(), &answer)?;
                continue;
            }
            let head = answer.head.context("the answer has no head")?;
            let cells = [head.position.to_string(), head.oldest_position.to_string(), head.epoch];
            rows.push([vec![service.name().to_owned(), stream], cells.to_vec()].concat());
        }
    }
    if !output.is_json() {
        output.table(&["source", "stream", "head", "oldest", "epoch"], &rows);
    }
    Ok(())
}
