//! Bounds on blocking work: how much of a kind runs at once, and how much more may wait. What the work is, its callers
//! know.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One kind of blocking work.
pub(crate) struct Lane {
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
}

/// A place among those that run or wait. Whoever has one is not refused any more and may take turns one after another.
#[derive(Clone)]
pub(crate) struct Admission {
    running: Arc<Semaphore>,
    permit: Arc<OwnedSemaphorePermit>,
}

/// A turn to run, for as long as it is held. It keeps the admission with it: work goes on when its client has gone, and
/// must count until it ends.
pub(crate) struct Turn {
    _running: OwnedSemaphorePermit,
    _admission: Arc<OwnedSemaphorePermit>,
}

impl Lane {
    pub(crate) fn new(running: usize, waiting: usize) -> Self {
        let admitted = Arc::new(Semaphore::new(running.saturating_add(waiting)));
        Self { running: Arc::new(Semaphore::new(running)), admitted }
    }

    /// A place, or `None` at once when there is none.
    pub(crate) fn admit(&self) -> Option<Admission> {
        let permit = self.admitted.clone().try_acquire_owned().ok()?;
        Some(Admission { running: self.running.clone(), permit: Arc::new(permit) })
    }
}

impl Admission {
    /// Waits for a turn; those who wait get theirs in order. `None` never comes, since no lane is ever closed.
    pub(crate) async fn turn(&self) -> Option<Turn> {
        let running = self.running.clone().acquire_owned().await.ok()?;
        Some(Turn { _running: running, _admission: self.permit.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_admission_lasts_for_many_turns_and_a_turn_outlives_it() {
        let lane = Lane::new(1, 0);
        let admission = lane.admit().unwrap();
        drop(admission.turn().await.unwrap());
        let turn = admission.turn().await.unwrap();
        assert!(lane.admit().is_none());
        drop(admission);
        assert!(lane.admit().is_none(), "the turn still runs");
        drop(turn);
        assert!(lane.admit().is_some());
    }
}
