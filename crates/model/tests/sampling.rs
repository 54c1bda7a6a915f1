//! The sampler against exact distributions and naive references.

use proptest::prelude::*;
use sconce_model::sampling::{Sampled, Sampler, SamplingError, SamplingParams};

/// Draws without the banned tokens, and takes what was drawn into the history.
fn sample_without(
    sampler: &mut Sampler,
    logits: &[f32],
    position: u64,
    banned: &[u32],
) -> Result<Sampled, SamplingError> {
    let sampled = sampler.draw(logits, position, banned, None)?;
    sampler.record(sampled.token);
    Ok(sampled)
}

fn sample(sampler: &mut Sampler, logits: &[f32], position: u64) -> Result<Sampled, SamplingError> {
    sample_without(sampler, logits, position, &[])
}

fn greedy() -> SamplingParams {
    SamplingParams { temperature: 0.0, ..SamplingParams::default() }
}

fn token(params: &SamplingParams, logits: &[f32], position: u64) -> u32 {
    sample(&mut Sampler::new(params.clone(), &[], 1), logits, position).unwrap().token
}

/// The distribution that the parameters ask for, by sorting everything, in double precision.
fn reference(params: &SamplingParams, logits: &[f32]) -> Vec<f64> {
    let scaled: Vec<f64> = logits.iter().map(|&logit| f64::from(logit) / f64::from(params.temperature)).collect();
    let greatest = scaled.iter().copied().fold(f64::MIN, f64::max);
    let mut weights: Vec<f64> = scaled.iter().map(|value| (value - greatest).exp()).collect();
    for weight in &mut weights {
        if *weight < f64::from(params.min_p) * 0.999_999 {
            *weight = 0.0;
        }
    }
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&left, &right| logits[right].total_cmp(&logits[left]).then(left.cmp(&right)));
    for &id in order.iter().skip(params.top_k.map_or(usize::MAX, |count| count as usize)) {
        weights[id] = 0.0;
    }
    let total: f64 = weights.iter().sum();
    let mut before = 0.0;
    for &id in &order {
        let weight = weights[id];
        if before >= f64::from(params.top_p) * total * 1.000_000_1 {
            weights[id] = 0.0;
        }
        before += weight;
    }
    let total: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / total).collect()
}

/// Logits of a fixed, uneven shape.
fn uneven(count: usize) -> Vec<f32> {
    (0..count).map(|id| ((id * 7919 % 101) as f32 / 101.0).powi(2) * 4.0 - 2.0).collect()
}

fn check_frequencies(params: &SamplingParams, logits: &[f32]) {
    const DRAWS: u64 = 40_000;
    let expected = reference(params, logits);
    let mut counts = vec![0u64; logits.len()];
    let mut sampler = Sampler::new(params.clone(), &[], 42);
    for position in 0..DRAWS {
        counts[sample(&mut sampler, logits, position).unwrap().token as usize] += 1;
    }
    let (mut statistic, mut cells) = (0.0f64, 0.0f64);
    for (count, probability) in counts.iter().zip(&expected) {
        let mean = probability * DRAWS as f64;
        if *probability == 0.0 {
            assert_eq!(*count, 0, "{params:?}: a token that was cut off was drawn");
        } else {
            statistic += (*count as f64 - mean).powi(2) / mean;
            cells += 1.0;
        }
    }
    // Chi-square with n degrees has mean n and variance 2 n; the seed is fixed, so this never flickers.
    assert!(statistic < cells + 4.0 * (2.0 * cells).sqrt(), "{params:?}: {statistic} over {cells} cells");
}

#[test]
fn draws_follow_the_exact_distribution() {
    let base = SamplingParams::default;
    check_frequencies(&base(), &uneven(40));
    check_frequencies(&SamplingParams { temperature: 0.6, ..base() }, &uneven(40));
    check_frequencies(&SamplingParams { temperature: 1.7, ..base() }, &uneven(700));
    check_frequencies(&SamplingParams { top_k: Some(7), ..base() }, &uneven(700));
    check_frequencies(&SamplingParams { top_p: 0.7, ..base() }, &uneven(60));
    check_frequencies(&SamplingParams { min_p: 0.2, temperature: 0.8, ..base() }, &uneven(60));
    check_frequencies(&SamplingParams { top_k: Some(20), top_p: 0.8, min_p: 0.05, ..base() }, &uneven(300));
}

