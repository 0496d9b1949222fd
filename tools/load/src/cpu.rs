//! What a process has used, from `/proc`: CPU time and memory, of it and its children. PostgreSQL is a process for
//! each session, and their sum is what counts.
//!
//! The kernel tells CPU time twice. `stat` counts in hundredths of a second, too coarse for a second of a calm
//! service; `schedstat` counts nanoseconds, but a thread that has ended takes its count with it. The larger of the
//! two is right to the nanosecond as long as no thread ended, and to two hundredths in any case.

use std::fs;
use std::io;
use std::time::Duration;

/// Ticks of `/proc/<pid>/stat` in a second: the same on every architecture that Linux shows it on.
const TICKS: u64 = 100;

/// What a process and its children have used since they began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time.
    pub cpu: Duration,
    /// Memory of the process itself, without its children: those of PostgreSQL share most of theirs.
    pub resident_kib: u64,
}

/// What a process has used so far.
///
/// # Errors
/// When it is not there, or `/proc` is not as on Linux.
pub fn usage(pid: u32) -> io::Result<Usage> {
    let own = stat(pid)?;
    let mut cpu = own.ended_children + of_threads(pid, own.cpu);
    for entry in fs::read_dir("/proc")? {
        let Some(child) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that ends while we look was counted by its parent, or will be.
        if let Ok(stat) = stat(child)
            && stat.parent == pid
        {
            cpu += stat.ended_children + of_threads(child, stat.cpu);
        }
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let resident_kib = resident_kib(&status).ok_or_else(|| malformed("status"))?;
    Ok(Usage { cpu, resident_kib })
}

/// CPU time of all threads, and at least what the process as a whole has by its ticks.
fn of_threads(pid: u32, by_ticks: Duration) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let nanos = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum()).max(by_ticks)
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    cpu: Duration,
    /// Of children that have ended and were waited for.
    ended_children: Duration,
}

fn stat(pid: u32) -> io::Result<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_stat(&text).ok_or_else(|| malformed("stat"))
}

/// `pid (name) state parent ...`; the name may hold blanks and parentheses.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, fields) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let ticks = |at: usize| fields.get(at)?.trim().parse::<u64>().ok();
    let time = |user, system| Some(Duration::from_millis((ticks(user)? + ticks(system)?) * 1000 / TICKS));
    Some(Stat { parent: fields.get(1)?.parse().ok()?, cpu: time(11, 12)?, ended_children: time(13, 14)? })
}

fn resident_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

fn malformed(file: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("/proc/<pid>/{file} is not as expected"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_parentheses_does_not_shift_the_fields() {
        let line =
            "4711 (post) gres: (a b)) S 42 4711 4711 0 -1 4194304 100 200 0 0 17 3 250 50 20 0 1 0 9 9 9\n";
        let expected =
            Stat { parent: 42, cpu: Duration::from_millis(200), ended_children: Duration::from_secs(3) };
        assert_eq!(parse_stat(line), Some(expected));
        assert_eq!(parse_stat("4711 (cut off) S 42 1"), None);
    }

    #[test]
    fn memory_is_read_by_its_name() {
        assert_eq!(resident_kib("Name:\tx\nVmHWM:\t  999 kB\nVmRSS:\t   1234 kB\nThreads:\t1\n"), Some(1234));
        assert_eq!(resident_kib("Name:\tkthreadd\n"), None);
    }

    #[test]
    fn work_and_ended_children_are_counted() {
        let me = std::process::id();
        let before = usage(me).unwrap();
        assert!(before.resident_kib > 0);
        let mut child = std::process::Command::new("sh")
            .args(["-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"])
            .spawn()
            .unwrap();
        child.wait().unwrap();
        let after = usage(me).unwrap();
        assert!(after.cpu >= before.cpu + Duration::from_millis(10), "{before:?} {after:?}");
    }
}
