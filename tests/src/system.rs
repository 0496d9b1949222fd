//! Four databases and three services as processes of their own, with an admin.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::client::{Api, PASSWORD, Person};
use testkit::{
    DatabaseOptions, LogMark, PROGRAMS, Profile, ServiceName, ServiceOptions, Stack, State, state, wait_until,
};
use tokio::process::Command;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tonic::{Code, Status};

const ADMIN_EMAIL: &str = "admin@tristore.test";

/// How many systems one test process runs at once: each is eight processes, whatever number of threads the test
/// runner takes.
const SYSTEMS_MAX: usize = 2;
const FIRST_LOGIN_WITHIN: Duration = Duration::from_secs(30);

/// A running system, as one test uses it.
#[derive(Debug)]
pub struct System {
    /// Its processes.
    pub stack: Arc<Stack>,
    /// Clients of it. They live in the test's own runtime.
    pub api: Api,
    /// The first admin, logged in.
    pub admin: Person,
    /// The place among [`SYSTEMS_MAX`]; the shared system needs none.
    _place: Option<OwnedSemaphorePermit>,
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
        Self::of(Arc::clone(stack), None).await
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
        static PLACES: OnceCell<Arc<Semaphore>> = OnceCell::const_new();
        let places = PLACES.get_or_init(async || Arc::new(Semaphore::new(SYSTEMS_MAX))).await;
        let place = Arc::clone(places).acquire_owned().await?;
        Self::of(Box::pin(start(databases, services)).await?, Some(place)).await
    }

    /// The one with a proxy on every edge, healed. One test at a time has it; each brings people of its own.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn with_edges() -> Result<Self> {
        static SHARED: OnceCell<Arc<Stack>> = OnceCell::const_new();
        static PLACE: OnceCell<Arc<Semaphore>> = OnceCell::const_new();
        let place = PLACE.get_or_init(async || Arc::new(Semaphore::new(1))).await;
        let place = Arc::clone(place).acquire_owned().await?;
        // An answer that never comes is waited for as long as a statement may take, and a second.
        let quick = [("POSTGRES_STATEMENT_TIMEOUT", "2s"), ("POSTGRES_LOCK_TIMEOUT", "1s")];
        let env = quick.map(|(name, value)| (ServiceName::Order, name.to_owned(), value.to_owned())).to_vec();
        let services = ServiceOptions { edges: true, env, ..ServiceOptions::default() };
        let start = || Box::pin(start(DatabaseOptions::default(), services));
        let stack = SHARED.get_or_try_init(start).await?;
        stack.edges().heal();
        Self::of(Arc::clone(stack), Some(place)).await
    }

    async fn of(stack: Arc<Stack>, place: Option<OwnedSemaphorePermit>) -> Result<Self> {
        let api = Api::of(&stack.services)?;
        let admin = first_login(&api).await.context("logging the admin in")?;
        Ok(Self { stack, api, admin, _place: place })
    }

    /// What `tristore` prints with these arguments and this token, and its exit code.
    ///
    /// # Errors
    /// When it cannot be run.
    pub async fn tristore(&self, token: &str, arguments: &[&str]) -> Result<(i32, String)> {
        let url = |name| self.stack.services.get(name).url();
        let output = Command::from(testkit::tool(Profile::Debug.binary("tristore")?))
            .args(arguments)
            .env("TRISTORE_TOKEN", token)
            .env("USER_URL", url(ServiceName::User))
            .env("ORDER_URL", url(ServiceName::Order))
            .env("SESSION_URL", url(ServiceName::Session))
            .kill_on_drop(true)
            .output()
            .await?;
        let printed = [output.stdout, output.stderr].concat();
        Ok((output.status.code().context("an exit code")?, String::from_utf8_lossy(&printed).into_owned()))
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

/// As proto/README.md tells callers to: what came to no end is tried again. On a busy machine a service's first
/// connection to its peer may take longer than a call.
async fn first_login(api: &Api) -> Result<Person> {
    let answer = wait_until(FIRST_LOGIN_WITHIN, "the first login", async || {
        match api.log_in(ADMIN_EMAIL, PASSWORD).await {
            Err(error) => match error.downcast_ref::<Status>().map(Status::code) {
                Some(Code::Unavailable | Code::DeadlineExceeded) => Err(format!("{error:#}")),
                _ => Ok(Err(error)),
            },
            Ok(admin) => Ok(Ok(admin)),
        }
    });
    answer.await?
}

/// Builds the programs, once in a process for each profile.
///
/// # Errors
/// When they do not compile.
pub async fn build(profile: Profile) -> Result<()> {
    static BUILT: [OnceCell<()>; 3] = [const { OnceCell::const_new() }; 3];
    let built = match profile {
        Profile::Debug => &BUILT[0],
        Profile::Release => &BUILT[1],
        Profile::Faults => &BUILT[2],
    };
    built.get_or_try_init(|| profile.build(&PROGRAMS)).await.map(drop)
}

async fn start(databases: DatabaseOptions, services: ServiceOptions) -> Result<Arc<Stack>> {
    build(services.profile).await?;
    let state = Arc::new(State::for_run(&state::base()).await?);
    let stack = Stack::start(state, databases, &services).await?;
    stack.services.bootstrap_admin(ADMIN_EMAIL, "Admin", PASSWORD).await?;
    Ok(Arc::new(stack))
}
