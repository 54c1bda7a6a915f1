//! A run from the target to the report.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::calibrate::calibrate;
use crate::client::Client;
use crate::drive::{Session, drive};
use crate::prompts::Prompts;
use crate::record::RequestRecord;
use crate::report::Facts;
use crate::{Calibration, LoadgenError, Report, Workload};

/// The server to measure.
#[derive(Clone)]
pub struct Target {
    /// Such as `http://127.0.0.1:8080`; a trailing `/v1` is understood. Plain HTTP only.
    pub base_url: String,
    /// The model to ask for; None for the first that the server lists.
    pub model: Option<String>,
    /// Sent as a bearer token; never written to a result.
    pub api_key: Option<String>,
}

impl fmt::Debug for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Target")
            .field("base_url", &self.base_url)
            .field("model", &self.model)
            .field("api_key", &self.api_key.as_ref().map(|_key| "(hidden)"))
            .finish()
    }
}

/// What a caller may choose about a run.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Draws the words that prompts open with. None takes the time of day, so that a server's cache from an earlier run is
    /// of no use; fix it to send the same bytes again.
    pub nonce: Option<u64>,
    /// Fields for every request's body, which replace the usual ones; a null removes one.
    pub extra_body: Map<String, Value>,
    /// Leaves the single gaps out of the report's records once they are summed up: a smaller file.
    pub drop_gaps: bool,
}

/// How far a run has come.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// The tokenizer's words are being counted.
    Calibrating,
    /// They were.
    Calibrated(Calibration),
    /// Requests are under way. Told at every end of one, and four times a second.
    Running {
        /// Requests that have ended, failed ones included.
        ended: u32,
        /// Those that failed.
        failed: u32,
        /// Requests in all.
        total: u32,
        /// Chunks of output so far, those of the calibration included.
        chunks: u64,
    },
}

/// Puts `workload` on `target` and measures. Must run inside a tokio runtime with time and I/O enabled; dropping the future
/// ends all requests.
///
/// # Errors
/// The workload or the address is refused, nothing answers, no model is known, or not one request succeeded.
pub async fn run(
    target: &Target,
    workload: &Workload,
    options: &RunOptions,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<Report, LoadgenError> {
    workload.check(&workload.name)?;
    let mut client = Client::new(target, workload.endpoint, workload.timeouts, options.extra_body.clone())?;
    let server = client.identify().await?;
    let started_unix_ms = unix_ms();
    let nonce = options.nonce.unwrap_or(started_unix_ms);
    let prompts = Prompts::new(workload.seed, nonce);
    progress(Progress::Calibrating);
    let calibration = calibrate(&client, &prompts).await;
    progress(Progress::Calibrated(calibration.clone()));
    let origin = Instant::now();
    let session = Arc::new(Session { client, prompts, calibration: calibration.clone(), origin });
    let mut records = drive(session, workload, &mut progress).await;
    if !records.iter().any(RequestRecord::counts) {
        return Err(LoadgenError::NoSuccess {
            workload: workload.name.clone(),
            requests: records.len(),
            failures: describe_failures(&records),
        });
    }
    records.sort_by(|a, b| a.started_ms.total_cmp(&b.started_ms).then(a.index.cmp(&b.index)));
    let extra_body = options.extra_body.clone();
    let facts = Facts { server, started_unix_ms, nonce, extra_body, calibration };
    let mut report = Report::new(workload.clone(), facts, records);
    if options.drop_gaps {
        report.drop_gaps();
    }
    Ok(report)
}

/// Milliseconds since 1970 by the system's clock; 0 for a clock before that.
fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}

/// Each kind of failure with its count and one message.
fn describe_failures(records: &[RequestRecord]) -> String {
    let mut kinds: BTreeMap<_, (usize, &str)> = BTreeMap::new();
    for failure in records.iter().filter_map(RequestRecord::failure) {
        kinds.entry(failure.kind).or_insert((0, &failure.message)).0 += 1;
    }
    let described: Vec<String> =
        kinds.into_iter().map(|(kind, (count, message))| format!("{count} × {kind}: {message}")).collect();
    described.join("; ")
}
