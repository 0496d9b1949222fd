//! Failures are seen where there are some: clients without a service config, and pods that are killed instead of told to end.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::clients::{ALL, Calling, Manner, failed, tell};
use super::patience::wait_for;
use super::plan::Plan;
use super::pods;
use super::shop::Shop;
use crate::out;

const SERVICE: &str = "order-service";
const BACK_WITHIN: Duration = Duration::from_secs(120);

pub(super) async fn run(shop: &Shop<'_>, plan: Plan) -> Result<()> {
    out::step("without a service config, while every pod of order-service is killed: calls have to fail");
    let variables = vec![("TRISTORE_NO_SERVICE_CONFIG", "yes".to_owned())];
    let manner = Manner { rate: plan.rate, variables, ..Manner::default() };
    let mut calling = Calling::start(shop, &ALL, &manner).await?;
    let killed: BTreeSet<String> =
        pods::of(shop.cluster, SERVICE).await?.into_iter().map(|pod| pod.name).collect();
    for pod in &killed {
        let kill = ["delete", "pod", pod, "--grace-period=0", "--force", "--wait=false"];
        shop.cluster.tell(&kill, "").await?;
    }
    wait_for(BACK_WITHIN, "new pods in their place", async || {
        let now = pods::of(shop.cluster, SERVICE).await?;
        let ready = now.iter().filter(|pod| pod.is_ready && !killed.contains(&pod.name)).count();
        ensure!(ready >= killed.len(), "{ready} of {} are ready", killed.len());
        Ok(())
    })
    .await?;
    calling.after(&format!("{} pods killed", killed.len())).await?;
    let all = calling.end().await?;
    tell(&all);
    for (client, answers) in &all {
        ensure!(
            failed(answers) > 0,
            "no call of the {} client has failed, so nothing would be seen",
            client.name()
        );
    }
    Ok(())
}