#[test]
fn a_wide_nucleus_is_found_as_well_as_a_narrow_one() {
    // Flat: the nucleus has 90 % of 5,000 tokens. Ties go to the lower id.
    let flat = vec![0.5; 5_000];
    let params = SamplingParams { top_p: 0.9, ..SamplingParams::default() };
    let drawn = (0..3_000).map(|position| token(&params, &flat, position)).max().unwrap();
    assert!((4_300..4_500).contains(&drawn), "{drawn}");
    let params = SamplingParams { top_p: 0.0001, ..SamplingParams::default() };
    assert!((0..100).all(|position| token(&params, &flat, position) == 0));
}

#[test]
fn temperature_zero_takes_the_first_greatest() {
    assert_eq!(token(&greedy(), &[0.5, 3.0, -1.0, 3.0], 9), 1);
}

#[test]
fn the_two_zeros_are_one_logit() {
    // The best two are tokens 0 and 1, whatever the sign of their zeros.
    let params = SamplingParams { top_k: Some(2), ..SamplingParams::default() };
    let mut drawn: Vec<u32> = (0..200).map(|position| token(&params, &[-0.0, 0.0, -0.0, -5.0], position)).collect();
    drawn.sort_unstable();
    drawn.dedup();
    assert_eq!(drawn, [0, 1]);
}

#[test]
fn penalties_count_what_vllm_counts() {
    let logits = [2.0, 1.9, -1.0, 1.5];
    // The repetition penalty sees the prompt, the others do not.
    let repetition = SamplingParams { repetition_penalty: 2.0, ..greedy() };
    assert_eq!(sample(&mut Sampler::new(repetition, &[0, 1], 0), &logits, 0).unwrap().token, 3);
    let presence = SamplingParams { presence_penalty: 2.0, ..greedy() };
    let mut sampler = Sampler::new(presence, &[0, 1, 3], 0);
    let drawn: Vec<u32> = (0..5).map(|position| sample(&mut sampler, &logits, position).unwrap().token).collect();
    assert_eq!(drawn, [0, 1, 3, 0, 0]);
    let frequency = SamplingParams { frequency_penalty: 0.3, ..greedy() };
    let mut sampler = Sampler::new(frequency, &[], 0);
    let drawn: Vec<u32> = (0..6).map(|position| sample(&mut sampler, &logits, position).unwrap().token).collect();
    assert_eq!(drawn, [0, 1, 0, 1, 3, 0]);
}

#[test]
fn a_negative_logit_is_made_smaller_by_repetition() {
    let params = SamplingParams { repetition_penalty: 3.0, ..greedy() };
    assert_eq!(sample(&mut Sampler::new(params, &[0], 0), &[-1.0, -2.0], 0).unwrap().token, 1);
}

#[test]
fn a_bias_lifts_or_sinks_a_token_and_a_ban_excludes_it() {
    let params = SamplingParams { logit_bias: vec![(2, 100.0), (900, 5.0)], ..greedy() };
    let mut sampler = Sampler::new(params, &[], 0);
    let logits = [1.0, 2.0, 0.0];
    assert_eq!(sample(&mut sampler, &logits, 0).unwrap().token, 2);
    assert_eq!(sample_without(&mut sampler, &logits, 0, &[2]).unwrap().token, 1);
    assert_eq!(sample_without(&mut sampler, &logits, 0, &[0, 1, 2]), Err(SamplingError::NothingAllowed));
    let warm = SamplingParams { top_k: Some(3), ..SamplingParams::default() };
    for position in 0..200 {
        let mut sampler = Sampler::new(warm.clone(), &[], 3);
        assert_eq!(sample_without(&mut sampler, &logits, position, &[1, 2]).unwrap().token, 0);
    }
}

