//! A request body that must keep coming: it may be large and its client slow, but neither stop nor drip.

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use http_body::{Frame, SizeHint};
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

/// What a body must bring on average, beyond the patience that everyone has, in bytes per second.
pub(crate) const SLOWEST_RATE: u32 = 16 << 10;

/// Gives the request a body that fails with [`TooSlow`] after `patience` in which nothing comes, or once it is
/// `patience` behind [`SLOWEST_RATE`]. A body of `b` bytes so takes `patience + b / SLOWEST_RATE` at most.
pub(crate) fn paced(request: Request, patience: Duration) -> Request {
    request.map(|body| Body::new(PacedBody::new(body, patience)))
}

/// Whether a body did not keep its pace, somewhere down the causes of `error`.
pub(crate) fn is_too_slow(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source()).any(|error| error.is::<TooSlow>())
}

#[derive(Debug)]
struct TooSlow;

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body came too slowly")
    }
}

impl Error for TooSlow {}

struct PacedBody {
    inner: Body,
    patience: Duration,
    began: Instant,
    received: u64,
    deadline: Pin<Box<Sleep>>,
}

impl PacedBody {
    fn new(inner: Body, patience: Duration) -> Self {
        Self { inner, patience, began: Instant::now(), received: 0, deadline: Box::pin(sleep(patience)) }
    }

    /// Something came: the clock for the next starts anew, and what came counts for the average.
    fn progressed(&mut self, bytes: usize) {
        self.received += bytes as u64;
        let earned = Duration::from_secs_f64(self.received as f64 / f64::from(SLOWEST_RATE));
        let next = (Instant::now() + self.patience).min(self.began + self.patience + earned);
        self.deadline.as_mut().reset(next);
    }
}

impl HttpBody for PacedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) {
            if let Some(Ok(frame)) = &frame {
                self.progressed(frame.data_ref().map_or(0, Bytes::len));
            }
            return Poll::Ready(frame);
        }
        ready!(self.deadline.as_mut().poll(context));
        Poll::Ready(Some(Err(axum::Error::new(TooSlow))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use std::io;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// Reads `chunks` of `bytes` that come `pause` after one another: the time it took, or whether it was too slow.
    async fn read(chunks: usize, bytes: usize, pause: Duration) -> Result<Duration, bool> {
        let chunks = stream::unfold(0, move |sent| async move {
            sleep(pause).await;
            (sent < chunks).then(|| (Ok::<_, io::Error>(vec![b'x'; bytes]), sent + 1))
        });
        let request = paced(Request::new(Body::from_stream(chunks)), PATIENCE);
        let began = Instant::now();
        let read = axum::body::to_bytes(request.into_body(), usize::MAX).await;
        read.map(|_| began.elapsed()).map_err(|error| is_too_slow(&error))
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_body_may_take_its_time_as_long_as_it_comes() {
        // 64 MiB at 64 KiB a second, which takes a quarter of an hour.
        let took = read(64, 1 << 20, Duration::from_secs(16)).await.unwrap();
        assert!(took > PATIENCE * 10, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_ends_after_the_patience() {
        assert_eq!(read(2, 32 << 20, PATIENCE + Duration::from_secs(1)).await, Err(true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_ends_soon() {
        let began = Instant::now();
        assert_eq!(read(1000, 1, Duration::from_secs(50)).await, Err(true));
        assert!(began.elapsed() < PATIENCE * 2, "{:?}", began.elapsed());
    }
}
