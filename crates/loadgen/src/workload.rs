//! What a workload file says: the kinds of load, their numbers, their limits. Nothing here sends anything.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::LoadgenError;

const MAX_FILE_BYTES: u64 = 1 << 20;
const MAX_CLIENTS: u32 = 4_096;
const MAX_REQUESTS: u32 = 1_000_000;
const MAX_ROUNDS: u32 = 1_000;
const MAX_TOKENS: u32 = 1_000_000;
const MAX_RATE_PER_S: f64 = 100_000.0;
const MAX_TIMEOUT_MS: u64 = 24 * 60 * 60 * 1_000;

/// One load to put on a server, as a file under `benches/workloads/` describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// A short name, which results carry. [`compare`](crate::compare) goes by what the workload asks for, not by its name.
    pub name: String,
    /// What it stands for, in a sentence.
    #[serde(default)]
    pub description: String,
    /// Draws the words of the prompts and the arrivals of an open loop.
    pub seed: u64,
    /// Which route is asked.
    #[serde(default)]
    pub endpoint: Endpoint,
    /// What is sent, and when.
    pub load: Load,
    /// What counts as good service; without it there is no goodput.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slo: Option<Slo>,
    /// The ends of every wait.
    #[serde(default)]
    pub timeouts: Timeouts,
}

/// The route that requests go to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// `/v1/completions`: the prompt is the text, so its length is under control.
    #[default]
    Completions,
    /// `/v1/chat/completions`: the prompt is one user message.
    Chat,
}

/// The kinds of load. Prompt lengths are targets in tokens; the report states what the server counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Load {
    /// A number of clients, each of which sends its next request when its last has ended. No two prompts begin alike.
    Closed {
        /// Clients at once.
        clients: u32,
        /// Requests in all, at least one for each client.
        requests: u32,
        /// Length of a prompt.
        prompt_tokens: u32,
        /// Tokens to generate for each.
        output_tokens: u32,
    },
    /// Requests arrive at random (Poisson) whether or not earlier ones have ended. Latencies count from the arrival, also
    /// where this client was late to send.
    Open {
        /// Requests in all.
        requests: u32,
        /// Mean arrivals a second.
        rate_per_s: f64,
        /// An arrival that finds this many in flight is not sent, and counts as failed.
        max_in_flight: u32,
        /// Length of a prompt.
        prompt_tokens: u32,
        /// Tokens to generate for each.
        output_tokens: u32,
    },
    /// Clients that arrive together with one context in common and a question of their own each.
    SharedContext {
        /// Clients at once.
        clients: u32,
        /// Length of the common context.
        context_tokens: u32,
        /// Length of each question.
        own_tokens: u32,
        /// Tokens to generate for each.
        output_tokens: u32,
        /// How often, each time with a new context.
        #[serde(default = "one")]
        rounds: u32,
    },
    /// One context asked twice in a row with two questions: cold, then warm.
    Again {
        /// Length of the common context.
        context_tokens: u32,
        /// Length of each question.
        own_tokens: u32,
        /// Tokens to generate for each.
        output_tokens: u32,
        /// How often, each time with a new context.
        #[serde(default = "one")]
        rounds: u32,
    },
    /// A long prompt, first alone, then while clients decode; they are cut when it has ended.
    Stall {
        /// Clients that decode.
        clients: u32,
        /// Length of their prompts.
        client_prompt_tokens: u32,
        /// Tokens that each may generate: enough to decode until the long one has ended.
        client_output_tokens: u32,
        /// Length of the long prompt.
        long_prompt_tokens: u32,
        /// Tokens to generate after the long prompt.
        long_output_tokens: u32,
        /// Chunks that every client has received before the long prompt is sent.
        lead_chunks: u32,
    },
}

fn one() -> u32 {
    1
}

/// The service level that a request must meet to count as good.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slo {
    /// Time to the first token, at most; in an open loop from the request's arrival.
    pub ttft_ms: f64,
    /// Time per output token after the first, at most.
    pub tpot_ms: f64,
}

/// The ends of the waits of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// To connect.
    pub connect_ms: u64,
    /// From sending to the first token, comments and empty chunks not counted.
    pub first_token_ms: u64,
    /// Without a byte after the first token.
    pub idle_ms: u64,
    /// For the whole request.
    pub total_ms: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect_ms: 10_000, first_token_ms: 600_000, idle_ms: 120_000, total_ms: 1_800_000 }
    }
}

impl Workload {
    /// Reads and checks a TOML file.
    ///
    /// # Errors
    /// The file cannot be read, is over 1 MiB, is not TOML of this shape, or has a number out of its range.
    pub fn load(path: &Path) -> Result<Self, LoadgenError> {
        let read = |source| LoadgenError::Read { path: path.to_owned(), source };
        let origin = path.display().to_string();
        let bytes = std::fs::metadata(path).map_err(read)?.len();
        if bytes > MAX_FILE_BYTES {
            return Err(LoadgenError::Parse {
                origin,
                message: format!("{bytes} bytes are too many for a workload; the limit is {MAX_FILE_BYTES}"),
            });
        }
        Self::parse(&std::fs::read_to_string(path).map_err(read)?, &origin)
    }

