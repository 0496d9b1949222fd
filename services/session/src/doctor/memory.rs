//! How much room there is for sessions.

use anyhow::Result;
use runtime::doctor::Seen;

use super::place::Place;

const PERCENT_MAX: u64 = 80;
const MIB: u64 = 1 << 20;

pub(super) async fn used(place: &Place) -> Result<Seen> {
    let info = place.store.info("memory").await?;
    let used: u64 = info.get("used_memory").unwrap_or_default();
    let limit: u64 = info.get("maxmemory").unwrap_or_default();
    if limit == 0 {
        return Ok(Seen::ok(format!("{} MiB, without a limit", used / MIB)));
    }
    let percent = used.saturating_mul(100) / limit;
    let found = format!("{percent} %: {} of {} MiB", used / MIB, limit / MIB);
    let mend = "give Redis more memory: CONFIG SET maxmemory <bytes>";
    Ok(if percent <= PERCENT_MAX {
        Seen::ok(found)
    } else if percent < 100 {
        Seen::advice(found, mend)
    } else {
        Seen::failed(format!("{found}; logins are refused"), mend)
    })
}
