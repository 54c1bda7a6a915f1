//! Whole runs of each kind of workload against a server in this process. Nothing here asserts how fast anything is.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::fake_server::{FakeServer, Manner, count_tokens};
use sconce_loadgen::{LoadgenError, Outcome, Progress, Report, RunOptions, Target, Workload, compare, run};
use serde_json::{Value, json};

const CLOSED: &str = "kind = 'closed'\nclients = 3\nrequests = 7\nprompt_tokens = 50\noutput_tokens = 6";

fn workload(load: &str) -> Workload {
    let timeouts = "[timeouts]\nfirst_token_ms = 20_000\nidle_ms = 20_000\ntotal_ms = 30_000";
    Workload::parse(&format!("name = 'test'\nseed = 5\n{timeouts}\n[load]\n{load}"), "test").expect("a workload")
}

fn target(server: &FakeServer) -> Target {
    Target { base_url: server.base_url.clone(), model: None, api_key: Some("key".to_owned()) }
}

async fn measure(server: &FakeServer, workload: &Workload) -> Report {
    run(&target(server), workload, &RunOptions::default(), |_| {}).await.expect("a report")
}

fn prompts(server: &FakeServer) -> Vec<String> {
    server.measured().iter().filter_map(|body| body["prompt"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_closed_loop_makes_every_request_and_never_more_at_once_than_it_has_clients() {
    let server = FakeServer::start(Manner::Good).await;
    let report = measure(&server, &workload(CLOSED)).await;
    assert_eq!((report.all.requests, report.all.completed, report.all.failed, report.all.short), (7, 7, 0, 0));
    assert_eq!((report.all.output_tokens, report.all.output_from_usage), (42, true));
    assert_eq!(report.all.cached_tokens, Some(21));
    assert!(server.most_open() <= 3, "{}", server.most_open());
    assert_eq!((report.server.model.as_str(), report.server.software.as_deref()), ("fake-1", Some("fake/0.1")));
    for record in &report.requests {
        assert_eq!((record.output_tokens, record.gaps_ms.len()), (6, 5));
        assert_eq!(record.finish_reason.as_deref(), Some("length"));
        let sum = record.ttft_ms.expect("a first token") + record.gaps_ms.iter().sum::<f64>();
        assert!(sum <= record.e2e_ms().expect("completed") + 0.01, "{record:?}");
    }
}

#[tokio::test]
async fn requests_ask_for_what_makes_servers_comparable() {
    let server = FakeServer::start(Manner::Good).await;
    let mut extra_body = serde_json::Map::new();
    extra_body.insert("ignore_eos".to_owned(), Value::Null);
    extra_body.insert("cache_prompt".to_owned(), json!(false));
    measure(&server, &workload(CLOSED)).await;
    let body = server.measured().remove(0);
    assert_eq!((&body["temperature"], &body["max_tokens"], &body["ignore_eos"]), (&json!(0), &json!(6), &json!(true)));
    assert_eq!((&body["stream"], &body["stream_options"]), (&json!(true), &json!({ "include_usage": true })));
    assert_eq!((&body["model"], body.get("cache_prompt")), (&json!("fake-1"), None));
    let options = RunOptions { extra_body, ..RunOptions::default() };
    run(&target(&server), &workload(CLOSED), &options, |_| {}).await.expect("a report");
    let body = server.measured().remove(7);
    assert_eq!((body.get("ignore_eos"), &body["cache_prompt"]), (None, &json!(false)));
}

#[tokio::test]
async fn prompts_have_the_length_that_was_asked_for_whatever_the_tokenizer_makes_of_words() {
    let server = FakeServer::start(Manner::Good).await;
    let report = measure(&server, &workload(CLOSED)).await;
    assert_eq!((report.calibration.tokens_per_word, report.calibration.overhead_tokens), (1.5, 2.0));
    for record in &report.requests {
        let tokens = record.prompt_tokens.expect("usage");
        assert!((49..=51).contains(&tokens), "{tokens}");
    }
    for prompt in prompts(&server) {
        assert!((49..=51).contains(&count_tokens(&prompt)));
    }
}

#[tokio::test]
async fn no_prompt_begins_like_another_nor_like_the_calibration_nor_like_the_run_before() {
    let server = FakeServer::start(Manner::Good).await;
    measure(&server, &workload(CLOSED)).await;
    let options = RunOptions { nonce: Some(1), ..RunOptions::default() };
    run(&target(&server), &workload(CLOSED), &options, |_| {}).await.expect("a report");
    let opening = |prompt: &str| prompt.split(' ').take(3).collect::<Vec<_>>().join(" ");
    let mut openings: Vec<String> = prompts(&server).iter().map(|prompt| opening(prompt)).collect();
    let calibration = server.all().remove(0)["prompt"].as_str().map(opening);
    openings.extend(calibration);
    assert_eq!(openings.len(), 15);
    openings.sort();
    openings.dedup();
    assert_eq!(openings.len(), 15);
}

#[tokio::test]
async fn a_fixed_nonce_sends_the_same_bytes_again() {
    let server = FakeServer::start(Manner::Good).await;
    let options = RunOptions { nonce: Some(7), ..RunOptions::default() };
    for _run in 0..2 {
        run(&target(&server), &workload(CLOSED), &options, |_| {}).await.expect("a report");
    }
    let mut prompts = prompts(&server);
    let mut second = prompts.split_off(7);
    prompts.sort();
    second.sort();
    assert_eq!(prompts, second);
}

#[tokio::test]
async fn clients_of_a_shared_context_send_it_alike_and_then_their_own_question() {
    let server = FakeServer::start(Manner::Good).await;
    let load =
        "kind = 'shared_context'\nclients = 4\ncontext_tokens = 200\nown_tokens = 15\noutput_tokens = 4\nrounds = 2";
    let report = measure(&server, &workload(load)).await;
    assert_eq!(report.all.completed, 8);
    let prompts = prompts(&server);
    let context =
        |prompt: &String| prompt.split_once('\n').map(|(context, _own)| context.to_owned()).expect("a question");
    let own = |prompt: &String| prompt.split_once('\n').map(|(_context, own)| own.to_owned()).expect("a question");
    for round in prompts.chunks(4) {
        assert!(round.iter().all(|prompt| context(prompt) == context(&round[0])));
    }
    assert_ne!(context(&prompts[0]), context(&prompts[4]));
    let mut questions: Vec<String> = prompts.iter().map(own).collect();
    questions.sort();
    questions.dedup();
    assert_eq!(questions.len(), 8);
    assert!(prompts.iter().all(|prompt| (210..=220).contains(&count_tokens(prompt))));
}

#[tokio::test]
async fn asking_again_measures_cold_and_warm_apart() {
    let server = FakeServer::start(Manner::Good).await;
    let load = "kind = 'again'\ncontext_tokens = 100\nown_tokens = 15\noutput_tokens = 4\nrounds = 2";
    let report = measure(&server, &workload(load)).await;
    let groups: Vec<(&str, usize)> =
        report.groups.iter().map(|group| (group.group.as_str(), group.completed)).collect();
    assert_eq!(groups, [("cold", 2), ("warm", 2)]);
    assert_eq!(server.most_open(), 1);
    assert!(report.figure("warm ttft p50").is_some() && report.figure("ttft warm / cold").is_some());
    let prompts = prompts(&server);
    let context = |index: usize| prompts[index].split_once('\n').map(|(context, _own)| context);
    assert_eq!(context(0), context(1));
    assert_ne!(context(1), context(2));
}

#[tokio::test]
async fn a_stall_measures_the_long_prompt_alone_and_beside_clients_and_then_cuts_them() {
    let models = json!({ "data": [{ "id": "fake-1" }] });
    let server = FakeServer::start_with(Manner::Good, Duration::from_millis(5), models).await;
    let load = "kind = 'stall'\nclients = 2\nclient_prompt_tokens = 20\nclient_output_tokens = 100_000\n\
                long_prompt_tokens = 100\nlong_output_tokens = 3\nlead_chunks = 4";
    let report = measure(&server, &workload(load)).await;
    let groups: Vec<(&str, usize, usize)> =
        report.groups.iter().map(|group| (group.group.as_str(), group.completed, group.cut)).collect();
    assert_eq!(groups, [("long alone", 1, 0), ("decoding", 0, 2), ("long", 1, 0)]);
    assert_eq!(report.figure("clients decoding throughout"), Some(2.0));
    assert!(report.figure("gap beside long, worst").is_some() && report.figure("ttft long / alone").is_some());
    for client in report.requests.iter().filter(|record| record.group == "decoding") {
        assert_eq!(client.outcome, Outcome::Cut);
        assert!(client.output_tokens > 4 && !client.output_from_usage, "{client:?}");
    }
}

#[tokio::test]
async fn a_stall_whose_clients_end_too_early_says_so_and_ends() {
    let server = FakeServer::start(Manner::Good).await;
    let load = "kind = 'stall'\nclients = 2\nclient_prompt_tokens = 20\nclient_output_tokens = 4\n\
                long_prompt_tokens = 100\nlong_output_tokens = 3\nlead_chunks = 4";
    let report = measure(&server, &workload(load)).await;
    assert_eq!(report.all.completed, 4);
    assert_eq!(report.figure("clients decoding throughout"), Some(0.0));
    assert_eq!(report.figure("gap beside long, worst"), None);
}

#[tokio::test]
async fn an_open_loop_sends_at_its_times_and_counts_goodput() {
    let server = FakeServer::start(Manner::Good).await;
    let load =
        "kind = 'open'\nrequests = 30\nrate_per_s = 300.0\nmax_in_flight = 100\nprompt_tokens = 20\noutput_tokens = 4";
    let mut workload = workload(load);
    workload.slo = Some(sconce_loadgen::Slo { ttft_ms: 60_000.0, tpot_ms: 60_000.0 });
    let report = measure(&server, &workload).await;
    assert_eq!((report.all.completed, report.all.good), (30, Some(30)));
    assert!(
        report.requests.iter().all(|record| record.scheduled_ms.is_some_and(|due| due <= record.started_ms + 0.01))
    );
    assert!(report.figure("sent late, worst").is_some() && report.figure("goodput").is_some());
}

#[tokio::test]
async fn an_open_loop_never_has_more_in_flight_than_allowed_and_records_what_it_did_not_send() {
    let models = json!({ "data": [{ "id": "fake-1" }] });
    let server = FakeServer::start_with(Manner::Good, Duration::from_millis(100), models).await;
    let load =
        "kind = 'open'\nrequests = 20\nrate_per_s = 1000.0\nmax_in_flight = 2\nprompt_tokens = 20\noutput_tokens = 4";
    let report = measure(&server, &workload(load)).await;
    assert_eq!(report.all.requests, 20);
    assert!(
        report.all.completed >= 2 && report.all.failures.contains_key("in_flight_limit"),
        "{:?}",
        report.all.failures
    );
    assert_eq!(report.all.completed + report.all.failed, 20);
    assert!(server.most_open() <= 2);
}

#[tokio::test]
async fn chat_is_measured_by_its_content() {
    let server = FakeServer::start(Manner::Good).await;
    let mut workload = workload(CLOSED);
    workload.endpoint = sconce_loadgen::Endpoint::Chat;
    let report = measure(&server, &workload).await;
    assert_eq!((report.all.completed, report.all.output_tokens), (7, 42));
    assert!(report.requests.iter().all(|record| record.gaps_ms.len() == 5));
}

#[tokio::test]
async fn progress_names_the_calibration_and_then_counts_to_the_end() {
    let server = FakeServer::start(Manner::Good).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let (target, workload, options) = (target(&server), workload(CLOSED), RunOptions::default());
    let report = run(&target, &workload, &options, move |progress| {
        sink.lock().expect("no panic").push(progress);
    });
    report.await.expect("a report");
    let seen = seen.lock().expect("no panic");
    assert_eq!(seen.first(), Some(&Progress::Calibrating));
    assert!(matches!(seen.get(1), Some(Progress::Calibrated(_))));
    let last = seen.last().cloned();
    assert!(
        matches!(last, Some(Progress::Running { ended: 7, failed: 0, total: 7, chunks }) if chunks >= 42),
        "{last:?}"
    );
}

#[tokio::test]
async fn a_report_survives_its_file_and_its_table_names_what_it_measured() {
    let server = FakeServer::start(Manner::Good).await;
    let report = measure(&server, &workload(CLOSED)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("result.json");
    report.save(&path).expect("written");
    let text = std::fs::read_to_string(&path).expect("a file");
    assert!(!text.contains("key"), "an API key is not for a file");
    assert_eq!(Report::load(&path).expect("read"), report);
    let table = report.table();
    for word in ["fake-1", "TTFT", "TPOT", "p99", "output rate", "tokens/s", "client"] {
        assert!(table.contains(word), "{word} is not in\n{table}");
    }
    std::fs::write(&path, "{}").expect("written");
    assert!(matches!(Report::load(&path), Err(LoadgenError::Parse { .. })));
    assert!(matches!(Report::load(&folder.path().join("none.json")), Err(LoadgenError::Read { .. })));
}

#[tokio::test]
async fn results_of_one_workload_compare_and_of_two_do_not() {
    let server = FakeServer::start(Manner::Good).await;
    let a = measure(&server, &workload(CLOSED)).await;
    let mut b = a.clone();
    for figure in &mut b.figures {
        figure.value *= 2.0;
    }
    let comparison = compare(&a, &b).expect("the same workload");
    let better = |name: &str| comparison.rows.iter().find(|row| row.name == name).and_then(|row| row.a_better_by);
    assert_eq!(better("output rate"), Some(0.5));
    assert_eq!(better("ttft p50"), Some(2.0));
    assert_eq!(better("failed"), None);
    assert!(comparison.to_string().contains("2.00 ×") && comparison.notes.is_empty(), "{comparison}");
    b.all.short = 3;
    b.calibration.note = Some("the server reports no usage".to_owned());
    b.requests[0].output_from_usage = false;
    b.requests[1].outcome = Outcome::Cut;
    b.requests[1].output_from_usage = false;
    let notes = compare(&a, &b).expect("the same workload").notes;
    assert!(notes.iter().all(|note| note.starts_with("b: ")) && notes.len() == 3, "{notes:?}");
    for words in ["3 answers ended early", "no usage for 1 of 7 answers", "prompt lengths are guesses"] {
        assert!(notes.iter().any(|note| note.contains(words)) && b.table().contains(words), "{words}: {notes:?}");
    }
    b.workload = workload(&CLOSED.replace("requests = 7", "requests = 8"));
    let refused = compare(&a, &b).expect_err("another load").to_string();
    assert!(refused.contains("load"), "{refused}");
}
