//! How a child process is started: under which account, with which environment, and whether it dies with us.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use crate::account::{Account, run_as};

/// What becomes of a child when the process that started it dies without stopping it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// The kernel sends it its `last_signal` at once.
    WithParent,
    /// It goes on running, and can be found by its pid file.
    UntilStopped,
}

/// How to start a child.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Name in messages.
    pub name: String,
    /// Path of the program.
    pub program: PathBuf,
    /// Arguments.
    pub args: Vec<OsString>,
    /// Its environment, beside what every server gets: `PATH` and the language of messages.
    pub env: Vec<(String, String)>,
    /// Working folder.
    pub folder: PathBuf,
    /// Account to run under; ours when there is none.
    pub account: Option<Account>,
    /// What to do when the parent dies.
    pub lifetime: Lifetime,
    /// The signal that ends it when nobody can wait for it.
    pub last_signal: Signal,
    /// Standard output and error, appended.
    pub log: PathBuf,
    /// Where its identity is written.
    pub pid_file: PathBuf,
}

impl Launch {
    pub(crate) fn command(&self) -> Result<Command> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("opening {}", self.log.display()))?;
        let at_our_end = (self.lifetime == Lifetime::WithParent).then_some(self.last_signal);
        let mut command = run_as(self.account.as_ref(), at_our_end, &self.program)?;
        command.args(&self.args).current_dir(&self.folder);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        Ok(command)
    }
}

type Order = (Command, mpsc::Sender<io::Result<Child>>);

/// Starts a child on a thread that lives as long as this process. The kernel sends its "parent died" signal when the
/// *thread* that started the child ends, and the thread of a test ends with the test.
pub(crate) fn on_keeper_thread(command: Command) -> io::Result<Child> {
    static KEEPER: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    let keeper = KEEPER.get_or_init(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in inbox {
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let (answer, result) = mpsc::channel();
    keeper
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send((command, answer))
        .map_err(io::Error::other)?;
    result.recv().map_err(io::Error::other)?
}
