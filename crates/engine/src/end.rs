//! Why an engine has ended, and how everybody learns of it, even when the thread panics.

use std::fmt;
use std::sync::Arc;

use crate::handle::Shared;

/// Why the engine thread has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EngineEnd {
    /// It was asked to.
    Finished,
    /// The device faulted or is gone: nothing can be computed in this process any more.
    DeviceLost,
    /// Several steps failed one after another.
    GaveUp,
    /// A belief about its own state was wrong.
    Panicked,
}

impl fmt::Display for EngineEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Finished => "the engine was asked to end",
            Self::DeviceLost => "the device is lost; see the server's log, and start it again",
            Self::GaveUp => "the engine gave up after several failed steps; see the server's log",
            Self::Panicked => "the engine panicked; its last words are in the server's log",
        })
    }
}

/// Says that the thread has ended, even if by a panic.
pub(crate) struct SayPanickedOnDrop(pub(crate) Arc<Shared>);

impl Drop for SayPanickedOnDrop {
    fn drop(&mut self) {
        say(&self.0, EngineEnd::Panicked);
    }
}

/// Says why the engine ends, if that was not said before.
pub(crate) fn say(shared: &Shared, end: EngineEnd) {
    shared.end.send_if_modified(|said| {
        let first = said.is_none();
        said.get_or_insert(end);
        first
    });
}
