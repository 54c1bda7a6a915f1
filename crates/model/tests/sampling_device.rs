//! The kernel that samples, run on the host, against the host's sampler: the same tokens, log-probabilities and errors, bit
//! for bit, for two orders of threads.
#![allow(unsafe_code)]

use proptest::prelude::*;
use proptest::sample::select;
use sconce_emulator::Grid;
use sconce_kernels::launch::{
    DevicePointer, Launch, SAMPLING_NONE, SamplingArguments, SamplingBuffers, SamplingCounts, SamplingResult,
    SamplingRow,
};
use sconce_model::sampling::{Sampled, Sampler, SamplingBatch, SamplingError, SamplingParams, check_draws, sampled};
use sconce_model::{Draw, StepOutcome};

/// Words behind a buffer's end that nobody may touch, and their value. As a float it is a NaN.
const CANARIES: usize = 4;
const CANARY: u32 = 0xFFC3_C3C3;

/// The device's memory: words, aligned to eight bytes.
struct Buffer {
    pairs: Vec<u64>,
    count: usize,
}

impl Buffer {
    fn new(words: &[u32]) -> Self {
        let mut all = words.to_vec();
        all.resize((words.len() + CANARIES).next_multiple_of(2), CANARY);
        let pairs = all.chunks_exact(2).map(|pair| u64::from(pair[1]) << 32 | u64::from(pair[0])).collect();
        Self { pairs, count: words.len() }
    }

    fn floats(values: &[f32]) -> Self {
        Self::new(&values.iter().map(|value| value.to_bits()).collect::<Vec<_>>())
    }

    fn poisoned(count: usize) -> Self {
        Self::new(&vec![CANARY; count])
    }

    fn pointer(&mut self) -> DevicePointer {
        DevicePointer(self.pairs.as_mut_ptr().expose_provenance() as u64)
    }

    fn read(&self) -> Vec<u32> {
        let mut words: Vec<u32> = self.pairs.iter().flat_map(|pair| [*pair as u32, (*pair >> 32) as u32]).collect();
        assert!(words[self.count..].iter().all(|word| *word == CANARY), "something was written behind a buffer");
        words.truncate(self.count);
        words
    }
}

/// Runs a launch; the buffers that its arguments name outlive the call.
fn run(launch: &Launch<SamplingArguments>, order: u64) {
    let Launch { kernel, blocks, threads, shared_bytes, arguments } = launch;
    let grid = Grid { kernel, blocks: *blocks, threads: *threads, shared_bytes: *shared_bytes };
    // SAFETY: the arguments are the kernel's own struct, and its pointers lead to buffers of the sizes that it states.
    unsafe { sconce_emulator::launch(grid, arguments, order) }.unwrap();
}

/// One draw with all that it depends on.
#[derive(Debug, Clone)]
struct Case {
    logits: Vec<f32>,
    sampler: Sampler,
    position: u64,
    banned: Vec<u32>,
    pending: Option<u32>,
}

impl Case {
    fn new(logits: Vec<f32>, params: SamplingParams) -> Self {
        Self { logits, sampler: Sampler::new(params, &[], 11), position: 5, banned: Vec::new(), pending: None }
    }

    fn on_host(&self, drawn_before: &[u32]) -> Result<Sampled, SamplingError> {
        let pending = self.pending.and_then(|draw| drawn_before.get(draw as usize).copied());
        let pending = pending.filter(|token| *token != SAMPLING_NONE);
        self.sampler.draw(&self.logits, self.position, &self.banned, pending)
    }
}

/// What the kernel gives, by a number of threads (its own without one) in an order.
fn on_device(cases: &[Case], drawn_before: &[u32], threads: Option<u32>, order: u64) -> StepOutcome {
    let draws: Vec<Draw<'_>> = cases
        .iter()
        .map(|Case { sampler, position, banned, pending, .. }| Draw {
            sampler,
            position: *position,
            banned,
            pending: *pending,
        })
        .collect();
    let logits: Vec<f32> = cases.iter().flat_map(|case| case.logits.iter().copied()).collect();
    drawn(&draws, &logits, drawn_before, threads, order)
}

