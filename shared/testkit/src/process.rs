//! A child process that can be killed, paused and started again, and that never outlives its run unnoticed.
//!
//! Each child leads a process group of its own, so that Ctrl-C in the terminal reaches only us. It writes to a log file
//! and is recorded in a pid file. A child of a test run also dies with the run, however that ends.

use std::io;
use std::process::{Child, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::launch::{Launch, on_keeper_thread};
use crate::logs::Log;
use crate::pid_file::{self, Identity};
use crate::wait::wait_until;

const KILL_WITHIN: Duration = Duration::from_secs(20);
/// How often, and at most how many times, it is looked whether a process stands still.
const PAUSE_LOOK_EVERY: Duration = Duration::from_millis(1);
const PAUSE_LOOKS: usize = 2_000;

/// A child process that was started at least once.
#[derive(Debug)]
pub struct Process {
    launch: Mutex<Launch>,
    child: Mutex<Option<Child>>,
    log: Log,
    name: String,
}

impl Process {
    /// Starts it.
    ///
    /// # Errors
    /// When the program cannot be run or its files cannot be written.
    pub fn start(launch: Launch) -> Result<Self> {
        let (log, name) = (Log::new(&launch.log), launch.name.clone());
        let process = Self { launch: Mutex::new(launch), child: Mutex::new(None), log, name };
        process.start_again()?;
        Ok(process)
    }

    /// Starts it once more after it ended. A process that still runs is left alone.
    ///
    /// # Errors
    /// As for [`Process::start`].
    pub fn start_again(&self) -> Result<()> {
        if self.is_alive() {
            return Ok(());
        }
        let launch = self.launch();
        let mut child =
            on_keeper_thread(launch.command()?).with_context(|| format!("starting {}", self.name))?;
        match Identity::of(&self.name, child.id()).and_then(|id| pid_file::write(&launch.pid_file, &id)) {
            Ok(()) => *hold(&self.child) = Some(child),
            // Without a pid file nobody could find this child again.
            Err(error) => {
                let _ = child.kill().and_then(|()| child.wait());
                return Err(error.context(format!("writing the pid file of {}", self.name)));
            }
        }
        Ok(())
    }

    /// Changes how the next start is done.
    pub fn relaunch_with(&self, change: impl FnOnce(&mut Launch)) {
        change(&mut hold(&self.launch));
    }

    /// How it is started next.
    pub(crate) fn launch(&self) -> Launch {
        hold(&self.launch).clone()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Its process number, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.is_alive().then(|| hold(&self.child).as_ref().map(Child::id))?
    }

    /// Whether it runs; a paused process does.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        hold(&self.child).as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Whether it is stopped by SIGSTOP: it does nothing until it is resumed.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        let stat = self.pid().and_then(|pid| pid_file::stat(pid.cast_signed()).ok());
        stat.is_some_and(|stat| stat.state == 'T')
    }

    /// How it ended, once it has.
    #[must_use]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        hold(&self.child).as_mut().and_then(|child| child.try_wait().ok().flatten())
    }

    /// Sends a signal to the process and its group. Does nothing when it has ended.
    ///
    /// # Errors
    /// When the system refuses it.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let Some(pid) = self.pid() else { return Ok(()) };
        let group = Pid::from_raw(i32::try_from(pid).context("a process number")?);
        killpg(group, signal).with_context(|| format!("sending {signal} to {}", self.name))
    }

    /// Kills it with SIGKILL and waits until it is gone.
    ///
    /// # Errors
    /// When it is still there after 20 seconds.
    pub async fn kill(&self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        self.ended(KILL_WITHIN).await.map(drop)
    }

    /// Stops the process and all its descendants with SIGSTOP, like a machine that hangs.
    ///
    /// # Errors
    /// When it does not run, or still does something two seconds later.
    pub fn pause(&self) -> Result<()> {
        let stopped = self.signal_tree(Signal::SIGSTOP)?;
        // Each thread stops when it next comes by the signal, which on a busy machine is after this.
        for _ in 0..PAUSE_LOOKS {
            if stopped.iter().all(|pid| pid_file::is_stopped(*pid)) {
                return Ok(());
            }
            std::thread::sleep(PAUSE_LOOK_EVERY);
        }
        bail!("{} was sent SIGSTOP and goes on", self.name)
    }

    /// Lets a paused process go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&self) -> Result<()> {
        self.signal_tree(Signal::SIGCONT).map(drop)
    }

    /// Sends it SIGTERM, without waiting.
    ///
    /// # Errors
    /// When the system refuses the signal.
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::SIGTERM)
    }

    /// Asks it to end with `signal`, and kills it when it has not ended in time.
    ///
    /// # Errors
    /// When it had to be killed.
    pub async fn stop(&self, signal: Signal, within: Duration) -> Result<()> {
        if self.is_alive() {
            self.signal(signal)?;
            // A paused process must wake up to end. This fails, and does not matter, when it has ended already.
            let _ = self.resume();
            if self.ended(within).await.is_err() {
                self.kill().await?;
                bail!("{} did not end within {within:?} of {signal} and was killed", self.name);
            }
        }
        self.forget()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it still runs after `within`.
    pub async fn ended(&self, within: Duration) -> Result<Option<ExitStatus>> {
        let what = format!("the end of {}", self.name);
        wait_until(
            within,
            &what,
            async || {
                if self.is_alive() { Err("it runs") } else { Ok(self.exit_status()) }
            },
        )
        .await
    }

    /// Sends a signal to the process and all its descendants, and tells which these are.
    fn signal_tree(&self, signal: Signal) -> Result<Vec<i32>> {
        let pid = self.pid().with_context(|| format!("{} does not run", self.name))?;
        let tree = pid_file::tree(i32::try_from(pid).context("a process number")?);
        for pid in &tree {
            // A child may end before it gets the signal.
            let _ = kill(Pid::from_raw(*pid), signal);
        }
        Ok(tree)
    }

    fn forget(&self) -> Result<()> {
        match std::fs::remove_file(&hold(&self.launch).pid_file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).context("removing a pid file")
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Process {
    /// Ends the process after a failed start or in a test that panics, with the signal that ends it soonest.
    fn drop(&mut self) {
        let last = hold(&self.launch).last_signal;
        let _ = self.signal(last);
        let _ = self.resume();
        if let Some(mut child) = hold(&self.child).take() {
            for _ in 0..200 {
                if !matches!(child.try_wait(), Ok(None)) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = child.kill().and_then(|()| child.wait());
        }
        let _ = self.forget();
    }
}

/// Locks. A test that panicked while it held the lock has not broken the value.
fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
