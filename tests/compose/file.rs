//! The file, and the secrets that belong to it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;
use testkit::state::workspace;
use uuid::Uuid;

/// The services of the system.
pub(crate) const SERVICES: [&str; 3] = ["user-service", "order-service", "session-service"];

/// `docker-compose.yml`.
pub(crate) struct Compose(Value);

impl Compose {
    pub(crate) fn read() -> Self {
        let text =
            std::fs::read_to_string(workspace().join("docker-compose.yml")).expect("the file is there");
        Self(serde_saphyr::from_str(&text).expect("it is YAML"))
    }

    /// Everything that runs, by its name.
    pub(crate) fn services(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0["services"].as_object().into_iter().flatten().map(|(name, service)| (name.as_str(), service))
    }

    pub(crate) fn service(&self, name: &str) -> &Value {
        &self.0["services"][name]
    }
}

/// Secrets that `secrets.sh` has made in a folder of their own.
pub(crate) struct Made(PathBuf);

impl Made {
    pub(crate) fn new() -> Self {
        let made = Self(std::env::temp_dir().join(format!("tristore-compose-{}", Uuid::new_v4())));
        let mut command = testkit::tool("sh");
        command.arg(workspace().join("deploy/secrets.sh")).arg("compose").arg(&made.0);
        let output = command.output().expect("a shell runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        made
    }

    pub(crate) fn path(&self, secret: &str) -> PathBuf {
        self.0.join(secret)
    }

    pub(crate) fn folders(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.path("")).expect("the folder is there");
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // Made-up secrets that stay behind harm nobody.
        let _stays = std::fs::remove_dir_all(&self.0);
    }
}

/// A text; empty where there is none.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A list; empty where there is none.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
