//! What the owner of a cache implements.

use crate::envelope::Event;

/// The owner of a cache. Its methods are called in the order of what happens, and must not block.
pub trait Listener: Send + Sync + 'static {
    /// The next event of a stream.
    fn on_event(&self, event: &Event);

    /// Events of this stream may have been missed: clear everything that its events invalidate.
    fn on_clear(&self, stream: &str);

    /// Whether events of this stream arrive now. A stream is not live before the first call.
    fn on_live(&self, stream: &str, live: bool);

    /// Whether the owner needs the events now. While it does not, messages are not decoded and no stream is live. After
    /// five seconds the subscription is given up, so that Redis sends nothing either; a quarter of a second after the
    /// events are needed again there is a new one.
    fn is_listening(&self) -> bool {
        true
    }
}
