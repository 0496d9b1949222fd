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

use crate::account::{Account, private_file, private_folder, run_as};
use crate::state::State;

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
    /// How a server of this name is started in a state folder: in a folder of its own, which nobody else may enter, under
    /// the first of these accounts that exists. Without arguments and environment; killed when nobody can wait for it.
    pub(crate) fn of_server(
        state: &State,
        name: &str,
        program: PathBuf,
        accounts: &[&str],
        lifetime: Lifetime,
    ) -> Result<Self> {
        let (account, folder) = (Account::for_server(accounts)?, state.path(name));
        private_folder(&folder, account.as_ref())?;
        Ok(Self {
            name: name.to_owned(),
            program,
            args: Vec::new(),
            env: Vec::new(),
            folder,
            account,
            lifetime,
            last_signal: Signal::SIGKILL,
            log: state.log(name),
            pid_file: state.pid_file(name),
        })
    }

    /// Writes a file of the server's into its folder, for nobody else to read.
    pub(crate) fn write(&self, file: &str, content: &str) -> Result<PathBuf> {
        let path = self.folder.join(file);
        private_file(&path, content, self.account.as_ref())?;
        Ok(path)
    }

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
