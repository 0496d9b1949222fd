//! Hears which commands the driver sends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bson::Document;
use mongodb::event::EventHandler;
use mongodb::event::command::CommandEvent;

/// Keeps the commands that are sent while it is told to. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Recorder(Arc<Tape>);

#[derive(Debug, Default)]
struct Tape {
    is_on: AtomicBool,
    commands: Mutex<Vec<Document>>,
}

impl Recorder {
    /// Hears from the driver.
    pub(super) fn handler(&self) -> EventHandler<CommandEvent> {
        let tape = Arc::clone(&self.0);
        EventHandler::callback(move |event| {
            if let CommandEvent::Started(started) = event
                && tape.is_on.load(Ordering::Relaxed)
            {
                tape.commands.lock().unwrap_or_else(PoisonError::into_inner).push(started.command);
            }
        })
    }

    /// What is sent while this works.
    pub(super) async fn during<T>(&self, work: impl Future<Output = T>) -> (T, Vec<Document>) {
        self.0.is_on.store(true, Ordering::Relaxed);
        // Also when the work is given up in the middle.
        let off = Off(&self.0);
        let done = work.await;
        drop(off);
        (done, std::mem::take(&mut *self.0.commands.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Switches the recorder off when it is dropped.
struct Off<'a>(&'a Tape);

impl Drop for Off<'_> {
    fn drop(&mut self) {
        self.0.is_on.store(false, Ordering::Relaxed);
    }
}