/// The same for draws from `logits [draws, vocabulary]`.
fn drawn(draws: &[Draw<'_>], logits: &[f32], drawn_before: &[u32], threads: Option<u32>, order: u64) -> StepOutcome {
    let mut batch = SamplingBatch::default();
    // A batch is used again and again: nothing of an earlier one may stay.
    batch.pack(&draws[..1]);
    batch.pack(draws);
    let vocabulary = logits.len() / draws.len();
    let mut words = Buffer::new(batch.words());
    let mut logits = Buffer::floats(logits);
    let mut workspace = Buffer::poisoned(batch.counts().adjusted_rows as usize * vocabulary);
    let mut before = Buffer::new(drawn_before);
    let mut results = Buffer::poisoned(batch.counts().result_words());
    let mut top = Buffer::poisoned(batch.counts().top_words());
    let mut drawn = Buffer::poisoned(draws.len());
    let buffers = SamplingBuffers {
        words: words.pointer(),
        logits: logits.pointer(),
        workspace: workspace.pointer(),
        drawn_before: before.pointer(),
        drawn_before_count: drawn_before.len() as u32,
        results: results.pointer(),
        top: top.pointer(),
        drawn: drawn.pointer(),
    };
    let mut launch = batch.counts().launch(vocabulary as u32, &buffers);
    launch.threads = threads.unwrap_or(launch.threads);
    run(&launch, order);
    let _ = workspace.read();
    let outcome = sampled(&results.read(), &top.read());
    assert_eq!(drawn.read(), tokens(&outcome));
    outcome
}

/// The tokens of an outcome, as a step leaves them to the next.
fn tokens(outcome: &StepOutcome) -> Vec<u32> {
    outcome.iter().map(|row| row.as_ref().map_or(SAMPLING_NONE, |sampled| sampled.token)).collect()
}

/// Token, log-probability and likely tokens; or the index and value of what is wrong.
type Bits = Result<(u32, Option<u32>, Vec<(u32, u32)>), (usize, u32)>;

/// Every bit of an outcome.
fn bits(outcome: &Result<Sampled, SamplingError>) -> Bits {
    match outcome {
        Ok(Sampled { token, logprob, top }) => {
            Ok((*token, logprob.map(f32::to_bits), top.iter().map(|(id, logprob)| (*id, logprob.to_bits())).collect()))
        }
        Err(SamplingError::NotFinite { index, value }) => Err((*index, value.to_bits())),
        Err(error) => {
            assert_eq!(*error, SamplingError::NothingAllowed);
            Err((usize::MAX, 0))
        }
    }
}

fn check(cases: &[Case], drawn_before: &[u32], threads: Option<u32>) {
    for order in [1, 2] {
        let outcome = on_device(cases, drawn_before, threads, order);
        assert_eq!(outcome.len(), cases.len());
        for (case, device) in cases.iter().zip(&outcome) {
            assert_eq!(bits(device), bits(&case.on_host(drawn_before)), "{:?}", case.sampler);
        }
    }
}

/// Numbers from 0 to 1.
fn random(seed: u64) -> impl Iterator<Item = f32> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32
    })
}

/// Rows of different shapes: like a model's, with ties, of two zeros, with enormous and tiny numbers, broken.
fn logits(shape: usize, vocabulary: usize, seed: u64) -> Vec<f32> {
    let values = random(seed).take(vocabulary);
    match shape {
        0 => values.map(|value| (value.powi(4) - 0.3) * 24.0).collect(),
        1 => values.map(|value| (value * 16.0).floor() * 0.75 - 6.0).collect(),
        2 => values.map(|value| if value < 0.5 { -0.0 } else { 0.0 }).collect(),
        3 => values.map(|value| (value - 0.5) * 2.0 * f32::MAX).collect(),
        4 => values.map(|value| (value - 0.5) * 1e-38).collect(),
        5 => values.map(|value| (value - 0.5) * 300.0).collect(),
        6 => vec![1.5; vocabulary],
        _ => values
            .map(|value| match value {
                0.0..0.002 => f32::NAN,
                0.002..0.004 => f32::INFINITY,
                0.004..0.006 => f32::NEG_INFINITY,
                value => value,
            })
            .collect(),
    }
}

