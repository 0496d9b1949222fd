//! What a failover may lose.

use anyhow::Result;
use runtime::doctor::Seen;

use super::place::{Place, set};

pub(super) async fn acknowledge(place: &Place) -> Result<Seen> {
    let replicas: usize = place.store.info("replication").await?.get("connected_slaves").unwrap_or_default();
    let needed = place.setting("min-replicas-to-write").await?.unwrap_or_else(|| "unknown".to_owned());
    let found = format!("{replicas} replicas; `min-replicas-to-write` is {needed}");
    Ok(if replicas > 0 && needed == "0" {
        Seen::advice(
            found,
            format!(
                "a master that is cut off accepts logins that are lost:\n{}",
                set("min-replicas-to-write", "1")
            ),
        )
    } else {
        Seen::ok(found)
    })
}
