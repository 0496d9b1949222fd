//! A second process of a service beside the first, on the same database and with the same peers, as in a deployment.

use anyhow::{Context as _, Result};

use super::Service;
use crate::launch::Launch;
use crate::ports::Port;
use crate::services::ServiceName;
use crate::stack::Services;

impl Service {
    /// Starts another process of this service, with a port, a log and fault points of its own, and waits until it
    /// serves. The peers do not know it; call it at its [`Service::url`].
    ///
    /// # Errors
    /// When it does not start.
    pub async fn replica(&self) -> Result<Self> {
        let replica = self.replica_with(|_| {})?;
        replica.serving().await?;
        Ok(replica)
    }

    /// As [`Service::replica`], started in a way that the caller changes, and not waited for.
    ///
    /// # Errors
    /// When it does not start.
    pub fn replica_with(&self, change: impl FnOnce(&mut Launch)) -> Result<Self> {
        let (port, admin_port) = (Port::Free.choose()?, Port::Free.choose()?);
        let beside = |path: &std::path::Path| -> Result<std::path::PathBuf> {
            let name = path.file_name().context("a file")?.to_string_lossy();
            Ok(path.with_file_name(format!("{port}-{name}")))
        };
        let mut launch = self.launch.clone();
        let armed = beside(&self.armed)?;
        launch.log = beside(&launch.log)?;
        launch.pid_file = beside(&launch.pid_file)?;
        launch.name = format!("{}-{port}", self.name);
        for (name, value) in &mut launch.env {
            match name.as_str() {
                "LISTEN" => *value = format!("127.0.0.1:{port}"),
                fault::ARMED => *value = armed.display().to_string(),
                _ => {}
            }
        }
        launch.env.retain(|(name, _)| name != "ADMIN_LISTEN");
        launch.env.push(("ADMIN_LISTEN".to_owned(), format!("127.0.0.1:{admin_port}")));
        change(&mut launch);
        let mut replica = Self { name: self.name, port, admin_port, launch, armed, process: None };
        replica.start()?;
        Ok(replica)
    }
}

impl Services {
    /// As [`Service::replica`].
    ///
    /// # Errors
    /// When it does not start.
    pub async fn replica(&self, name: ServiceName) -> Result<Service> {
        self.get(name).replica().await
    }
}
