//! Whether what was acknowledged is on disk, and how long that takes.

use std::time::Duration;

use anyhow::Result;
use runtime::doctor::{Seen, Times};

use super::place::Place;

const WRITES: usize = 100;
/// A login waits for some writes, and the shortest limit of one that anybody would set is several times this.
const P99_MAX: Duration = Duration::from_millis(20);

pub(super) async fn written(place: &Place) -> Result<Seen> {
    let info = place.store.info("persistence").await?;
    let status = |name: &str| info.get::<String>(name).unwrap_or_else(|| "unknown".to_owned());
    let (write, rewrite) = (status("aof_last_write_status"), status("aof_last_bgrewrite_status"));
    let found = format!("last write {write}, last rewrite {rewrite}");
    Ok(if write == "ok" && rewrite == "ok" {
        Seen::ok(found)
    } else {
        Seen::failed(found, "see what its log says, give its `dir` room and rights, then:\nBGREWRITEAOF")
    })
}

pub(super) async fn latency(place: &Place) -> Result<Seen> {
    let scratch = format!("{{s{}}}:latency", place.scratch);
    let times = Times::of(place.store.write_times(&scratch, WRITES).await?)?;
    let found = times.to_string();
    Ok(if times.p99() <= P99_MAX {
        Seen::ok(found)
    } else {
        Seen::advice(
            found,
            "put Redis nearer, and its append-only file on a disk that syncs in a few milliseconds",
        )
    })
}
