//! Requests over a small synthetic model: readers who are slow, leave or never read; bounds; seeds; tenants; the drain.

mod devices;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use sconce_engine::{
    EngineConfig, EngineEnd, EngineError, EngineHandle, EngineThread, FinishLabel, GenerateRequest, Generation,
    GenerationError, GenerationEventKind, LoadedModel, SamplingParams, SubmitError, start,
};
use sconce_model::synth::{NamedShape, Quantization, SynthOptions, write};

/// The model's file, written once.
fn model() -> LoadedModel {
    static FILE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let devices = devices::devices();
    let folder = FILE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let options = SynthOptions {
            shape: NamedShape::Tiny,
            // The emulated card has no products of quantized weights.
            quantization: if devices.are_cuda() { Quantization::F32 } else { Quantization::Q8_0 },
            context_length: Some(4096),
            seed: 1,
            vocabulary: None,
        };
        write(&folder.path().join("tiny.gguf"), &options, &mut |_| {}).expect("written");
        folder
    });
    LoadedModel::open(&folder.path().join("tiny.gguf"), None, &devices, None).expect("the model loads")
}

fn engine(config: &EngineConfig) -> (EngineHandle, EngineThread) {
    let kv_memory_bytes = devices::kv_memory(config.kv_memory_bytes, &devices::devices());
    start(model(), &EngineConfig { kv_memory_bytes, ..config.clone() }).expect("the engine starts")
}

fn request(seed: u32, prompt_len: u32, max_tokens: u32) -> GenerateRequest {
    GenerateRequest {
        prompt: (0..prompt_len).map(|at| 300 + (seed * 37 + at * 11) % 150).collect(),
        n: 1,
        sampling: SamplingParams { temperature: 0.0, ..SamplingParams::default() },
        max_tokens: Some(max_tokens),
        ignore_eos: true,
        ..GenerateRequest::default()
    }
}

