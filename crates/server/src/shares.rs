//! Bounds on the memory that bodies take, counted in bytes. What the bytes are, its callers know.

use axum::body::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// What memory is counted in: permits are 32-bit.
const UNIT_BYTES: usize = 1024;

/// Memory for one kind of body.
pub(crate) struct Shares {
    free: Arc<Semaphore>,
    units: u32,
}

/// Memory that is taken until this is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    _permit: OwnedSemaphorePermit,
}

impl Shares {
    pub(crate) fn new(bytes: usize) -> Self {
        let units = units(bytes);
        Self { free: Arc::new(Semaphore::new(units as usize)), units }
    }

    /// Room for `bytes`, or `None` at once when there is none. What is larger than all of it gets all of it.
    pub(crate) fn take(&self, bytes: usize) -> Option<Share> {
        let permit = self.free.clone().try_acquire_many_owned(units(bytes).min(self.units)).ok()?;
        Some(Share { _permit: permit })
    }

    /// The same, but waits for others to end; those who wait get theirs in order. `None` when `patience` is over.
    pub(crate) async fn wait(&self, bytes: usize, patience: Duration) -> Option<Share> {
        let room = self.free.clone().acquire_many_owned(units(bytes).min(self.units));
        let permit = timeout(patience, room).await.ok()?.ok()?;
        Some(Share { _permit: permit })
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

impl Share {
    /// `bytes` as a body that keeps its share until the last of it is sent or dropped.
    pub(crate) fn hold(self, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(Held { bytes, _share: self })
    }
}

struct Held {
    bytes: Vec<u8>,
    _share: Share,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_keep_their_share_until_the_last_of_them_is_gone() {
        let shares = Shares::new(4 << 10);
        let bytes = shares.take(4 << 10).unwrap().hold(vec![7; 4 << 10]);
        let part = bytes.slice(10..20);
        assert!(shares.take(1).is_none());
        drop(bytes);
        assert!(shares.take(1).is_none(), "a part of them is still there");
        drop(part);
        assert!(shares.take(1).is_some());
    }

    #[test]
    fn what_is_larger_than_all_gets_all() {
        let shares = Shares::new(4 << 10);
        let all = shares.take(usize::MAX).unwrap();
        assert!(shares.take(1).is_none());
        drop(all);
        assert!(shares.take(1).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_has_an_end() {
        let shares = Shares::new(1);
        let all = shares.take(1).unwrap();
        assert!(shares.wait(1, Duration::from_secs(10)).await.is_none());
        drop(all);
        assert!(shares.wait(1, Duration::from_secs(10)).await.is_some());
    }
}
