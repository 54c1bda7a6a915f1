//! Servers that fail in every way we could think of: each failure is a record with its kind, no run hangs, and a run
//! without any success is an error.

use std::time::Duration;

use crate::fake_server::{FakeServer, Manner};
use sconce_loadgen::{LoadgenError, Report, RunOptions, Target, Workload, run};
use serde_json::json;

/// No test may wait longer: a hang is then a failure and not a stuck suite.
const PATIENCE: Duration = Duration::from_secs(60);

fn workload(first_token_ms: u64, idle_ms: u64, total_ms: u64) -> Workload {
    let text = format!(
        "name = 'test'\nseed = 5\n[load]\nkind = 'closed'\nclients = 2\nrequests = 2\nprompt_tokens = 30\noutput_tokens = 8\n\
         [timeouts]\nfirst_token_ms = {first_token_ms}\nidle_ms = {idle_ms}\ntotal_ms = {total_ms}"
    );
    Workload::parse(&text, "test").expect("a workload")
}

async fn try_run(base_url: &str, workload: &Workload) -> Result<Report, LoadgenError> {
    let target = Target { base_url: base_url.to_owned(), model: None, api_key: None };
    let options = RunOptions::default();
    tokio::time::timeout(PATIENCE, run(&target, workload, &options, |_| {})).await.expect("a run ends")
}

/// Runs against a server of this manner, of which no request succeeds, and gives what the error says of them.
async fn failures(manner: Manner, workload: &Workload) -> String {
    let server = FakeServer::start(manner).await;
    match try_run(&server.base_url, workload).await {
        Err(LoadgenError::NoSuccess { requests: 2, failures, .. }) => failures,
        other => panic!("expected a run without success, found {other:?}"),
    }
}

#[tokio::test]
async fn a_refusal_is_recorded_with_its_status_and_message() {
    let found = failures(Manner::TooManyRequests, &workload(5_000, 5_000, 5_000)).await;
    assert_eq!(found, "2 × http_429: too many requests");
}

#[tokio::test]
async fn malformed_json_is_recorded_with_what_it_was() {
    let found = failures(Manner::MalformedJson, &workload(5_000, 5_000, 5_000)).await;
    assert!(found.starts_with("2 × malformed: ") && found.contains("{\"choices\": ["), "{found}");
}

#[tokio::test]
async fn an_error_event_is_the_servers_error() {
    let found = failures(Manner::ErrorEvent, &workload(5_000, 5_000, 5_000)).await;
    assert_eq!(found, "2 × server_error: out of memory");
}

#[tokio::test]
async fn a_connection_dropped_midway_is_a_disconnection() {
    let found = failures(Manner::DropsAfter(3), &workload(5_000, 5_000, 5_000)).await;
    assert!(found.starts_with("2 × disconnected: "), "{found}");
}

#[tokio::test]
async fn a_stall_midway_ends_at_the_idle_timeout() {
    let found = failures(Manner::StallsAfter(3), &workload(20_000, 200, 20_000)).await;
    assert!(found.starts_with("2 × idle_timeout: "), "{found}");
}

#[tokio::test]
async fn silence_and_comments_before_the_first_token_end_at_its_timeout() {
    let found = failures(Manner::StallsAfter(0), &workload(300, 20_000, 20_000)).await;
    assert!(found.starts_with("2 × first_token_timeout: "), "{found}");
    let found = failures(Manner::CommentsOnly, &workload(300, 20_000, 20_000)).await;
    assert!(found.starts_with("2 × first_token_timeout: "), "{found}");
}

#[tokio::test]
async fn the_whole_request_has_an_end_of_its_own() {
    let found = failures(Manner::CommentsOnly, &workload(20_000, 20_000, 300)).await;
    assert!(found.starts_with("2 × total_timeout: "), "{found}");
}

#[tokio::test]
async fn an_answer_that_is_no_stream_is_not_taken_for_one() {
    let found = failures(Manner::NotAStream, &workload(5_000, 5_000, 5_000)).await;
    assert!(found.starts_with("2 × disconnected: the answer ended without an event"), "{found}");
}

#[tokio::test]
async fn a_line_without_end_is_cut_at_its_bound() {
    let found = failures(Manner::EndlessLine, &workload(20_000, 20_000, 20_000)).await;
    assert!(found.starts_with("2 × malformed: a line or event"), "{found}");
}

#[tokio::test]
async fn tokens_without_end_are_cut_at_their_bound() {
    let found = failures(Manner::EndlessTokens, &workload(20_000, 20_000, 20_000)).await;
    assert!(found.starts_with("2 × too_much_output: "), "{found}");
}

