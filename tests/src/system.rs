//! Four databases and three services as processes of their own, with an admin.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use testkit::client::{Api, PASSWORD, Person};
use testkit::{DatabaseOptions, LogMark, Profile, ServiceName, ServiceOptions, Stack, State, state};
use tokio::sync::OnceCell;

const ADMIN_EMAIL: &str = "admin@tristore.test";
const PACKAGES: [&str; 3] = ["user-service", "order-service", "session-service"];

/// A running system, as one test uses it.
#[derive(Debug)]
pub struct System {
    /// Its processes.
    pub stack: Arc<Stack>,
    /// Clients of it. They live in the test's own runtime.
    pub api: Api,
    /// The first admin, logged in.
    pub admin: Person,
}

impl System {
    /// The system that the tests of one binary share. Each test brings people of its own.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn shared() -> Result<Self> {
        static SHARED: OnceCell<Arc<Stack>> = OnceCell::const_new();
        let start = || Box::pin(start(DatabaseOptions::default(), ServiceOptions::default()));
        let stack = SHARED.get_or_try_init(start).await?;
        Self::of(Arc::clone(stack)).await
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
        Self::of(Box::pin(start(databases, services)).await?).await
    }

    async fn of(stack: Arc<Stack>) -> Result<Self> {
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

async fn start(databases: DatabaseOptions, services: ServiceOptions) -> Result<Arc<Stack>> {
    static BUILT: OnceCell<()> = OnceCell::const_new();
    BUILT.get_or_try_init(|| Profile::Debug.build(&PACKAGES)).await?;
    let state = Arc::new(State::for_run(&state::base()).await?);
    let stack = Stack::start(state, databases, &services).await?;
    stack.services.bootstrap_admin(ADMIN_EMAIL, "Admin", PASSWORD).await?;
    Ok(Arc::new(stack))
}
