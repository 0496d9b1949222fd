//! Each service reads the settings that its container gets, with the secrets that `secrets.sh` makes.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use testkit::Profile;
use tests::build;
use tests::settings::effective;

use crate::file::{Compose, Made, SERVICES, list, text};

/// A setting, with the files of this machine in the place of the container's.
fn setting(service: &Value, made: &Made, value: &str) -> String {
    for volume in list(&service["volumes"]) {
        let (target, source) = (text(&volume["target"]), text(&volume["source"]));
        let within = value.strip_prefix("file:").and_then(|path| path.strip_prefix(target));
        if let (Some(file), Some(secret)) = (within, source.strip_prefix("./deploy/compose/secrets/")) {
            return format!("file:{}{file}", made.path(secret).display());
        }
    }
    value.to_owned()
}

/// Claim: each service accepts the settings that it is given, and takes them as they are meant.
#[tokio::test]
async fn services_read_their_settings() -> Result<()> {
    build(Profile::own()).await?;
    let (compose, made) = (Compose::read(), Made::new());
    for name in SERVICES {
        let service = compose.service(name);
        let environment = service["environment"].as_object().context("it has settings")?;
        let settings =
            environment.iter().map(|(key, value)| (key.clone(), setting(service, &made, text(value))));
        let config = effective(name, &["serve"], settings).await.with_context(|| name.to_owned())?;
        let telemetry = if config["telemetry"].is_object() { &config["telemetry"] } else { &config };
        ensure!(telemetry.to_string().contains("http://otel-collector:4317"), "{name}: {config}");
    }
    Ok(())
}