    /// Reads and checks TOML text; `origin` names it in errors.
    ///
    /// # Errors
    /// It is not TOML of this shape, or has a number out of its range.
    pub fn parse(text: &str, origin: &str) -> Result<Self, LoadgenError> {
        let workload: Self = toml::from_str(text)
            .map_err(|error| LoadgenError::Parse { origin: origin.to_owned(), message: error.to_string() })?;
        workload.check(origin)?;
        Ok(workload)
    }

    /// How many requests a run of it makes, calibration not counted.
    #[must_use]
    pub fn request_count(&self) -> u32 {
        match self.load {
            Load::Closed { requests, .. } | Load::Open { requests, .. } => requests,
            Load::SharedContext { clients, rounds, .. } => clients.saturating_mul(rounds),
            Load::Again { rounds, .. } => rounds.saturating_mul(2),
            Load::Stall { clients, .. } => clients.saturating_add(2),
        }
    }

    /// Checks every range; `origin` names the workload in errors.
    pub(crate) fn check(&self, origin: &str) -> Result<(), LoadgenError> {
        let check = Check { origin };
        if self.name.is_empty() || self.name.len() > 100 {
            return check.refuse("name", &self.name, "1 to 100 bytes long".to_owned());
        }
        check.load(&self.load)?;
        if let Some(slo) = self.slo {
            check.positive("slo.ttft_ms", slo.ttft_ms, MAX_TIMEOUT_MS as f64)?;
            check.positive("slo.tpot_ms", slo.tpot_ms, MAX_TIMEOUT_MS as f64)?;
        }
        let Timeouts { connect_ms, first_token_ms, idle_ms, total_ms } = self.timeouts;
        check.whole("timeouts.connect_ms", connect_ms, 1, MAX_TIMEOUT_MS)?;
        check.whole("timeouts.first_token_ms", first_token_ms, 1, MAX_TIMEOUT_MS)?;
        check.whole("timeouts.idle_ms", idle_ms, 1, MAX_TIMEOUT_MS)?;
        check.whole("timeouts.total_ms", total_ms, 1, MAX_TIMEOUT_MS)
    }
}

struct Check<'a> {
    origin: &'a str,
}

impl Check<'_> {
    fn load(&self, load: &Load) -> Result<(), LoadgenError> {
        match *load {
            Load::Closed { clients, requests, prompt_tokens, output_tokens } => {
                self.clients("load.clients", clients)?;
                self.whole("load.requests", requests.into(), clients.into(), MAX_REQUESTS.into())?;
                self.tokens("load.prompt_tokens", prompt_tokens)?;
                self.tokens("load.output_tokens", output_tokens)
            }
            Load::Open { requests, rate_per_s, max_in_flight, prompt_tokens, output_tokens } => {
                self.whole("load.requests", requests.into(), 1, MAX_REQUESTS.into())?;
                self.positive("load.rate_per_s", rate_per_s, MAX_RATE_PER_S)?;
                self.clients("load.max_in_flight", max_in_flight)?;
                self.tokens("load.prompt_tokens", prompt_tokens)?;
                self.tokens("load.output_tokens", output_tokens)
            }
            Load::SharedContext { clients, context_tokens, own_tokens, output_tokens, rounds } => {
                self.clients("load.clients", clients)?;
                self.context(context_tokens, own_tokens, output_tokens, rounds)
            }
            Load::Again { context_tokens, own_tokens, output_tokens, rounds } => {
                self.context(context_tokens, own_tokens, output_tokens, rounds)
            }
            Load::Stall {
                clients,
                client_prompt_tokens,
                client_output_tokens,
                long_prompt_tokens,
                long_output_tokens,
                lead_chunks,
            } => {
                self.clients("load.clients", clients)?;
                self.tokens("load.client_prompt_tokens", client_prompt_tokens)?;
                self.tokens("load.client_output_tokens", client_output_tokens)?;
                self.tokens("load.long_prompt_tokens", long_prompt_tokens)?;
                self.tokens("load.long_output_tokens", long_output_tokens)?;
                self.whole("load.lead_chunks", lead_chunks.into(), 1, client_output_tokens.into())
            }
        }
    }

    fn context(&self, context: u32, own: u32, output: u32, rounds: u32) -> Result<(), LoadgenError> {
        self.tokens("load.context_tokens", context)?;
        self.tokens("load.own_tokens", own)?;
        self.tokens("load.output_tokens", output)?;
        self.whole("load.rounds", rounds.into(), 1, MAX_ROUNDS.into())
    }

    fn clients(&self, field: &'static str, value: u32) -> Result<(), LoadgenError> {
        self.whole(field, value.into(), 1, MAX_CLIENTS.into())
    }

    fn tokens(&self, field: &'static str, value: u32) -> Result<(), LoadgenError> {
        self.whole(field, value.into(), 1, MAX_TOKENS.into())
    }

    fn whole(&self, field: &'static str, value: u64, least: u64, most: u64) -> Result<(), LoadgenError> {
        if (least..=most).contains(&value) { Ok(()) } else { self.refuse(field, &value, format!("{least} to {most}")) }
    }

    fn positive(&self, field: &'static str, value: f64, most: f64) -> Result<(), LoadgenError> {
        let in_range = value > 0.0 && value <= most; // false for NaN too
        if in_range { Ok(()) } else { self.refuse(field, &value, format!("above 0 and at most {most}")) }
    }

    fn refuse(&self, field: &'static str, value: &dyn ToString, range: String) -> Result<(), LoadgenError> {
        Err(LoadgenError::OutOfRange { origin: self.origin.to_owned(), field, value: value.to_string(), range })
    }
}