#[tokio::test]
async fn an_answer_without_text_is_no_success() {
    let found = failures(Manner::NoText, &workload(5_000, 5_000, 5_000)).await;
    assert!(found.starts_with("2 × no_text: "), "{found}");
}

#[tokio::test]
async fn a_slow_first_token_is_measured_and_is_no_failure() {
    let server = FakeServer::start(Manner::SlowFirstToken(150)).await;
    let report = try_run(&server.base_url, &workload(20_000, 20_000, 20_000)).await.expect("a report");
    assert_eq!(report.all.completed, 2);
    // The fake server's own sleep is a lower bound, whatever the machine.
    assert!(report.requests.iter().all(|record| record.ttft_ms.is_some_and(|ttft| ttft >= 149.0)));
}

#[tokio::test]
async fn without_usage_chunks_are_counted_and_the_table_says_so() {
    let server = FakeServer::start(Manner::NoUsage).await;
    let report = try_run(&server.base_url, &workload(5_000, 5_000, 5_000)).await.expect("a report");
    assert_eq!((report.all.completed, report.all.output_tokens, report.all.output_from_usage), (2, 16, false));
    assert_eq!((report.all.prompt_tokens, report.all.cached_tokens), (None, None));
    let table = report.table();
    assert!(report.calibration.note.is_some() && table.contains("reports no usage"), "{table}");
}

#[tokio::test]
async fn answers_that_end_early_are_told_apart() {
    let server = FakeServer::start(Manner::EndsEarly).await;
    let report = try_run(&server.base_url, &workload(5_000, 5_000, 5_000)).await.expect("a report");
    assert_eq!((report.all.completed, report.all.short, report.all.output_tokens), (2, 2, 8));
    assert!(report.table().contains("ignore_eos"));
}

#[tokio::test]
async fn a_run_goes_on_beside_failures_and_counts_them() {
    let server = FakeServer::start(Manner::EverySecondRefused).await;
    let mut workload = workload(5_000, 5_000, 5_000);
    workload.load = sconce_loadgen::Load::Closed { clients: 2, requests: 10, prompt_tokens: 30, output_tokens: 8 };
    let report = try_run(&server.base_url, &workload).await.expect("a report");
    assert_eq!((report.all.completed, report.all.failed), (5, 5));
    assert_eq!(report.all.failures.get("http_429"), Some(&5));
    assert_eq!(report.figure("failed"), Some(0.5));
    assert!(report.table().contains("5 of 10 requests failed (5 × http_429)"), "{}", report.table());
}

#[tokio::test]
async fn a_stall_workload_ends_when_its_clients_hang() {
    let server = FakeServer::start(Manner::StallsAfter(3)).await;
    let mut workload = workload(20_000, 300, 20_000);
    workload.load = sconce_loadgen::Load::Stall {
        clients: 2,
        client_prompt_tokens: 10,
        client_output_tokens: 50,
        long_prompt_tokens: 30,
        long_output_tokens: 2,
        lead_chunks: 10,
    };
    let report = try_run(&server.base_url, &workload).await.expect("the long prompts succeed");
    assert_eq!((report.all.completed, report.all.failures.get("idle_timeout")), (2, Some(&2)));
}

#[tokio::test]
async fn nothing_at_the_address_is_said_at_once() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let base_url = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let error = try_run(&base_url, &workload(5_000, 5_000, 5_000)).await.expect_err("nobody there");
    assert!(matches!(error, LoadgenError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_server_without_models_needs_a_model_from_the_caller() {
    let server = FakeServer::start_with(Manner::Good, Duration::ZERO, json!({ "data": [] })).await;
    let workload = workload(5_000, 5_000, 5_000);
    let error = try_run(&server.base_url, &workload).await.expect_err("no model");
    assert!(matches!(error, LoadgenError::NoModel { .. }), "{error}");
    let target = Target { base_url: server.base_url.clone(), model: Some("mine".to_owned()), api_key: None };
    let report = run(&target, &workload, &RunOptions::default(), |_| {}).await.expect("a report");
    assert_eq!(report.server.model, "mine");
}

#[tokio::test]
async fn a_key_that_no_header_can_carry_is_refused_and_not_shown() {
    let target =
        Target { base_url: "http://127.0.0.1:1".to_owned(), model: None, api_key: Some("se\ncret".to_owned()) };
    assert!(!format!("{target:?}").contains("cret"));
    let error = run(&target, &workload(1, 1, 1), &RunOptions::default(), |_| {}).await.expect_err("a bad key");
    assert!(matches!(error, LoadgenError::ApiKey), "{error}");
}
