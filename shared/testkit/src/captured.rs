//! What this thread logs, the services that run on it included.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::Level;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::Registry;
use tracing_subscriber::fmt::FormatEvent;
use tracing_subscriber::fmt::format::{DefaultFields, Format};

/// The lines that are logged as long as this lives.
#[derive(Debug)]
pub struct CapturedLog {
    lines: Lines,
    _guard: DefaultGuard,
}

#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl CapturedLog {
    /// From now on, at level INFO and above. `wrap` may change how lines are written.
    #[must_use]
    pub fn start<F>(wrap: impl FnOnce(Format) -> F) -> Self
    where
        F: FormatEvent<Registry, DefaultFields> + Send + Sync + 'static,
    {
        Self::start_at(Level::INFO, wrap)
    }

    /// As [`CapturedLog::start`], at this level and above.
    #[must_use]
    pub fn start_at<F>(level: Level, wrap: impl FnOnce(Format) -> F) -> Self
    where
        F: FormatEvent<Registry, DefaultFields> + Send + Sync + 'static,
    {
        let lines = Lines::default();
        let writer = lines.clone();
        let format = wrap(tracing_subscriber::fmt::format().with_ansi(false));
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level)
            .event_format(format)
            .with_writer(move || writer.clone())
            .finish();
        Self { lines, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// The lines so far that contain this text.
    #[must_use]
    pub fn lines_with(&self, text: &str) -> Vec<String> {
        let bytes = self.lines.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let all = String::from_utf8_lossy(&bytes).into_owned();
        all.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }
}

/// A test that fails shows what was logged. Where panics are logged too, that is all that tells why.
impl Drop for CapturedLog {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.lines_with("").join("\n"));
        }
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