fn params() -> impl Strategy<Value = SamplingParams> {
    let filters = (
        prop_oneof![Just(0.0f32), Just(1.0), 0.01f32..2.0],
        prop::option::of(prop_oneof![1u32..60, 1u32..4_000]),
        prop_oneof![Just(1.0f32), Just(1e-30), Just(0.9999), 0.01f32..1.0],
        prop_oneof![Just(0.0f32), Just(1.0), 0.0f32..0.3],
    );
    let penalties = (
        prop_oneof![Just(1.0f32), 0.1f32..1.0, 1.0f32..10.0],
        prop_oneof![Just(0.0f32), -2.0f32..2.0],
        prop_oneof![Just(0.0f32), -2.0f32..2.0],
    );
    // Few ids, so that one has several entries.
    let bias = prop::collection::vec((prop_oneof![0u32..12, 0u32..3_050], -100.0f32..100.0), 0..12);
    (filters, penalties, bias, prop::option::of(0u8..=20), prop::option::of(any::<u64>())).prop_map(
        |((temperature, top_k, top_p, min_p), (repetition, presence, frequency), bias, logprobs, seed)| {
            SamplingParams {
                temperature,
                top_k,
                top_p,
                min_p,
                repetition_penalty: repetition,
                presence_penalty: presence,
                frequency_penalty: frequency,
                seed,
                logit_bias: if bias.len() < 6 { Vec::new() } else { bias },
                logprobs,
            }
        },
    )
}

fn case(vocabulary: usize) -> impl Strategy<Value = Case> {
    let token = || prop_oneof![0u32..8, 0u32..3_050];
    let sampler = (params(), prop::collection::vec(token(), 0..30), prop::collection::vec(token(), 0..30), 0u32..4)
        .prop_map(|(params, prompt, output, choice)| {
            let mut sampler = Sampler::new(params, &prompt, 3).with_choice(choice);
            output.into_iter().for_each(|token| sampler.record(token));
            sampler
        });
    let row = (0usize..8, any::<u64>()).prop_map(move |(shape, seed)| logits(shape, vocabulary, seed));
    let position = prop_oneof![0u64..10_000, any::<u64>()];
    let banned = prop_oneof![Just(Vec::new()), prop::collection::vec(token(), 0..9)];
    (row, sampler, position, banned, prop::option::of(0u32..8))
        .prop_map(|(logits, sampler, position, banned, pending)| Case { logits, sampler, position, banned, pending })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(160))]
    #[test]
    fn a_device_draws_what_the_host_draws(
        cases in prop_oneof![1usize..40, 1usize..3_000].prop_flat_map(|size| prop::collection::vec(case(size), 1..5)),
        // There may be fewer draws than a pending index says; one of them failed, and one is in no row.
        drawn_before in prop_oneof![
            Just(vec![]),
            Just(vec![3, SAMPLING_NONE, 0, 5_000]),
            prop::collection::vec(0u32..12, 7),
        ],
        threads in select(vec![None, Some(32), Some(32), Some(64), Some(96)]),
    ) {
        check(&cases, &drawn_before, threads);
    }
}

#[test]
fn the_check_that_a_card_must_pass_is_passed() {
    let mut before = Vec::new();
    let report = check_draws(20, &mut |logits, _, draws| {
        let outcome = drawn(draws, logits, &before, None, 1);
        before = tokens(&outcome);
        Ok(outcome)
    });
    let report = report.expect("the host's draws");
    assert!(report.draws > 400 && report.failures > 3, "{report:?}");
    let none = check_draws(20, &mut |_, _, draws| Ok(vec![Err(SamplingError::NothingAllowed); draws.len()]));
    assert!(none.is_err());
}

#[test]
fn a_whole_vocabulary_is_drawn_from() {
    const VOCABULARY: usize = 128_256;
    let base = || SamplingParams { seed: Some(9), ..SamplingParams::default() };
    let usual = logits(0, VOCABULARY, 1);
    let penalized = SamplingParams { top_p: 0.95, repetition_penalty: 1.1, frequency_penalty: 0.2, ..base() };
    let mut cases = vec![
        Case::new(usual.clone(), base()),
        Case::new(usual.clone(), SamplingParams { top_p: 0.9, logprobs: Some(20), ..base() }),
        Case::new(usual.clone(), SamplingParams { top_k: Some(50), top_p: 0.9, temperature: 0.7, ..base() }),
        Case::new(usual, penalized),
        // The nucleus ends among equal logits.
        Case::new(logits(6, VOCABULARY, 0), SamplingParams { top_p: 0.9, logprobs: Some(3), ..base() }),
        Case::new(logits(1, VOCABULARY, 2), SamplingParams { top_k: Some(100_000), min_p: 0.001, ..base() }),
    ];
    cases[3].pending = Some(0);
    cases[3].banned = vec![0, 77, 128_255];
    check(&cases, &[42], None);
}

