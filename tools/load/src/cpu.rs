//! The CPU time and memory that a process and its children have used, from `/proc`. Children count because PostgreSQL
//! runs a process for each session.
//!
//! The kernel reports CPU time in two files. `stat` counts hundredths of a second, which is too coarse for one second
//! of a service with little to do. `schedstat` counts nanoseconds, but loses the count of a thread that ends. The
//! larger of the two is exact to the nanosecond as long as no thread ends, and to two hundredths of a second in any
//! case.

use std::time::Duration;

use procfs::process::{Process, Stat, all_processes};
use procfs::{ProcError, ProcResult, ticks_per_second};

/// What a process and its children have used since they began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time.
    pub cpu: Duration,
    /// Memory of the process itself, without its children, since PostgreSQL's share most of theirs.
    pub resident_kib: u64,
}

/// What a process has used so far.
///
/// # Errors
/// When it is not there.
pub fn usage(pid: u32) -> ProcResult<Usage> {
    let process = Process::new(pid.cast_signed())?;
    let mut cpu = cpu_time(&process, &process.stat()?);
    for child in all_processes()?.flatten() {
        // A child that ends meanwhile was counted by its parent, or will be.
        if let Ok(stat) = child.stat()
            && stat.ppid == process.pid
        {
            cpu += cpu_time(&child, &stat);
        }
    }
    let resident = process.status()?.vmrss;
    let resident_kib = resident.ok_or_else(|| ProcError::Other(format!("process {pid} has no memory")))?;
    Ok(Usage { cpu, resident_kib })
}

/// CPU time of all its threads, and of its children that have ended.
fn cpu_time(process: &Process, stat: &Stat) -> Duration {
    let of_ticks = |ticks: u64| Duration::from_millis(ticks * 1000 / ticks_per_second());
    let threads = process.tasks().into_iter().flatten().flatten();
    let nanos = threads.filter_map(|thread| Some(thread.schedstat().ok()?.sum_exec_runtime));
    let of_threads = Duration::from_nanos(nanos.sum()).max(of_ticks(stat.utime + stat.stime));
    of_threads + of_ticks((stat.cutime + stat.cstime).cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_and_ended_children_are_counted() {
        let me = std::process::id();
        let before = usage(me).unwrap();
        assert!(before.resident_kib > 0);
        let mut child = testkit::tool("sh")
            .args(["-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"])
            .spawn()
            .unwrap();
        child.wait().unwrap();
        let after = usage(me).unwrap();
        assert!(after.cpu >= before.cpu + Duration::from_millis(10), "{before:?} {after:?}");
    }
}
