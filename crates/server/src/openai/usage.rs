//! Token counts as chat and completions report them.

use sconce_engine::ChoiceUsage;
use serde::Serialize;

/// `usage` of chat and completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Usage {
    /// Tokens of the prompts, each prompt counted once.
    pub prompt_tokens: u64,
    /// Tokens of all choices.
    pub completion_tokens: u64,
    /// Both together.
    pub total_tokens: u64,
    /// What the cache saved.
    pub prompt_tokens_details: PromptTokensDetails,
}

/// `usage.prompt_tokens_details`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct PromptTokensDetails {
    /// Prompt tokens whose keys and values were already in the cache.
    pub cached_tokens: u64,
}

impl Usage {
    /// Adds a choice that has ended. The prompt counts with the first choice of its prompt only.
    pub fn add(&mut self, choice: &ChoiceUsage, first_of_prompt: bool) {
        self.completion_tokens += u64::from(choice.completion_tokens);
        if first_of_prompt {
            self.prompt_tokens += u64::from(choice.prompt_tokens);
            self.prompt_tokens_details.cached_tokens += u64::from(choice.cached_tokens);
        }
        self.total_tokens = self.prompt_tokens + self.completion_tokens;
    }
}
