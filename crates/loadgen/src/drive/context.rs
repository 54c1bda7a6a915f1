//! One context in common: asked by many at once, or twice in a row.

use super::Board;
use crate::exchange::Call;

/// The lengths of a context workload, in tokens.
pub(super) struct Context {
    pub(super) context_tokens: u32,
    pub(super) own_tokens: u32,
    pub(super) output_tokens: u32,
    pub(super) rounds: u32,
}

impl Context {
    /// The context of a round: no two begin alike.
    fn text(&self, board: &Board<'_>, round: u32) -> String {
        board.session.prompts.prompt("context", round, self.context_tokens, &board.session.calibration)
    }

    fn call(&self, board: &Board<'_>, group: &'static str, text: &str, index: u32) -> Call {
        let session = &board.session;
        let prompt = session.prompts.question(text, index, self.own_tokens, &session.calibration);
        Call { group, index, prompt, max_tokens: self.output_tokens, scheduled_ms: None }
    }
}

/// All clients of a round send at once.
pub(super) async fn drive_shared(board: &mut Board<'_>, context: &Context, clients: u32) {
    for round in 0..context.rounds {
        let text = context.text(board, round);
        let first = round * clients;
        let calls = (first..first + clients).map(|index| context.call(board, "client", &text, index)).collect();
        board.together(calls).await;
    }
}

/// Each round asks cold, waits for the end, and asks another question warm.
pub(super) async fn drive_again(board: &mut Board<'_>, context: &Context) {
    for round in 0..context.rounds {
        let text = context.text(board, round);
        for (group, index) in [("cold", 2 * round), ("warm", 2 * round + 1)] {
            let call = context.call(board, group, &text, index);
            board.together(vec![call]).await;
        }
    }
}
