//! Puts a workload on the server: who sends what, and when. What a request is, and what its times mean, is known elsewhere.

mod closed;
mod context;
mod open;
pub(crate) mod stall;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::client::Client;
use crate::exchange::{Call, Observer, exchange};
use crate::prompts::Prompts;
use crate::record::RequestRecord;
use crate::{Calibration, Load, Progress, Workload};

/// Records wait here for the loop that reports progress.
const RECORD_QUEUE: usize = 256;
const TICK: Duration = Duration::from_millis(250);

/// What every task of a run shares.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) prompts: Prompts,
    pub(crate) calibration: Calibration,
    /// The run's start, from which records count.
    pub(crate) origin: Instant,
}

impl Session {
    async fn send(&self, call: &Call, observer: &mut Observer) -> RequestRecord {
        let (trace, end) = exchange(&self.client, call, observer).await;
        trace.into_record(call, end, self.origin)
    }
}

/// Where the records of a run come together, and progress is told.
struct Board<'a> {
    session: Arc<Session>,
    progress: &'a mut (dyn FnMut(Progress) + Send),
    total: u32,
    failed: u32,
    records: Vec<RequestRecord>,
}

/// The tasks of one part of a run, and the way their records go.
struct Part {
    tasks: JoinSet<()>,
    sender: mpsc::Sender<RequestRecord>,
    receiver: mpsc::Receiver<RequestRecord>,
}

/// Runs the whole workload; the records come in the order in which requests ended.
pub(crate) async fn drive(
    session: Arc<Session>,
    workload: &Workload,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Vec<RequestRecord> {
    let mut board = Board { session, progress, total: workload.request_count(), failed: 0, records: Vec::new() };
    match workload.load {
        Load::Closed { clients, requests, prompt_tokens, output_tokens } => {
            closed::drive(&mut board, clients, requests, prompt_tokens, output_tokens).await;
        }
        Load::Open { requests, rate_per_s, max_in_flight, prompt_tokens, output_tokens } => {
            let arrivals = crate::random::poisson_arrivals(workload.seed, rate_per_s, requests);
            open::drive(&mut board, arrivals, max_in_flight, prompt_tokens, output_tokens).await;
        }
        Load::SharedContext { clients, context_tokens, own_tokens, output_tokens, rounds } => {
            let context = context::Context { context_tokens, own_tokens, output_tokens, rounds };
            context::drive_shared(&mut board, &context, clients).await;
        }
        Load::Again { context_tokens, own_tokens, output_tokens, rounds } => {
            let context = context::Context { context_tokens, own_tokens, output_tokens, rounds };
            context::drive_again(&mut board, &context).await;
        }
        Load::Stall { .. } => stall::drive(&mut board, &workload.load).await,
    }
    board.records
}

impl Part {
    fn new() -> Self {
        let (sender, receiver) = mpsc::channel(RECORD_QUEUE);
        Self { tasks: JoinSet::new(), sender, receiver }
    }
}

impl Board<'_> {
    /// Sends calls at once and waits for all.
    async fn together(&mut self, calls: Vec<Call>) {
        let mut part = Part::new();
        for call in calls {
            let (session, sender) = (Arc::clone(&self.session), part.sender.clone());
            part.tasks.spawn(async move { send_and_record(&session, &call, &mut Observer::default(), &sender).await });
        }
        self.gather(part).await;
    }

    /// Takes the records of a part until its last task has ended, and tells progress meanwhile.
    async fn gather(&mut self, part: Part) {
        let Part { tasks, sender, mut receiver } = part;
        drop(sender); // the tasks hold the others: the channel ends with the last of them
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                record = receiver.recv() => match record {
                    Some(record) => self.take(record),
                    None => break,
                },
                _ = tick.tick() => self.tell(),
            }
        }
        join(tasks).await;
        self.tell();
    }

    fn take(&mut self, record: RequestRecord) {
        self.failed += u32::from(record.failure().is_some());
        self.records.push(record);
        self.tell();
    }

    fn tell(&mut self) {
        (self.progress)(Progress::Running {
            ended: u32::try_from(self.records.len()).unwrap_or(u32::MAX),
            failed: self.failed,
            total: self.total,
            chunks: self.session.client.chunks_seen(),
        });
    }
}

/// Makes one request and hands its record over. The board reads until all senders are gone, so a send fails only when the
/// run has been dropped.
async fn send_and_record(
    session: &Session,
    call: &Call,
    observer: &mut Observer,
    sender: &mpsc::Sender<RequestRecord>,
) {
    let record = session.send(call, observer).await;
    let _run_dropped = sender.send(record).await;
}

/// Waits for tasks. A panic in one is a bug, and goes on here.
async fn join(mut tasks: JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        propagate(ended);
    }
}

fn propagate(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}
