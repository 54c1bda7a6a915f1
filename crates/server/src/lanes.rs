//! Bounds on blocking work: how much of a kind runs at once, and how much more may wait. What the work is, its callers
//! know.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One kind of blocking work.
pub(crate) struct Lane {
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
    places: usize,
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
        let places = running.saturating_add(waiting);
        Self { running: Arc::new(Semaphore::new(running)), admitted: Arc::new(Semaphore::new(places)), places }
    }

    /// A place, or `None` at once when there is none.
    pub(crate) fn admit(&self) -> Option<Admission> {
        let permit = self.admitted.clone().try_acquire_owned().ok()?;
        Some(Admission { running: self.running.clone(), permit: Arc::new(permit) })
    }

    /// Waits until nobody who was admitted runs or waits any more.
    pub(crate) async fn emptied(&self) {
        // An error would mean that the lane is closed, which none ever is.
        drop(self.admitted.acquire_many(u32::try_from(self.places).unwrap_or(u32::MAX)).await);
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
    use futures_util::FutureExt;

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

    #[tokio::test]
    async fn a_lane_is_empty_when_the_last_turn_has_ended() {
        let lane = Lane::new(2, 1);
        let turn = lane.admit().unwrap().turn().await.unwrap();
        assert!(lane.emptied().now_or_never().is_none());
        drop(turn);
        assert!(lane.emptied().now_or_never().is_some());
    }
}
