//! What an armed point does.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use nix::sys::signal::{Signal, raise};

static ARMED: LazyLock<Option<PathBuf>> = LazyLock::new(|| std::env::var_os(crate::ARMED).map(PathBuf::from));

/// Does what the file says, once.
pub(crate) fn reached(name: &str, part: &str) {
    let Some(signal) = ARMED.as_deref().and_then(|file| fired(file, name, part)) else { return };
    // SIGKILL and SIGSTOP cannot be blocked: the process ends on this line, or goes on after it later. The signal is
    // for this thread, which stops them all. If it were for the process, SIGSTOP might reach another thread first, and
    // this one would still run its next statement.
    if let Err(error) = raise(signal) {
        panic!("sending {signal} to this thread: {error}");
    }
}

/// Whether the file names this point.
pub(crate) fn is_armed(name: &str, part: &str) -> bool {
    ARMED.as_deref().is_some_and(|file| signal_of(file, name, part).is_some())
}

/// The signal that the file asks for at this point.
fn signal_of(file: &Path, name: &str, part: &str) -> Option<Signal> {
    let line = std::fs::read_to_string(file).ok()?;
    let mut words = line.split_whitespace();
    if words.next() != Some(name) || words.next() != Some(part) {
        return None;
    }
    match words.next() {
        Some("kill") => Some(Signal::SIGKILL),
        Some("stop") => Some(Signal::SIGSTOP),
        other => panic!("{} asks for {other:?}", file.display()),
    }
}

/// The same signal, for one caller of many: whoever renames the file.
fn fired(file: &Path, name: &str, part: &str) -> Option<Signal> {
    let signal = signal_of(file, name, part)?;
    std::fs::rename(file, file.with_extension("fired")).ok().map(|()| signal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_armed_point_fires_once_for_its_name_and_part() {
        let file = std::env::temp_dir().join(format!("fault-armed-{}", std::process::id()));
        assert_eq!(fired(&file, "a", "x"), None, "nothing is armed");
        std::fs::write(&file, "a x stop\n").unwrap();
        assert_eq!(fired(&file, "a", "y"), None);
        assert_eq!(fired(&file, "b", "x"), None);
        assert_eq!(signal_of(&file, "a", "x"), Some(Signal::SIGSTOP), "a look fires nothing");
        assert_eq!(fired(&file, "a", "x"), Some(Signal::SIGSTOP));
        assert_eq!(fired(&file, "a", "x"), None, "it has fired");
        std::fs::remove_file(file.with_extension("fired")).unwrap();
    }
}
