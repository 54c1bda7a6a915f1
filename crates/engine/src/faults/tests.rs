//! What the engine makes of steps that fail: of their own, for lack of memory, and because the device is lost.

#[path = "../../tests/devices/mod.rs"]
mod devices;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sconce_model::synth::{NamedShape, Quantization, SynthOptions, write};

use super::{Fault, Kind, Place, arm};
use crate::{
    CanaryError, EngineConfig, EngineEnd, EngineHandle, EngineThread, FinishLabel, GenerateRequest, Generation,
    GenerationError, GenerationEventKind, LoadedModel, SamplingParams, SubmitError, start,
};

/// One test at a time: the fault is everybody's.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn fail(place: Place, kind: Kind, count: u32) {
    arm(Fault { place, kind, tokens: 0, spared: 0, count });
}

fn engine(config: &EngineConfig) -> (EngineHandle, EngineThread) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tiny.gguf");
    let options = SynthOptions {
        shape: NamedShape::Tiny,
        quantization: Quantization::F32,
        context_length: Some(256),
        seed: 3,
        vocabulary: None,
    };
    write(&path, &options, &mut |_| {}).expect("written");
    let devices = devices::devices();
    let model = LoadedModel::open(&path, None, &devices, None).expect("the model loads");
    let kv_memory_bytes = devices::kv_memory(config.kv_memory_bytes, &devices);
    start(model, &EngineConfig { kv_memory_bytes, ..config.clone() }).expect("the engine starts")
}

fn depth(pipeline_depth: usize) -> EngineConfig {
    // The target bounds nothing, so that a busy machine plans the same steps.
    EngineConfig { pipeline_depth, step_target: Duration::from_secs(60), ..EngineConfig::default() }
}

fn request(first: u32, length: u32, max_tokens: u32) -> GenerateRequest {
    GenerateRequest {
        prompt: (first..first + length).map(|token| token % 400).collect(),
        n: 1,
        sampling: SamplingParams { temperature: 0.0, ..SamplingParams::default() },
        max_tokens: Some(max_tokens),
        ignore_eos: true,
        ..GenerateRequest::default()
    }
}

/// What comes of a request that was taken: its tokens, or how it failed.
fn outcome(mut generation: Generation) -> Result<Vec<u32>, GenerationError> {
    let mut ids = Vec::new();
    while let Some(event) = generation.blocking_next() {
        match event.kind {
            GenerationEventKind::Delta { tokens, .. } => ids.extend(tokens.iter().map(|token| token.id)),
            GenerationEventKind::Started { .. } => {}
            GenerationEventKind::Finished { .. } => return Ok(ids),
            GenerationEventKind::Failed { error } => return Err(error),
        }
    }
    panic!("the stream ended without a word")
}

fn answer(handle: &EngineHandle, request: GenerateRequest) -> Result<Vec<u32>, GenerationError> {
    outcome(handle.generate(request).expect("taken"))
}

fn errors(handle: &EngineHandle) -> u64 {
    handle.metrics().finished.get_or_create(&FinishLabel { reason: "error" }).get()
}

#[test]
fn a_failed_step_ends_its_requests_and_nothing_of_it_is_found_again() {
    let _turn = turn();
    for (pipeline_depth, place) in [(0, Place::Launch), (1, Place::Launch), (0, Place::Collect), (1, Place::Collect)] {
        let (handle, thread) = engine(&depth(pipeline_depth));
        let expected = answer(&handle, request(300, 40, 12)).expect("tokens");
        let (untouched, _other) = engine(&depth(pipeline_depth));
        let fresh = answer(&untouched, request(320, 40, 12)).expect("tokens");
        for _ in 0..2 {
            fail(place, Kind::Ordinary, 2);
            for _ in 0..2 {
                let failed = answer(&handle, request(320, 40, 12));
                assert!(matches!(failed, Err(GenerationError::Step(_))), "{failed:?}");
            }
            // Two failures in a row are not three: a step in between ends the count.
            assert_eq!(answer(&handle, request(320, 40, 12)).as_ref(), Ok(&fresh), "what failed was not cached");
            assert_eq!(answer(&handle, request(300, 40, 12)).as_ref(), Ok(&expected), "what came before still is");
        }
        assert_eq!(errors(&handle), 4);
        handle.shutdown();
        assert_eq!(thread.join(), EngineEnd::Finished);
    }
}

