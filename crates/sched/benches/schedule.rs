//! What planning a step costs with 256 running sequences: decoding, with a queue of 256 more behind them, and over long
//! contexts, whose block tables are most of the plan.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use sconce_kv::{KvCacheConfig, KvCacheManager, TokenId};
use sconce_sched::{NewSequence, Sampled, Scheduler, SchedulerConfig, StopRules};

const RUNNING: usize = 256;

/// `RUNNING` sequences past their prompts of `prompt` tokens, and `waiting` more.
fn crowd(prompt: u32, waiting: usize) -> Scheduler {
    let config = SchedulerConfig {
        max_num_seqs: RUNNING,
        max_num_batched_tokens: 8192,
        max_model_len: 1 << 20,
        step_target: Duration::from_secs(3600),
        pipeline_depth: 0,
        aging: Duration::from_secs(1),
    };
    let kv = KvCacheConfig { num_blocks: 1 << 18, block_size: 32, hash_key: [2; 16], quotas: vec![] };
    let mut scheduler = Scheduler::new(config, KvCacheManager::new(&kv).expect("in range")).expect("in range");
    for index in 0..(RUNNING + waiting) as u32 {
        let prompt = (0..prompt).map(|at| TokenId(index * prompt + at)).collect();
        let stop = StopRules { max_tokens: 1 << 19, ..StopRules::default() };
        let sequence = NewSequence { prompt, stop, ..NewSequence::default() };
        scheduler.add(sequence, Duration::from_micros(u64::from(index))).expect("fits");
    }
    loop {
        let plan = scheduler.schedule();
        let done = plan.rows.len() == RUNNING && plan.work.tokens == RUNNING;
        let sampled: Vec<Sampled> = plan.sampling_rows().map(|_| Sampled::Token(TokenId(1))).collect();
        scheduler.update(&plan, &sampled, Duration::from_micros(100));
        if done {
            return scheduler;
        }
    }
}

/// Steps measured on one crowd: contexts grow by so many tokens.
const STEPS_PER_CROWD: u64 = 512;

/// Runs `steps` steps on crowds of realistic contexts and adds up what `measured` picks of each.
fn measure(
    steps: u64,
    (prompt, waiting): (u32, usize),
    measured: impl Fn(&mut Scheduler, &[Sampled]) -> Duration,
) -> Duration {
    let sampled = vec![Sampled::Token(TokenId(1)); RUNNING];
    let mut spent = Duration::ZERO;
    let mut left = steps;
    while left > 0 {
        let mut scheduler = crowd(prompt, waiting);
        let count = left.min(STEPS_PER_CROWD);
        spent += (0..count).map(|_| measured(&mut scheduler, &sampled)).sum::<Duration>();
        left -= count;
    }
    spent
}

fn schedule(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("schedule");
    group.sample_size(20);
    let crowds = [
        ("256 running of 512 tokens and more", (512, 0)),
        ("256 running of 512 tokens and more, 256 waiting", (512, 256)),
        ("256 running of 8,192 tokens and more", (8192, 0)),
    ];
    for (name, crowd) in crowds {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|steps| {
                measure(steps, crowd, |scheduler, sampled| {
                    let began = Instant::now();
                    let plan = black_box(scheduler.schedule());
                    let spent = began.elapsed();
                    scheduler.update(&plan, sampled, Duration::from_micros(100));
                    spent
                })
            });
        });
        group.bench_function(format!("{name}, with its update"), |bencher| {
            bencher.iter_custom(|steps| {
                measure(steps, crowd, |scheduler, sampled| {
                    let began = Instant::now();
                    let plan = scheduler.schedule();
                    black_box(scheduler.update(&plan, sampled, Duration::from_micros(100)));
                    began.elapsed()
                })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, schedule);
criterion_main!(benches);
