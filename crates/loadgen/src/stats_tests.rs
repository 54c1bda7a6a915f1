//! Tests of the statistics against values worked out by hand.

use super::*;
use crate::record::{Failure, FailureKind};

/// A completed request that starts at `started_ms` and has these gaps.
fn record(started_ms: f64, ttft_ms: f64, gaps_ms: &[f64]) -> RequestRecord {
    let ended_ms = started_ms + ttft_ms + gaps_ms.iter().sum::<f64>();
    RequestRecord {
        group: "client".to_owned(),
        index: 0,
        scheduled_ms: None,
        started_ms,
        ended_ms,
        prompt_tokens: Some(10),
        cached_tokens: None,
        max_tokens: gaps_ms.len() as u32 + 1,
        output_tokens: gaps_ms.len() as u32 + 1,
        output_from_usage: true,
        ttft_ms: Some(ttft_ms),
        gaps_ms: gaps_ms.to_vec(),
        finish_reason: Some("length".to_owned()),
        outcome: Outcome::Completed,
    }
}

fn failed(kind: FailureKind) -> RequestRecord {
    RequestRecord { ttft_ms: None, outcome: Outcome::Failed(Failure::new(kind, "")), ..record(0.0, 0.0, &[]) }
}

fn summary(records: &[RequestRecord], slo: Option<Slo>) -> GroupSummary {
    GroupSummary::of("client", &records.iter().collect::<Vec<_>>(), slo)
}

#[test]
fn percentiles_interpolate_between_the_closest_ranks() {
    // As numpy.percentile gives them.
    let values = [15.0, 20.0, 35.0, 40.0, 50.0];
    for (share, expected) in
        [(0.0, 15.0), (0.05, 16.0), (0.3, 23.0), (0.4, 29.0), (0.5, 35.0), (0.95, 48.0), (1.0, 50.0)]
    {
        let found = percentile(&values, share).expect("values");
        assert!((found - expected).abs() < 1e-9, "share {share}: {found}");
    }
    assert_eq!(percentile(&[], 0.5), None);
    assert_eq!(percentile(&[7.0], 0.99), Some(7.0));
    assert_eq!(percentile(&values, 2.0), Some(50.0));
}

#[test]
fn a_distribution_of_one_to_a_hundred_is_exact() {
    let distribution = Distribution::of((1..=100).rev().map(f64::from)).expect("values");
    assert_eq!((distribution.count, distribution.mean), (100, 50.5));
    assert_eq!((distribution.min, distribution.max), (1.0, 100.0));
    assert_eq!(distribution.p50, 50.5);
    assert!((distribution.p90 - 90.1).abs() < 1e-9);
    assert!((distribution.p99 - 99.01).abs() < 1e-9);
    assert_eq!(Distribution::of([]), None);
}

#[test]
fn tpot_leaves_out_the_first_token_and_counts_tokens_rather_than_chunks() {
    assert_eq!(record(0.0, 500.0, &[10.0, 20.0, 30.0]).tpot_ms(), Some(20.0));
    let two_tokens_a_chunk = RequestRecord { output_tokens: 7, ..record(0.0, 500.0, &[10.0, 20.0, 30.0]) };
    assert_eq!(two_tokens_a_chunk.tpot_ms(), Some(10.0));
    assert_eq!(record(0.0, 500.0, &[]).tpot_ms(), None);
}

#[test]
fn throughput_is_over_the_time_from_the_first_start_to_the_last_end() {
    let found = summary(&[record(1_000.0, 500.0, &[500.0]), record(2_000.0, 500.0, &[500.0])], None);
    assert_eq!(found.wall_ms, 2_000.0);
    assert_eq!((found.requests_per_s, found.output_tokens_per_s), (1.0, 2.0));
    assert_eq!((found.good, found.goodput_requests_per_s), (None, None));
    assert_eq!(found.steady_tokens_per_s, None);
    assert_eq!(found.prompt_tokens.map(|prompt| prompt.p50), Some(10.0));
}

