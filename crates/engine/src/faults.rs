//! Steps that fail on purpose, and what the engine makes of them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sconce_model::ModelError;
use sconce_model::synth::{NamedShape, Quantization, SynthOptions, write};

use crate::{
    Devices, EngineConfig, EngineHandle, EngineThread, GenerateRequest, GenerationError, GenerationEventKind,
    LoadedModel, SamplingParams, SubmitError, start,
};

/// Steps that are still to fail.
static FAILING: AtomicU32 = AtomicU32::new(0);
/// One test at a time: the count is everybody's.
static TURN: Mutex<()> = Mutex::new(());

/// Fails if a step is to fail.
pub(crate) fn strike() -> Result<(), ModelError> {
    let left = FAILING.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
    match left {
        Ok(_) => Err(ModelError::Config { key: "fault".into(), value: "struck".into(), expected: "peace".into() }),
        Err(_) => Ok(()),
    }
}

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn engine(pipeline_depth: usize) -> (EngineHandle, EngineThread) {
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
    let model = LoadedModel::open(&path, None, &Devices::cpu()).expect("the model loads");
    start(model, &EngineConfig { pipeline_depth, ..EngineConfig::default() }).expect("the engine starts")
}

fn request(first: u32) -> GenerateRequest {
    GenerateRequest {
        prompt: (first..first + 40).collect(),
        n: 1,
        sampling: SamplingParams { temperature: 0.0, ..SamplingParams::default() },
        max_tokens: Some(12),
        ignore_eos: true,
        ..GenerateRequest::default()
    }
}

/// The tokens of a request, or how it failed; `None` when its stream ended without a word.
fn answer(handle: &EngineHandle, request: GenerateRequest) -> Option<Result<Vec<u32>, GenerationError>> {
    let mut generation = handle.generate(request).expect("taken");
    let mut ids = Vec::new();
    while let Some(event) = generation.blocking_next() {
        match event.kind {
            GenerationEventKind::Delta { tokens, .. } => ids.extend(tokens.iter().map(|token| token.id)),
            GenerationEventKind::Started { .. } => {}
            GenerationEventKind::Finished { .. } => return Some(Ok(ids)),
            GenerationEventKind::Failed { error } => return Some(Err(error)),
        }
    }
    None
}

#[test]
fn a_failed_step_ends_its_requests_and_nothing_of_it_is_found_again() {
    let _turn = turn();
    for depth in [0, 1] {
        let (handle, thread) = engine(depth);
        let expected = answer(&handle, request(300)).expect("an end").expect("tokens");
        let (untouched, _other) = engine(depth);
        let fresh = answer(&untouched, request(420)).expect("an end").expect("tokens");
        for _ in 0..2 {
            FAILING.store(2, Ordering::Release);
            for _ in 0..2 {
                let failed = answer(&handle, request(420)).expect("an end");
                assert!(matches!(failed, Err(GenerationError::Step(_))), "{failed:?}");
            }
            // Two failures in a row are not three: a step in between ends the count.
            assert_eq!(answer(&handle, request(420)), Some(Ok(fresh.clone())), "what failed was not cached");
            assert_eq!(answer(&handle, request(300)), Some(Ok(expected.clone())), "what came before still is");
        }
        handle.shutdown();
        assert!(thread.join());
    }
}

#[test]
fn an_engine_whose_steps_keep_failing_gives_up_and_says_so() {
    let _turn = turn();
    let (handle, thread) = engine(0);
    FAILING.store(3, Ordering::Release);
    for _ in 0..3 {
        let failed = answer(&handle, request(300)).expect("an end");
        assert!(matches!(failed, Err(GenerationError::Step(_))), "{failed:?}");
    }
    assert!(thread.join(), "it ends without a panic");
    assert!(handle.is_stopped());
    assert_eq!(handle.generate(request(300)).err(), Some(SubmitError::Stopped));
}
