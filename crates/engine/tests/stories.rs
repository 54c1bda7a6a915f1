//! The engine over a real trained model: its published continuation, and every answer equal to its answer alone.

mod devices;

use std::path::PathBuf;
use std::time::Duration;

use sconce_engine::{
    EngineConfig, EngineEnd, EngineHandle, EngineThread, FinishReason, GenerateRequest, GenerationEventKind,
    LoadedModel, SamplingParams, Special, start,
};

const CONTINUATION: &str =
    ", there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, red ball.";

fn stories() -> Option<PathBuf> {
    let Some(data) = std::env::var_os("SCONCE_DATA") else {
        eprintln!("skipped: SCONCE_DATA is not set, so models/stories260K.gguf cannot be found");
        return None;
    };
    Some(PathBuf::from(data).join("models/stories260K.gguf"))
}

fn engine(config: &EngineConfig) -> Option<(EngineHandle, EngineThread)> {
    let devices = devices::devices();
    let model = LoadedModel::open(&stories()?, None, &devices, None).expect("the model loads");
    let kv_memory_bytes = devices::kv_memory(config.kv_memory_bytes, &devices);
    Some(start(model, &EngineConfig { kv_memory_bytes, ..config.clone() }).expect("the engine starts"))
}

fn greedy(handle: &EngineHandle, text: &str, max_tokens: u32) -> GenerateRequest {
    let prompt = handle.tokenizer().encode(text, Special { add_bos: true, parse_special: false });
    let sampling = SamplingParams { temperature: 0.0, ..SamplingParams::default() };
    GenerateRequest { prompt, n: 1, sampling, max_tokens: Some(max_tokens), ..GenerateRequest::default() }
}

/// Text, token ids, cached prompt tokens and reason of a single choice.
fn collect(handle: &EngineHandle, request: GenerateRequest) -> (String, Vec<u32>, u32, FinishReason) {
    let mut generation = handle.generate(request).expect("it is taken");
    let (mut text, mut ids) = (String::new(), Vec::new());
    while let Some(event) = generation.blocking_next() {
        match event.kind {
            GenerationEventKind::Started { .. } => {}
            GenerationEventKind::Delta { text: more, tokens } => {
                text += &more;
                ids.extend(tokens.iter().map(|token| token.id));
            }
            GenerationEventKind::Finished { reason, usage } => return (text, ids, usage.cached_tokens, reason),
            GenerationEventKind::Failed { error } => panic!("{error}"),
        }
    }
    panic!("the stream ended without an end")
}

fn prompts(handle: &EngineHandle, count: usize) -> Vec<GenerateRequest> {
    let words = ["once", "there", "was", "a", "cat", "and", "the", "sun", "little", "dog", "ran", "big", "tree", "Tom"];
    (0..count)
        .map(|index| {
            let length = 1 + index * 399 / count.max(2).saturating_sub(1);
            let text: Vec<&str> =
                (0..length).map(|at| words[(at * at + index * 7 + at * index) % words.len()]).collect();
            let mut request = greedy(handle, &text.join(" "), 40);
            request.prompt.truncate(length);
            request
        })
        .collect()
}

#[test]
fn the_published_continuation_comes_out_at_depth_0_and_1() {
    for pipeline_depth in [0, 1] {
        let config = EngineConfig { pipeline_depth, ..EngineConfig::default() };
        let Some((handle, thread)) = engine(&config) else { return };
        let request = greedy(&handle, "Once upon a time", 60);
        let (text, ..) = collect(&handle, request.clone());
        assert!(text.starts_with(CONTINUATION), "{text}");
        let (again, _, cached, _) = collect(&handle, request.clone());
        assert_eq!(again, text);
        assert_eq!(cached as usize, request.prompt.len() - 1, "a warm prompt recomputes one token");
        handle.shutdown();
        assert_eq!(thread.join(), EngineEnd::Finished);
    }
}

#[test]
fn thirty_two_prompts_that_join_while_others_decode_answer_as_alone() {
    let Some((alone, _thread)) = engine(&EngineConfig { max_num_seqs: 1, ..EngineConfig::default() }) else { return };
    for pipeline_depth in [0, 1] {
        // A pool that is too small for everyone: some are preempted and recomputed.
        let config = EngineConfig {
            pipeline_depth,
            block_size: 16,
            kv_memory_bytes: Some(16 * 5 * 2 * 4 * 8 * 2 * 48),
            step_target: Duration::from_millis(5),
            ..EngineConfig::default()
        };
        let Some((crowd, _thread)) = engine(&config) else { return };
        let requests = prompts(&crowd, 32);
        let together: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = requests
                .iter()
                .enumerate()
                .map(|(index, request)| {
                    let crowd = &crowd;
                    scope.spawn(move || {
                        // Half of them come at once, the others while those decode: however fast the machine is.
                        while index >= 16 && crowd.metrics().generation_tokens.get() == 0 {
                            std::thread::sleep(Duration::from_millis(1));
                        }
                        collect(crowd, request.clone())
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert!(crowd.metrics().preemptions.get() > 0, "the pool is too small for everyone");
        for (index, (request, (_, ids, ..))) in requests.into_iter().zip(together).enumerate() {
            let (_, alone_ids, ..) = collect(&alone, request);
            assert_eq!(ids, alone_ids, "prompt {index} at depth {pipeline_depth}");
        }
    }
}

#[test]
fn stop_strings_end_a_choice_across_token_borders() {
    let Some((handle, _thread)) = engine(&EngineConfig::default()) else { return };
    let mut request = greedy(&handle, "Once upon a time", 60);
    request.stop = vec!["named Li".into()];
    let (text, _, _, reason) = collect(&handle, request.clone());
    assert_eq!((text.as_str(), reason), (", there was a little girl ", FinishReason::Stop));
    request.include_stop = true;
    assert_eq!(collect(&handle, request).0, ", there was a little girl named Li");
}

#[test]
fn choices_of_one_request_share_its_prompt_and_end_each_once() {
    let Some((handle, _thread)) = engine(&EngineConfig::default()) else { return };
    let mut request = greedy(&handle, &"the little dog ran and ".repeat(20), 8);
    request.n = 4;
    let prompt_len = request.prompt.len() as u64;
    let mut generation = handle.generate(request).expect("it is taken");
    let (mut ids, mut ends) = (vec![Vec::new(); 4], [0; 4]);
    while let Some(event) = generation.blocking_next() {
        let index = event.index as usize;
        match event.kind {
            GenerationEventKind::Delta { tokens, .. } => ids[index].extend(tokens.iter().map(|token| token.id)),
            GenerationEventKind::Finished { .. } => ends[index] += 1,
            GenerationEventKind::Started { .. } => {}
            GenerationEventKind::Failed { error } => panic!("{error}"),
        }
    }
    assert_eq!(ends, [1; 4]);
    assert!(ids.iter().all(|choice| choice == &ids[0]), "greedy choices are equal");
    let computed = handle.metrics().computed_tokens.get();
    assert!(computed <= prompt_len + 3 + 4 * 8, "the prompt is computed once: {computed} for {prompt_len}");
}