#[test]
fn logprobs_are_those_of_the_raw_distribution() {
    let logits = uneven(300);
    let params = SamplingParams {
        temperature: 0.3,
        top_k: Some(2),
        logit_bias: vec![(5, 50.0)],
        logprobs: Some(4),
        ..SamplingParams::default()
    };
    let exact = reference(&SamplingParams::default(), &logits);
    let sampled = sample(&mut Sampler::new(params, &[], 0), &logits, 0).unwrap();
    assert_eq!(sampled.token, 5);
    let logprob = f64::from(sampled.logprob.unwrap());
    assert!((logprob - exact[5].ln()).abs() < 1e-5);
    assert_eq!(sampled.top.len(), 4);
    let mut order: Vec<u32> = (0..300).collect();
    order.sort_by(|&left, &right| logits[right as usize].total_cmp(&logits[left as usize]).then(left.cmp(&right)));
    for ((id, logprob), expected) in sampled.top.iter().zip(order) {
        assert_eq!(*id, expected);
        assert!((f64::from(*logprob) - exact[expected as usize].ln()).abs() < 1e-5);
    }
    let only_chosen = SamplingParams { logprobs: Some(0), ..greedy() };
    let sampled = sample(&mut Sampler::new(only_chosen, &[], 0), &logits, 0).unwrap();
    assert!(sampled.logprob.is_some() && sampled.top.is_empty());
}

#[test]
fn seed_position_and_choice_decide_the_draw() {
    let logits = uneven(500);
    let drawn = |seed: Option<u64>, fallback: u64, choice: u32| -> Vec<u32> {
        let params = SamplingParams { seed, ..SamplingParams::default() };
        let mut sampler = Sampler::new(params, &[], fallback).with_choice(choice);
        (0..50).map(|position| sample(&mut sampler, &logits, position).unwrap().token).collect()
    };
    assert_eq!(drawn(Some(7), 1, 0), drawn(Some(7), 2, 0));
    assert_eq!(drawn(None, 7, 0), drawn(Some(7), 0, 0));
    assert_ne!(drawn(Some(7), 0, 0), drawn(Some(8), 0, 0));
    assert_ne!(drawn(Some(7), 0, 0), drawn(Some(7), 0, 1));
    // Asked for alone and out of order, a position draws the same.
    let params = SamplingParams { seed: Some(7), ..SamplingParams::default() };
    assert_eq!(token(&params, &logits, 31), drawn(Some(7), 0, 0)[31]);
}

#[test]
fn broken_logits_are_an_error_and_not_a_panic() {
    let mut sampler = Sampler::new(SamplingParams::default(), &[], 0);
    for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = sample(&mut sampler, &[0.0, broken], 0).unwrap_err();
        assert!(matches!(error, SamplingError::NotFinite { index: 1, .. }));
    }
    assert_eq!(sample(&mut sampler, &[], 0), Err(SamplingError::NothingAllowed));
    assert!(sample(&mut sampler, &[f32::MAX, f32::MIN, 0.0], 0).is_ok());
}

#[test]
fn every_field_out_of_range_is_named() {
    let default = SamplingParams::default;
    let cases = [
        ("temperature", SamplingParams { temperature: -0.1, ..default() }),
        ("temperature", SamplingParams { temperature: f32::NAN, ..default() }),
        ("top_k", SamplingParams { top_k: Some(0), ..default() }),
        ("top_p", SamplingParams { top_p: 0.0, ..default() }),
        ("top_p", SamplingParams { top_p: 1.1, ..default() }),
        ("min_p", SamplingParams { min_p: 1.5, ..default() }),
        ("repetition_penalty", SamplingParams { repetition_penalty: 0.0, ..default() }),
        ("presence_penalty", SamplingParams { presence_penalty: 2.5, ..default() }),
        ("frequency_penalty", SamplingParams { frequency_penalty: f32::INFINITY, ..default() }),
        ("logit_bias", SamplingParams { logit_bias: vec![(1, 101.0)], ..default() }),
        ("logit_bias", SamplingParams { logit_bias: vec![(1, 0.0); 2000], ..default() }),
        ("logprobs", SamplingParams { logprobs: Some(21), ..default() }),
    ];
    for (field, params) in cases {
        let error = params.validate().unwrap_err();
        assert_eq!(error.field(), Some(field));
        assert!(error.to_string().contains(field));
    }
    assert_eq!(default().validate(), Ok(()));
    let biased = SamplingParams { logit_bias: vec![(9, 1.0)], ..default() };
    assert!(biased.validate_tokens(10).is_ok() && biased.validate_tokens(9).is_err());
}

