//! Four databases and three services as processes of their own, with an admin.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use testkit::client::{Api, PASSWORD, Person};
use testkit::{DatabaseOptions, LogMark, Profile, ServiceName, ServiceOptions, Stack, State, state};
use tokio::sync::OnceCell;

const ADMIN_EMAIL: &str = "admin@tristore.test";
const PACKAGES: [&str; 3] = ["user-service", "order-service", "session-service"];

/// A running system.
#[derive(Debug)]
pub struct System {
    /// Its processes.
    pub stack: Stack,
    /// Clients of it.
    pub api: Api,
    /// The first admin, logged in.
    pub admin: Person,
}

impl System {
    /// The system that the tests of one binary share. Each test brings people of its own.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<System> = OnceCell::const_new();
        SHARED.get_or_try_init(|| Self::start(DatabaseOptions::default())).await
    }

    /// A system of its own, for a test that breaks it.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(databases: DatabaseOptions) -> Result<Self> {
        Self::start_with(databases, ServiceOptions::default()).await
    }

    /// A system of its own with services started in another way.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_with(databases: DatabaseOptions, services: ServiceOptions) -> Result<Self> {
        static BUILT: OnceCell<()> = OnceCell::const_new();
        BUILT.get_or_try_init(|| Profile::Debug.build(&PACKAGES)).await?;
        let state = Arc::new(State::for_run(&state::base()).await?);
        let stack = Stack::start(state, databases, &services).await?;
        stack.services.bootstrap_admin(ADMIN_EMAIL, "Admin", PASSWORD).await?;
        let api = Api::of(&stack.services)?;
        let admin = api.log_in(ADMIN_EMAIL, PASSWORD).await.context("logging the admin in")?;
        Ok(Self { stack, api, admin })
    }

    /// Fails if a service has logged an ERROR: logs are evidence.
    ///
    /// # Errors
    /// With the lines.
    pub fn no_errors_logged(&self) -> Result<()> {
        for name in ServiceName::ALL {
            let lines = self.stack.services.get(name).log().errors_since(LogMark::default());
            ensure!(lines.is_empty(), "{name} logged errors:\n{}", lines.join("\n"));
        }
        Ok(())
    }
}
