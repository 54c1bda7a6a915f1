//! The open loop: requests go out at their times, whatever became of the earlier ones. What finds the workload's limit of
//! requests in flight reached is recorded as a failure, so that an overloaded server cannot look better by being slow.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::{Board, Part, Session, join, propagate};
use crate::exchange::{Call, Observer, milliseconds};
use crate::record::{Failure, FailureKind, Outcome, RequestRecord};

pub(super) async fn drive(
    board: &mut Board<'_>,
    arrivals: Vec<f64>,
    max_in_flight: u32,
    prompt_tokens: u32,
    output_tokens: u32,
) {
    let mut part = Part::new();
    let (session, sender) = (Arc::clone(&board.session), part.sender.clone());
    part.tasks.spawn(async move {
        let permits = Arc::new(Semaphore::new(max_in_flight as usize));
        let mut requests = JoinSet::new();
        let start = Instant::now();
        for (index, arrival) in (0_u32..).zip(arrivals) {
            // The prompt is made before its time has come, so that making it delays nothing.
            let prompt = session.prompts.prompt("client", index, prompt_tokens, &session.calibration);
            let due = start + Duration::from_secs_f64(arrival);
            let scheduled_ms = Some(milliseconds(due.saturating_duration_since(session.origin)));
            let call = Call { group: "client", index, prompt, max_tokens: output_tokens, scheduled_ms };
            sleep_until(due).await;
            launch(&session, &sender, &permits, &mut requests, call).await;
            while let Some(ended) = requests.try_join_next() {
                propagate(ended);
            }
        }
        join(requests).await;
    });
    board.gather(part).await;
}

async fn launch(
    session: &Arc<Session>,
    sender: &mpsc::Sender<RequestRecord>,
    permits: &Arc<Semaphore>,
    requests: &mut JoinSet<()>,
    call: Call,
) {
    let Ok(permit) = Arc::clone(permits).try_acquire_owned() else {
        let _run_dropped = sender.send(not_sent(&call, session.origin)).await;
        return;
    };
    let (session, sender) = (Arc::clone(session), sender.clone());
    requests.spawn(async move {
        let record = session.send(&call, &mut Observer::default()).await;
        drop(permit); // the request has ended; handing over its record is not in flight
        let _run_dropped = sender.send(record).await;
    });
}

fn not_sent(call: &Call, origin: Instant) -> RequestRecord {
    let now_ms = milliseconds(origin.elapsed());
    RequestRecord {
        group: call.group.to_owned(),
        index: call.index,
        scheduled_ms: call.scheduled_ms,
        started_ms: now_ms,
        ended_ms: now_ms,
        prompt_tokens: None,
        cached_tokens: None,
        max_tokens: call.max_tokens,
        output_tokens: 0,
        output_from_usage: false,
        ttft_ms: None,
        gaps_ms: Vec::new(),
        finish_reason: None,
        outcome: Outcome::Failed(Failure::new(
            FailureKind::InFlightLimit,
            "not sent: max_in_flight requests had not ended",
        )),
    }
}
