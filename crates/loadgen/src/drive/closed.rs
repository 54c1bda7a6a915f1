//! The closed loop: a fixed number of clients, each of which sends its next request when its last has ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Board, Part, send_and_record};
use crate::exchange::{Call, Observer};

pub(super) async fn drive(board: &mut Board<'_>, clients: u32, requests: u32, prompt_tokens: u32, output_tokens: u32) {
    let next = Arc::new(AtomicU32::new(0));
    let mut part = Part::new();
    for _client in 0..clients {
        let (session, next, sender) = (Arc::clone(&board.session), Arc::clone(&next), part.sender.clone());
        part.tasks.spawn(async move {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= requests {
                    return;
                }
                let prompt = session.prompts.prompt("client", index, prompt_tokens, &session.calibration);
                let call = Call { group: "client", index, prompt, max_tokens: output_tokens, scheduled_ms: None };
                send_and_record(&session, &call, &mut Observer::default(), &sender).await;
            }
        });
    }
    board.gather(part).await;
}
