//! How long is waited and how often is tried.

use std::time::Duration;

/// Bounds of a pull. The defaults suit a slow line to a healthy server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For a connection, and for each read on it.
    pub timeout: Duration,
    /// Tries after the first that are made without any progress between them; 0 tries once.
    pub retries: u32,
    /// Pause before the first further try; it doubles with each.
    pub backoff: Duration,
    /// The longest pause, also when a server asks for one.
    pub longest_pause: Duration,
    /// How long another process's download of the same file is waited for.
    pub lock_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            retries: 5,
            backoff: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
            lock_wait: Duration::from_secs(30 * 60),
        }
    }
}

impl Limits {
    /// The pause before try number `failures` after the first, 1 or more.
    pub(crate) fn pause(&self, failures: u32) -> Duration {
        let factor = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        self.backoff.saturating_mul(factor).min(self.longest_pause)
    }
}
