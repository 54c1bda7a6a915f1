//! A long prompt alone, then the same length again while clients decode. What is measured is how long they wait for it,
//! and how long it waits for them.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::{Board, Part, Session, join, send_and_record};
use crate::Load;
use crate::exchange::{Call, Observer};
use crate::record::RequestRecord;

/// The group of the long prompt with nothing beside it.
pub(crate) const LONG_ALONE: &str = "long alone";
/// The group of the long prompt beside the clients.
pub(crate) const LONG: &str = "long";
/// The group of the clients.
pub(crate) const DECODING: &str = "decoding";

struct Stall {
    long: Call,
    clients: Vec<Call>,
    lead_chunks: u32,
}

pub(super) async fn drive(board: &mut Board<'_>, load: &Load) {
    let Load::Stall {
        clients,
        client_prompt_tokens,
        client_output_tokens,
        long_prompt_tokens,
        long_output_tokens,
        lead_chunks,
    } = *load
    else {
        return;
    };
    let session = Arc::clone(&board.session);
    let call = |group, family, index, prompt_tokens, max_tokens| Call {
        group,
        index,
        prompt: session.prompts.prompt(family, index, prompt_tokens, &session.calibration),
        max_tokens,
        scheduled_ms: None,
    };
    board.together(vec![call(LONG_ALONE, "long", 0, long_prompt_tokens, long_output_tokens)]).await;
    let stall = Stall {
        long: call(LONG, "long", 1, long_prompt_tokens, long_output_tokens),
        clients: (0..clients)
            .map(|index| call(DECODING, "client", index, client_prompt_tokens, client_output_tokens))
            .collect(),
        lead_chunks,
    };
    let mut part = Part::new();
    part.tasks.spawn(collide(Arc::clone(&session), stall, part.sender.clone()));
    board.gather(part).await;
}

/// Every wait here ends when the request that it follows ends, and that has timeouts.
async fn collide(session: Arc<Session>, stall: Stall, sender: mpsc::Sender<RequestRecord>) {
    let (cut, cut_receiver) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let mut counts = Vec::new();
    for call in stall.clients {
        let (chunks, count) = watch::channel(0);
        counts.push(count);
        let (session, sender) = (Arc::clone(&session), sender.clone());
        let mut observer = Observer { chunks: Some(chunks), cut: Some(cut_receiver.clone()) };
        tasks.spawn(async move { send_and_record(&session, &call, &mut observer, &sender).await });
    }
    for count in &mut counts {
        let _ended = count.wait_for(|chunks| *chunks >= stall.lead_chunks).await;
    }
    send_and_record(&session, &stall.long, &mut Observer::default(), &sender).await;
    // One more chunk of each client closes the gap that the long prompt made.
    for count in &mut counts {
        let seen = *count.borrow();
        let _ended = count.wait_for(|chunks| *chunks > seen).await;
    }
    cut.send_replace(true);
    join(tasks).await;
}