#[test]
fn an_engine_whose_steps_keep_failing_gives_up_and_says_so() {
    let _turn = turn();
    let (handle, thread) = engine(&depth(0));
    fail(Place::Launch, Kind::Ordinary, 3);
    for _ in 0..3 {
        let failed = answer(&handle, request(300, 40, 12));
        assert!(matches!(failed, Err(GenerationError::Step(_))), "{failed:?}");
    }
    assert_eq!(thread.join(), EngineEnd::GaveUp);
    assert_eq!(handle.end(), Some(EngineEnd::GaveUp));
    assert_eq!(handle.generate(request(300, 40, 12)).err(), Some(SubmitError::Stopped));
}

#[test]
fn for_lack_of_memory_the_largest_request_of_a_step_pays_and_the_others_give_what_they_give_alone() {
    let _turn = turn();
    for pipeline_depth in [0, 1] {
        let (handle, _thread) = engine(&depth(pipeline_depth));
        let (untouched, _other) = engine(&depth(pipeline_depth));
        let small = [request(0, 20, 100), request(50, 21, 100)];
        let alone = small.clone().map(|request| answer(&untouched, request).expect("tokens"));
        let large = request(100, 200, 12);
        let large_alone = answer(&untouched, large.clone()).expect("tokens");
        let generations = small.map(|request| handle.generate(request).expect("taken"));
        arm(Fault { place: Place::Launch, kind: Kind::OutOfMemory, tokens: 48, spared: 0, count: 1 });
        let error = answer(&handle, large.clone()).expect_err("it pays");
        assert_eq!(error, GenerationError::OutOfMemory);
        assert!(error.to_string().contains("--max-num-batched-tokens"), "{error}");
        assert_eq!(generations.map(|generation| outcome(generation).expect("tokens")), alone);
        assert_eq!(answer(&handle, large), Ok(large_alone), "nothing of the step was kept");
        assert_eq!((errors(&handle), handle.end()), (1, None));
    }
}

#[test]
fn no_memory_for_a_single_token_is_a_failed_step() {
    let _turn = turn();
    for pipeline_depth in [0, 1] {
        let (handle, thread) = engine(&depth(pipeline_depth));
        fail(Place::Launch, Kind::OutOfMemory, 3);
        for _ in 0..3 {
            let failed = answer(&handle, request(300, 1, 1));
            assert!(matches!(failed, Err(GenerationError::Step(_))), "{failed:?}");
        }
        assert_eq!(thread.join(), EngineEnd::GaveUp);
    }
}

#[test]
fn a_lost_device_ends_every_stream_and_the_engine() {
    let _turn = turn();
    for (pipeline_depth, place) in [(0, Place::Launch), (1, Place::Launch), (0, Place::Collect), (1, Place::Collect)] {
        // The second request waits and is in no step.
        let (handle, thread) = engine(&EngineConfig { max_num_seqs: 1, ..depth(pipeline_depth) });
        arm(Fault { place, kind: Kind::DeviceLost, tokens: 0, spared: 20, count: 1 });
        let generations =
            [request(0, 20, 200), request(50, 20, 200)].map(|request| handle.generate(request).expect("taken"));
        for generation in generations {
            let failed = outcome(generation);
            assert!(matches!(&failed, Err(GenerationError::DeviceLost(_))), "{failed:?}");
        }
        assert_eq!(thread.join(), EngineEnd::DeviceLost);
        assert_eq!(errors(&handle), 2);
        assert_eq!(handle.generate(request(0, 20, 1)).err(), Some(SubmitError::Stopped));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let (ended, ready) =
            runtime.block_on(async { (handle.ended().await, handle.canary(Duration::from_secs(5)).await) });
        assert_eq!((ended, ready), (EngineEnd::DeviceLost, Err(CanaryError::Ended(EngineEnd::DeviceLost))));
    }
}
