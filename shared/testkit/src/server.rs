//! What the database servers have in common: how they are started, awaited, stopped and started again.

use std::fmt::Debug;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use crate::launch::Launch;
use crate::process::Process;
use crate::wait::wait_until;

const START_WITHIN: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// A kind of database server.
pub trait Engine: Debug + Send + Sync + Sized {
    /// What runs commands on a server of this kind.
    type Admin: Debug + Send + Sync;
    /// The name in messages.
    const NAME: &str;
    /// The signal that asks a server to end in order.
    const STOP: Signal;

    /// The folder with its data, in the folder that it works in.
    fn data(&self) -> &'static str {
        "data"
    }

    /// Looks whether a started server runs, before it is asked; fails when it has ended.
    fn runs(server: &Server<Self>) -> Result<()> {
        let process = &server.process;
        ensure!(process.is_alive(), "it ended: {:?}", process.exit_status());
        Ok(())
    }

    /// Asks a server that runs whether it can be used; fails as long as it cannot.
    fn answers(server: &Server<Self>) -> impl Future<Output = Result<()>> + Send;
}

/// A running database server of our own.
#[derive(Debug)]
pub struct Server<E: Engine> {
    pub(crate) engine: E,
    pub(crate) process: Process,
    pub(crate) admin: E::Admin,
    pub(crate) port: u16,
}

impl<E: Engine> Server<E> {
    /// Starts a server and waits until it answers.
    pub(crate) async fn launch(engine: E, launch: Launch, admin: E::Admin, port: u16) -> Result<Self> {
        let server = Self { engine, process: Process::start(launch)?, admin, port };
        server.ready().await?;
        Ok(server)
    }

    /// Runs commands on it.
    #[must_use]
    pub fn admin(&self) -> &E::Admin {
        &self.admin
    }

    /// The port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process, to kill, pause and resume.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Starts it again after it was killed or stopped, and waits until it answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn restart(&self) -> Result<()> {
        self.process.start_again()?;
        self.ready().await
    }

    /// Stops it in order: open transactions are rolled back, everything else is on disk.
    ///
    /// # Errors
    /// When it had to be killed.
    pub async fn stop(&self) -> Result<()> {
        self.process.stop(E::STOP, STOP_WITHIN).await
    }

    /// The folder with its data.
    pub(crate) fn data(&self) -> PathBuf {
        self.process.launch().folder.join(self.engine.data())
    }

    async fn ready(&self) -> Result<()> {
        let what = format!("{} to answer", E::NAME);
        let answers = wait_until(START_WITHIN, &what, async || {
            E::runs(self)?;
            E::answers(self).await
        });
        answers.await.with_context(|| format!("its log ends:\n{}", self.process.log().tail(15)))
    }
}
