//! Two replicas of one service. The one that comes to a point first is stopped there.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use testkit::client::{Api, Caller, Person};
use testkit::{FaultAct, LogMark, Service, ServiceName, wait_until};
use tests::System;

/// A generous limit: the test asserts that something happens, and prints how long it took.
pub(super) const SOON: Duration = Duration::from_secs(60);
/// The bounds of a takeover that `shared/events/README.md` states.
pub(super) const ON_POSTGRESQL: Duration = Duration::from_secs(5);
pub(super) const ON_MONGODB: Duration = Duration::from_secs(7);
/// How much longer it may take on a machine that builds and runs other tests meanwhile.
pub(super) const BUSY: Duration = Duration::from_secs(5);

/// Both replicas.
pub(super) struct Pair<'a> {
    system: &'a System,
    first: &'a Service,
    second: Service,
}

/// One of them is stopped; the other takes over.
pub(super) struct Stopped<'a> {
    system: &'a System,
    pub(super) paused: &'a Service,
    pub(super) successor: &'a Service,
    pub(super) since: Instant,
}

impl<'a> Pair<'a> {
    pub(super) async fn of(system: &'a System, name: ServiceName) -> Result<Self> {
        let services = &system.stack.services;
        Ok(Self { system, first: services.get(name), second: services.replica(name).await? })
    }

    fn both(&self) -> [&Service; 2] {
        [self.first, &self.second]
    }

    /// What all processes said last, for a failure.
    pub(super) fn tails(&self) -> String {
        let services = ServiceName::ALL.map(|name| self.system.stack.services.get(name));
        let tails = services.into_iter().chain([&self.second]);
        tails.map(|service| format!("{}:\n{}\n", service.url(), service.log().tail(60))).collect()
    }

    /// Fails if one has logged an ERROR. Being paused is no error.
    pub(super) fn no_errors_logged(&self) -> Result<()> {
        for service in self.both() {
            let lines = service.log().errors_since(LogMark::default());
            ensure!(lines.is_empty(), "{} logged errors:\n{}", service.url(), lines.join("\n"));
        }
        Ok(())
    }

    /// Stops the replica that comes to this point first, while `begin` leads it there. What becomes of `begin` is not
    /// said: it may have called the one that is stopped.
    pub(super) async fn stop_at<T>(
        &self,
        point: &str,
        part: &str,
        begin: impl Future<Output = T>,
    ) -> Result<Stopped<'_>> {
        for service in self.both() {
            service.arm(point, part, FaultAct::Stop)?;
        }
        let what = format!("{point} of {part}");
        let stopped = wait_until(SOON, &what, async || {
            let [first, second] = self.both();
            match (first.has_fired(), second.has_fired()) {
                (true, _) => Ok((first, second)),
                (_, true) => Ok((second, first)),
                _ => Err("no replica has come there"),
            }
        });
        let begun = async {
            drop(begin.await);
            std::future::pending().await
        };
        let (paused, successor) = tokio::select! {
            stopped = stopped => stopped?,
            never = begun => never,
        };
        successor.disarm().context("both were stopped")?;
        self.paused(paused, successor).await
    }

    /// Stops one of both wherever it is.
    pub(super) async fn stop_anywhere(&self, which: usize) -> Result<Stopped<'_>> {
        let [paused, successor] =
            if which == 0 { [self.first, &self.second] } else { [&self.second, self.first] };
        paused.process().pause()?;
        self.paused(paused, successor).await
    }

    async fn paused<'b>(&'b self, paused: &'b Service, successor: &'b Service) -> Result<Stopped<'b>> {
        wait_until(SOON, "the process to be stopped", async || {
            if paused.process().is_paused() { Ok(()) } else { Err("it runs") }
        })
        .await?;
        Ok(Stopped { system: self.system, paused, successor, since: Instant::now() })
    }
}

impl Stopped<'_> {
    /// Calls as somebody, at the replica that goes on.
    pub(super) fn caller(&self, person: &Person) -> Result<Caller> {
        let url = |name| {
            let known = self.system.stack.services.get(name);
            if name == self.successor.name() { self.successor.url() } else { known.url() }
        };
        let api = Api::new(&url(ServiceName::User), &url(ServiceName::Order), &url(ServiceName::Session))?;
        api.bearer(&person.access_token)
    }

    /// Waits until the successor has done it, and prints how long that took: no longer than the bound, and what a busy
    /// machine may add.
    pub(super) async fn taken_over<T, E: std::fmt::Display>(
        &self,
        what: &str,
        bound: Duration,
        check: impl AsyncFnMut() -> Result<T, E>,
    ) -> Result<T> {
        let done = wait_until(SOON, what, check).await?;
        let took = self.since.elapsed();
        eprintln!("takeover of {}: {what} after {} ms", self.paused.name(), took.as_millis());
        ensure!(self.paused.process().is_paused(), "the paused process goes on");
        if took > bound + BUSY {
            bail!("{what} took {took:?}, more than {bound:?} and {BUSY:?} for a busy machine");
        }
        Ok(done)
    }

    /// Lets the paused process go on, and waits until it says in one of these words, of this part, that it has lost
    /// its place.
    pub(super) async fn wake(&self, words: &[&str], part: &str) -> Result<()> {
        let mark = self.paused.log().mark();
        self.paused.process().resume()?;
        wait_until(SOON, &format!("the old owner to say one of {words:?} of {part}"), async || {
            let lines = self.paused.log().lines_since(mark);
            let tells = |line: &String| line.contains(part) && words.iter().any(|word| line.contains(word));
            if lines.iter().any(tells) { Ok(()) } else { Err(format!("it says:\n{}", lines.join("\n"))) }
        })
        .await
    }
}