/// All token ids, and how the choice ended.
fn read(generation: &mut Generation) -> (Vec<u32>, Option<GenerationEventKind>) {
    let mut ids = Vec::new();
    while let Some(event) = generation.blocking_next() {
        match event.kind {
            GenerationEventKind::Delta { tokens, .. } => ids.extend(tokens.iter().map(|token| token.id)),
            GenerationEventKind::Started { .. } => {}
            end => return (ids, Some(end)),
        }
    }
    (ids, None)
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_reader_who_does_not_read_pauses_itself_and_nobody_else_and_loses_no_token() {
    for pipeline_depth in [0, 1] {
        let (handle, _thread) = engine(&EngineConfig { pipeline_depth, ..EngineConfig::default() });
        let mut alone = handle.generate(request(1, 10, 300)).expect("taken");
        let (expected, _) = read(&mut alone);
        let mut slow = handle.generate(request(1, 10, 300)).expect("taken");
        let mut brisk = handle.generate(request(2, 10, 300)).expect("taken");
        let (ids, end) = read(&mut brisk);
        assert_eq!(ids.len(), 300);
        assert!(matches!(end, Some(GenerationEventKind::Finished { .. })));
        let generated = handle.metrics().generation_tokens.get();
        assert!(generated <= 600 + 64 + 4, "the slow one got no further than its channel: {generated}");
        let (ids, end) = read(&mut slow);
        assert_eq!(ids, expected, "depth {pipeline_depth}");
        assert!(matches!(end, Some(GenerationEventKind::Finished { .. })));
    }
}

#[test]
fn a_reader_who_wakes_while_another_decodes_gets_everything() {
    for pipeline_depth in [0, 1] {
        let (handle, _thread) = engine(&EngineConfig { pipeline_depth, ..EngineConfig::default() });
        let mut brisk = handle.generate(request(2, 10, 700)).expect("taken");
        let mut hesitant = handle.generate(request(1, 10, 300)).expect("taken");
        let ids = std::thread::scope(|scope| {
            let other = scope.spawn(|| read(&mut brisk).0.len());
            wait_until("the hesitant one stalls", || handle.metrics().generation_tokens.get() > 200);
            let mut ids = 0;
            while let Some(event) = hesitant.blocking_next() {
                // A place at a time, so that tokens in flight find room.
                std::thread::sleep(Duration::from_micros(300));
                if let GenerationEventKind::Delta { tokens, .. } = event.kind {
                    ids += tokens.len();
                }
            }
            assert_eq!(other.join().expect("no panic"), 700);
            ids
        });
        assert_eq!(ids, 300, "depth {pipeline_depth}");
    }
}

#[test]
fn the_choices_of_one_stream_take_turns_when_its_reader_is_slow() {
    let config = EngineConfig { slow_reader_timeout: Duration::from_millis(300), ..EngineConfig::default() };
    let (handle, _thread) = engine(&config);
    let mut slow = handle.generate(GenerateRequest { n: 8, ..request(1, 10, 60) }).expect("taken");
    let mut ends = 0;
    while let Some(event) = slow.blocking_next() {
        std::thread::sleep(Duration::from_millis(2));
        match event.kind {
            GenerationEventKind::Finished { .. } => ends += 1,
            GenerationEventKind::Failed { error } => panic!("choice {}: {error}", event.index),
            _ => {}
        }
    }
    assert_eq!(ends, 8, "a reader who reads is not cut");
}

#[test]
fn a_reader_who_never_reads_is_cut_and_told_so() {
    let config = EngineConfig { slow_reader_timeout: Duration::from_millis(100), ..EngineConfig::default() };
    let (handle, _thread) = engine(&config);
    let mut unread = handle.generate(request(1, 10, 1000)).expect("taken");
    let label = FinishLabel { reason: "error" };
    wait_until("it is cut", || handle.metrics().finished.get_or_create(&label).get() > 0);
    let (ids, end) = read(&mut unread);
    assert!(!ids.is_empty() && ids.len() < 1000, "what was sent before is still there");
    let cut = GenerationEventKind::Failed { error: GenerationError::SlowReader { seconds: 0 } };
    assert_eq!(end, Some(cut));
}

#[test]
fn a_dropped_stream_frees_its_blocks_and_its_place() {
    let config = EngineConfig { max_requests: 1, ..EngineConfig::default() };
    let (handle, _thread) = engine(&config);
    let first = handle.generate(request(1, 10, 4000)).expect("taken");
    assert_eq!(handle.generate(request(2, 10, 4)).err(), Some(SubmitError::Overloaded { limit: 1 }));
    wait_until("it holds blocks", || handle.metrics().kv_usage.get() > 0.0);
    drop(first);
    wait_until("the blocks are free", || handle.metrics().kv_usage.get() == 0.0);
    let (ids, _) = read(&mut handle.generate(request(2, 10, 4)).expect("taken"));
    assert_eq!(ids.len(), 4);
}

#[test]
fn a_seed_repeats_its_draw_alone_in_a_crowd_and_at_depth_1() {
    let drawn =
        |seed: u64| SamplingParams { temperature: 1.0, top_p: 0.9, seed: Some(seed), ..SamplingParams::default() };
    let mut expected: Option<Vec<Vec<u32>>> = None;
    for (pipeline_depth, max_num_seqs) in [(0, 1), (0, 8), (1, 8)] {
        let (handle, _thread) = engine(&EngineConfig { pipeline_depth, max_num_seqs, ..EngineConfig::default() });
        let mut streams: Vec<Generation> = (0..6)
            .map(|index| GenerateRequest { sampling: drawn(index), ..request(index as u32 % 2, 40, 24) })
            .map(|request| handle.generate(request).expect("taken"))
            .collect();
        let outputs: Vec<Vec<u32>> = streams.iter_mut().map(|stream| read(stream).0).collect();
        assert_ne!(outputs[0], outputs[2], "different seeds draw differently");
        assert_eq!(expected.get_or_insert_with(|| outputs.clone()), &outputs);
    }
}

#[test]
fn tenants_share_no_prefix_and_a_quota_bounds_one() {
    // 200 blocks, 20 of them set apart: less than the context.
    let config = EngineConfig {
        kv_quotas: vec![("acme".into(), 0.1)],
        kv_memory_bytes: Some(200 * 2 * 2 * 32 * 2 * 64 * 2),
        ..EngineConfig::default()
    };
    let (handle, _thread) = engine(&config);
    let salted = |salt: Option<&str>| GenerateRequest { cache_salt: salt.map(str::to_owned), ..request(1, 200, 2) };
    for (salt, expected) in [(None, 0), (Some("acme"), 0), (Some("other"), 0), (None, 199), (Some("acme"), 199)] {
        let mut stream = handle.generate(salted(salt)).expect("taken");
        let (_, end) = read(&mut stream);
        let Some(GenerationEventKind::Finished { usage, .. }) = end else { panic!("{end:?}") };
        assert_eq!(usage.cached_tokens, expected, "{salt:?}");
    }
    let blocks = handle.model().num_blocks / 10;
    let long = u32::try_from((blocks + 1) * handle.model().block_size).expect("small");
    assert!((long as usize) < handle.model().context_length, "others may ask for as much");
    let request = GenerateRequest { cache_salt: Some("acme".into()), ..request(3, long, 2) };
    let limit = blocks * handle.model().block_size;
    let refused = SubmitError::PromptExceedsShare { prompt_tokens: long as usize, limit };
    assert_eq!(handle.generate(request).expect_err("refused before anything begins"), refused);
}

#[test]
fn requests_out_of_range_are_refused_by_field() {
    let (handle, _thread) = engine(&EngineConfig { max_model_len: Some(64), ..EngineConfig::default() });
    let refuse = |request: GenerateRequest| handle.generate(request).expect_err("refused");
    let field = |request| match refuse(request) {
        SubmitError::OutOfRange { field, .. } => field,
        other => panic!("{other:?}"),
    };
    let good = || request(1, 8, 4);
    assert_eq!(refuse(GenerateRequest { prompt: vec![], ..good() }), SubmitError::PromptEmpty);
    assert_eq!(refuse(request(1, 64, 4)), SubmitError::PromptTooLong { prompt_tokens: 64, limit: 63 });
    assert_eq!(field(GenerateRequest { prompt: vec![u32::MAX], ..good() }), "prompt");
    assert_eq!(field(GenerateRequest { n: 0, ..good() }), "n");
    assert_eq!(field(GenerateRequest { n: 17, ..good() }), "n");
    assert_eq!(field(GenerateRequest { max_tokens: Some(0), ..good() }), "max_tokens");
    assert_eq!(field(GenerateRequest { min_tokens: 9, ..good() }), "min_tokens");
    assert_eq!(field(GenerateRequest { priority: 1000, ..good() }), "priority");
    assert_eq!(field(GenerateRequest { stop: vec![String::new()], ..good() }), "stop");
    let hot = SamplingParams { temperature: 9.0, ..SamplingParams::default() };
    assert_eq!(field(GenerateRequest { sampling: hot, ..good() }), "temperature");
    assert_eq!(read(&mut handle.generate(good()).expect("taken")).0.len(), 4);
}

#[test]
fn the_context_ends_an_answer_that_names_no_limit() {
    let (handle, _thread) = engine(&EngineConfig { max_model_len: Some(64), ..EngineConfig::default() });
    let (ids, end) =
        read(&mut handle.generate(GenerateRequest { max_tokens: None, ..request(1, 40, 1) }).expect("taken"));
    assert_eq!(ids.len(), 24);
    assert!(matches!(end, Some(GenerationEventKind::Finished { reason: sconce_engine::FinishReason::Length, .. })));
}

#[test]
fn a_drain_lets_answers_end_and_a_cut_ends_them() {
    let (handle, thread) = engine(&EngineConfig::default());
    let mut running = handle.generate(request(1, 10, 40)).expect("taken");
    handle.shutdown();
    assert_eq!(handle.generate(request(2, 10, 4)).err(), Some(SubmitError::ShuttingDown));
    assert_eq!(read(&mut running).0.len(), 40);
    assert_eq!(thread.join(), EngineEnd::Finished);
    assert!(handle.is_stopped());

    let (handle, thread) = engine(&EngineConfig::default());
    let mut running = handle.generate(request(1, 10, 4000)).expect("taken");
    handle.cut();
    let (_, end) = read(&mut running);
    assert_eq!(end, Some(GenerationEventKind::Failed { error: GenerationError::ShuttingDown }));
    assert_eq!(thread.join(), EngineEnd::Finished);
}

#[test]
fn the_canary_decodes_when_idle_and_fails_when_the_engine_is_gone() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (handle, thread) = engine(&EngineConfig::default());
    runtime.block_on(handle.canary(Duration::from_secs(30))).expect("it decodes");
    wait_until("a token went through the model", || handle.metrics().computed_tokens.get() == 1);
    assert_eq!(handle.metrics().generation_tokens.get(), 0, "it is no traffic");
    handle.shutdown();
    assert_eq!(thread.join(), EngineEnd::Finished);
    runtime.block_on(handle.canary(Duration::from_secs(1))).expect_err("nobody decodes");
}

#[test]
fn sizes_that_hold_nothing_are_refused_with_numbers() {
    let refuse = |config: EngineConfig| start(model(), &config).expect_err("refused");
    let tiny = refuse(EngineConfig { kv_memory_bytes: Some(100), ..EngineConfig::default() });
    assert!(matches!(tiny, EngineError::KvMemory { bytes: 100, .. }), "{tiny}");
    let quota = vec![("a".to_owned(), 0.6), ("b".to_owned(), 0.6)];
    let quota = refuse(EngineConfig { kv_quotas: quota, ..EngineConfig::default() });
    assert!(matches!(quota, EngineError::Quota { .. }), "{quota}");
    assert!(matches!(
        refuse(EngineConfig { block_size: 0, ..EngineConfig::default() }),
        EngineError::Zero("block_size")
    ));
    let zero = refuse(EngineConfig { max_num_seqs: 0, ..EngineConfig::default() });
    assert!(matches!(zero, EngineError::Scheduler(_)), "{zero}");
}
