//! Processes of this machine as `/proc` shows them: what they are, where they work, and which ports and files they
//! hold.

use std::fmt;
use std::path::{Path, PathBuf};

use procfs::net::{TcpState, tcp, tcp6};
use procfs::process::{FDTarget, Process, all_processes};

/// The kernel adds this to the path of a file that has been removed.
const REMOVED: &str = " (deleted)";

/// A process that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    /// The name of its program.
    pub(crate) program: String,
    /// Its working folder, though it may have been removed.
    pub(crate) folder: PathBuf,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {}, which works in {})", self.program, self.pid, self.folder.display())
    }
}

impl Found {
    /// All that we may look at. One that ends meanwhile, and one of another account, is not among them.
    pub(crate) fn all() -> Vec<Self> {
        processes().filter_map(|process| Self::of(&process)).collect()
    }

    fn of(process: &Process) -> Option<Self> {
        let stat = process.stat().ok()?;
        let program = as_it_was(&process.exe().ok()?).file_name()?.to_string_lossy().into_owned();
        // What it was started as is cut after 15 letters, and may be another name of the same file: Debian's
        // redis-server is redis-check-rdb.
        let program = if program.starts_with(&stat.comm) { program } else { stat.comm };
        let folder = as_it_was(&process.cwd().ok()?);
        (stat.state != 'Z').then_some(Self { pid: stat.pid, parent: stat.ppid, program, folder })
    }

    /// Those that have a file open that was at `path` and has been removed.
    pub(crate) fn holding_removed(path: &Path) -> Vec<Self> {
        let mut removed = path.as_os_str().to_owned();
        removed.push(REMOVED);
        holding(|target| matches!(target, FDTarget::Path(path) if path.as_os_str() == removed))
    }

    /// The one that listens on a TCP port, if it is one that we may look at.
    pub(crate) fn listening_on(port: u16) -> Option<Self> {
        let sockets = tcp().into_iter().chain(tcp6()).flatten();
        let inodes: Vec<u64> = sockets
            .filter(|socket| socket.state == TcpState::Listen && socket.local_address.port() == port)
            .map(|socket| socket.inode)
            .collect();
        holding(|target| matches!(target, FDTarget::Socket(inode) if inodes.contains(inode))).pop()
    }
}

fn holding(is_it: impl Fn(&FDTarget) -> bool) -> Vec<Found> {
    let holds = |process: &Process| {
        process.fd().is_ok_and(|mut files| files.any(|file| file.is_ok_and(|file| is_it(&file.target))))
    };
    processes().filter(holds).filter_map(|process| Found::of(&process)).collect()
}

fn processes() -> impl Iterator<Item = Process> {
    all_processes().into_iter().flatten().flatten()
}

/// A path without the remark that it has been removed.
fn as_it_was(path: &Path) -> PathBuf {
    path.to_str().and_then(|path| path.strip_suffix(REMOVED)).map_or_else(|| path.to_owned(), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn who_listens_on_a_port_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = Found::listening_on(port).unwrap();
        assert_eq!(found.pid.cast_unsigned(), std::process::id());
        assert_eq!(found.folder, std::env::current_dir().unwrap());
        drop(listener);
        assert_eq!(Found::listening_on(port), None);
    }

    #[test]
    fn who_holds_a_removed_file_is_found() {
        let path = std::env::temp_dir().join(format!("testkit-held-{}", uuid::Uuid::new_v4()));
        let file = std::fs::File::create(&path).unwrap();
        assert_eq!(Found::holding_removed(&path), []);
        std::fs::remove_file(&path).unwrap();
        let found = Found::holding_removed(&path);
        assert!(found.iter().any(|found| found.pid.cast_unsigned() == std::process::id()), "{found:?}");
        drop(file);
    }
}
