//! Steps that fail on purpose, in tests and in builds with debug assertions. A release build has nothing of this.

use std::sync::{Mutex, OnceLock, PoisonError};

use sconce_model::{KernelError, ModelError};

/// In a build with debug assertions, which launch fails and how: `lost@20`, `memory@20` or `step@20`, counting from 1;
/// `step@20x3` for three in a row.
const FAULT_AT_LAUNCH: &str = "SCONCE_FAULT";

/// Where a step fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Launch,
    Collect,
}

/// How it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Of the step alone.
    Ordinary,
    OutOfMemory,
    DeviceLost,
}

/// Passages through a place that fail: of those with a step of `tokens` or more, `count` after the next `spared`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) place: Place,
    pub(crate) kind: Kind,
    pub(crate) tokens: usize,
    pub(crate) spared: u32,
    pub(crate) count: u32,
}

/// What is still to fail.
static FAULT: Mutex<Option<Fault>> = Mutex::new(None);

/// Makes steps fail from now on, instead of those that were to.
pub(crate) fn arm(fault: Fault) {
    *FAULT.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
}

/// Fails if a step of so many tokens is to fail here.
pub(crate) fn strike(place: Place, tokens: usize) -> Result<(), ModelError> {
    static FROM_OUTSIDE: OnceLock<()> = OnceLock::new();
    FROM_OUTSIDE.get_or_init(|| {
        if let Ok(text) = std::env::var(FAULT_AT_LAUNCH) {
            arm(from_text(&text).unwrap_or_else(|| panic!("{FAULT_AT_LAUNCH} is {text:?}, must be such as lost@20")));
        }
    });
    let mut fault = FAULT.lock().unwrap_or_else(PoisonError::into_inner);
    let is_due = |fault: &&mut Fault| fault.place == place && tokens >= fault.tokens && fault.count > 0;
    let Some(fault) = fault.as_mut().filter(is_due) else { return Ok(()) };
    if fault.spared > 0 {
        fault.spared -= 1;
        return Ok(());
    }
    fault.count -= 1;
    let detail = "a fault on purpose".to_owned();
    Err(match fault.kind {
        Kind::Ordinary => ModelError::Cache { problem: detail },
        Kind::OutOfMemory => KernelError::OutOfMemory { detail }.into(),
        Kind::DeviceLost => KernelError::DeviceLost { detail }.into(),
    })
}

fn from_text(text: &str) -> Option<Fault> {
    let (kind, launch) = text.split_once('@')?;
    let kind = match kind {
        "lost" => Kind::DeviceLost,
        "memory" => Kind::OutOfMemory,
        "step" => Kind::Ordinary,
        _ => return None,
    };
    let (launch, count) = launch.split_once('x').unwrap_or((launch, "1"));
    let spared = launch.parse::<u32>().ok()?.checked_sub(1)?;
    Some(Fault { place: Place::Launch, kind, tokens: 0, spared, count: count.parse().ok()? })
}

#[cfg(test)]
mod tests;