proptest! {
    #[test]
    fn filters_that_filter_nothing_change_nothing(
        logits in prop::collection::vec(-12.0f32..12.0, 1..400),
        seed: u64,
        temperature in 0.05f32..2.0,
    ) {
        let plain = SamplingParams { temperature, seed: Some(seed), ..SamplingParams::default() };
        let expected = token(&plain, &logits, 5);
        let wide = SamplingParams { top_k: Some(logits.len() as u32), top_p: 1.0, min_p: 0.0, ..plain.clone() };
        prop_assert_eq!(token(&wide, &logits, 5), expected);
        let greatest = token(&greedy(), &logits, 5);
        prop_assert_eq!(token(&SamplingParams { top_k: Some(1), ..plain.clone() }, &logits, 5), greatest);
        prop_assert_eq!(token(&SamplingParams { min_p: 1.0, ..plain }, &logits, 5), greatest);
    }

    #[test]
    fn only_tokens_of_the_reference_are_drawn(
        logits in prop::collection::vec(-6.0f32..6.0, 1..700),
        seed: u64,
        temperature in 0.1f32..2.0,
        top_k in prop::option::of(1u32..800),
        top_p in 0.01f32..1.0,
        min_p in 0.0f32..0.5,
    ) {
        let params = SamplingParams { temperature, top_k, top_p, min_p, seed: Some(seed), ..SamplingParams::default() };
        let expected = reference(&params, &logits);
        for position in 0..20 {
            prop_assert!(expected[token(&params, &logits, position) as usize] > 0.0);
        }
    }

    #[test]
    fn adjusted_greedy_equals_a_naive_reference(
        logits in prop::collection::vec(-6.0f32..6.0, 2..80),
        prompt in prop::collection::vec(0u32..90, 0..20),
        repetition_penalty in 0.5f32..2.0,
        presence_penalty in -2.0f32..2.0,
        frequency_penalty in -2.0f32..2.0,
        logit_bias in prop::collection::vec((0u32..90, -10.0f32..10.0), 0..5),
    ) {
        let params = SamplingParams { repetition_penalty, presence_penalty, frequency_penalty, logit_bias, ..greedy() };
        let mut sampler = Sampler::new(params.clone(), &prompt, 0);
        let mut output: Vec<u32> = Vec::new();
        for position in 0..12 {
            let mut adjusted = logits.clone();
            for &(id, bias) in params.logit_bias.iter().filter(|(id, _)| (*id as usize) < logits.len()) {
                adjusted[id as usize] += bias;
            }
            for (id, logit) in adjusted.iter_mut().enumerate() {
                let id = id as u32;
                let count = output.iter().filter(|&&token| token == id).count();
                if prompt.contains(&id) || count > 0 {
                    *logit = if *logit > 0.0 { *logit / repetition_penalty } else { *logit * repetition_penalty };
                }
                if count > 0 {
                    *logit -= presence_penalty + frequency_penalty * count as f32;
                }
            }
            let greatest = adjusted.iter().copied().fold(f32::MIN, f32::max);
            let expected = adjusted.iter().position(|&logit| logit == greatest).unwrap() as u32;
            prop_assert_eq!(sample(&mut sampler, &logits, position).unwrap().token, expected);
            output.push(expected);
        }
    }
}