#[test]
fn the_steady_rate_counts_only_the_time_when_all_decode() {
    // Chunks at 100, 200, 300, 400 and at 250, 350, 450: all decode from 250 to 400, in which 300, 350 and 400 arrive.
    let records = [record(0.0, 100.0, &[100.0; 3]), record(0.0, 250.0, &[100.0; 2])];
    let found = summary(&records, None).steady_tokens_per_s.expect("they overlap");
    assert!((found - 20.0).abs() < 1e-9, "{found}");
}

#[test]
fn goodput_wants_both_limits_kept_and_the_request_completed() {
    let slo = Slo { ttft_ms: 100.0, tpot_ms: 10.0 };
    let records = [
        record(0.0, 100.0, &[10.0, 10.0]),
        record(0.0, 101.0, &[10.0, 10.0]),
        record(0.0, 100.0, &[10.0, 11.0]),
        record(0.0, 100.0, &[]),
        failed(FailureKind::Http(429)),
    ];
    let found = summary(&records, Some(slo));
    assert_eq!(found.good, Some(2));
    assert_eq!(found.wall_ms, 121.0);
    assert_eq!(found.goodput_requests_per_s, Some(16.528_926));
}

#[test]
fn a_request_that_the_client_sent_late_waits_from_the_time_that_was_set_for_it() {
    let late = RequestRecord { scheduled_ms: Some(40.0), ..record(100.0, 50.0, &[10.0]) };
    let slo = |ttft_ms| Some(Slo { ttft_ms, tpot_ms: 10.0 });
    let found = summary(std::slice::from_ref(&late), slo(100.0));
    assert_eq!(found.ttft_ms.map(|ttft| ttft.max), Some(110.0));
    assert_eq!(found.e2e_ms.map(|e2e| e2e.max), Some(120.0));
    assert_eq!(found.good, Some(0));
    assert_eq!(summary(&[late], slo(110.0)).good, Some(1));
    // A timer that rings a little early makes no request quicker.
    let early = RequestRecord { scheduled_ms: Some(100.5), ..record(100.0, 50.0, &[10.0]) };
    assert_eq!(summary(&[early], None).ttft_ms.map(|ttft| ttft.max), Some(50.0));
}

#[test]
fn failures_are_counted_by_kind_and_left_out_of_the_latencies() {
    let records = [
        record(0.0, 100.0, &[5.0]),
        failed(FailureKind::Http(429)),
        failed(FailureKind::Http(429)),
        failed(FailureKind::IdleTimeout),
    ];
    let found = summary(&records, None);
    assert_eq!((found.requests, found.completed, found.failed), (4, 1, 3));
    let kinds: Vec<(&str, usize)> = found.failures.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
    assert_eq!(kinds, [("http_429", 2), ("idle_timeout", 1)]);
    assert_eq!(found.ttft_ms.map(|ttft| ttft.count), Some(1));
    assert_eq!(found.output_tokens, 2);
}

#[test]
fn cached_tokens_are_summed_over_the_requests_that_state_them() {
    let cached = RequestRecord { cached_tokens: Some(8), ..record(0.0, 1.0, &[1.0]) };
    let found = summary(&[cached, record(0.0, 1.0, &[1.0])], None);
    assert_eq!((found.cached_tokens, found.prompt_tokens_with_cache_count), (Some(8), 10));
    assert_eq!(summary(&[record(0.0, 1.0, &[])], None).cached_tokens, None);
}

#[test]
fn an_answer_that_ends_early_is_counted_as_short() {
    let short = RequestRecord { max_tokens: 32, ..record(0.0, 1.0, &[1.0]) };
    assert_eq!(summary(&[short, record(0.0, 1.0, &[1.0])], None).short, 1);
}

#[test]
fn no_records_give_a_summary_of_nothing() {
    let found = summary(&[], None);
    assert_eq!((found.requests, found.wall_ms, found.output_tokens_per_s), (0, 0.0, 0.0));
    assert_eq!(found.ttft_ms, None);
}