#[test]
fn the_last_of_many_tokens_and_the_only_one_are_found() {
    let mut last = vec![-50.0; 1 << 18];
    last[(1 << 18) - 1] = 4.0;
    check(&[Case::new(last, SamplingParams { top_p: 0.5, ..SamplingParams::default() })], &[], None);
    for value in [-3.0, 0.0, -0.0, f32::MAX, f32::MIN] {
        check(&[Case::new(vec![value], SamplingParams { logprobs: Some(5), ..SamplingParams::default() })], &[], None);
    }
    let mut banned = Case::new(vec![1.0, 2.0], SamplingParams::default());
    banned.banned = vec![1, 0];
    check(&[banned], &[], None);
}

/// Philox 2x64 with 10 rounds as Random123 publishes it: key, counter, and the first word that comes out.
const PUBLISHED: [(u64, [u64; 2], u64); 3] = [
    (0, [0, 0], 0xCA00_A045_9843_D731),
    (u64::MAX, [u64::MAX; 2], 0x65B0_21D6_0CD8_310F),
    (0xA409_3822_299F_31D0, [0x243F_6A88_85A3_08D3, 0x1319_8A2E_0370_7344], 0x0A5E_742C_2997_341C),
];

/// The counter that gives a first word with a key of 0: Philox backwards.
fn counter_of(word: u64) -> [u64; 2] {
    const MULTIPLIER: u64 = 0xD2B7_4407_B1CE_6E93;
    // Newton's iteration: each step doubles the bits that are right.
    let inverse =
        (0..6).fold(1u64, |inverse, _| inverse.wrapping_mul(2u64.wrapping_sub(MULTIPLIER.wrapping_mul(inverse))));
    let (mut left, mut right) = (word, 0u64);
    for round in (0..10).rev() {
        let key = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(round);
        let before = right.wrapping_mul(inverse);
        let upper = ((u128::from(before) * u128::from(MULTIPLIER)) >> 64) as u64;
        (left, right) = (before, left ^ key ^ upper);
    }
    [left, right]
}

#[test]
fn random_words_are_the_published_ones_and_choose_exactly() {
    // Of 2^16 equal tokens, the one is drawn whose id is the upper 16 bits of the random word.
    const BITS: u32 = 16;
    let firsts = [0, 1, 31, 32, 2_047, 2_048, 2_049, 65_535].map(|id| id << (64 - BITS));
    let edges = firsts.iter().flat_map(|&first: &u64| [first, first.wrapping_sub(1)]);
    let mut draws = PUBLISHED.to_vec();
    draws.extend(edges.map(|word| (0, counter_of(word), word)));
    let mut words = Vec::new();
    for &(seed, [position, choice], _) in &draws {
        let row = SamplingRow {
            seed,
            position,
            choice,
            top_p: u64::MAX,
            temperature: 1.0,
            min_p_offset: f32::NEG_INFINITY,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logits_row: 0,
            adjusted_row: SAMPLING_NONE,
            top_k: u32::MAX,
            pending: SAMPLING_NONE,
            biases: [0, 0],
            history: [0, 0],
            bans: [0, 0],
            logprobs: SAMPLING_NONE,
        };
        words.extend(row.to_words());
    }
    let mut words = Buffer::new(&words);
    let mut logits = Buffer::floats(&[2.5; 1 << BITS]);
    let mut results = Buffer::poisoned(draws.len() * SamplingResult::WORDS);
    let mut drawn = Buffer::poisoned(draws.len());
    let buffers = SamplingBuffers {
        words: words.pointer(),
        logits: logits.pointer(),
        workspace: DevicePointer::default(),
        drawn_before: DevicePointer::default(),
        drawn_before_count: 0,
        results: results.pointer(),
        top: DevicePointer::default(),
        drawn: drawn.pointer(),
    };
    let counts = SamplingCounts { rows: draws.len() as u32, ..SamplingCounts::default() };
    run(&counts.launch(1 << BITS, &buffers), 1);
    let expected: Vec<u32> = draws.iter().map(|(.., word)| (word >> (64 - BITS)) as u32).collect();
    assert_eq!(drawn.read(), expected);
}
