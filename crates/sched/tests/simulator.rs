//! Seeded simulation: 1,000 seeds × 2,000 steps with arrivals, aborts, pauses, preemption, forks, quotas, prompts longer
//! than the pool, failed rows, failed steps and steps without memory, at pipeline depth 0 and 1.
//!
//! A failure prints its seed; `SCONCE_SIM_SEED=17 cargo test -p sconce-sched --test simulator` replays it alone.
//! `SCONCE_SIM_SEEDS=100000` makes a long run.

#[path = "simulator/device.rs"]
mod device;
#[path = "simulator/world.rs"]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use world::{Tally, World};

const SEEDS: u64 = 1_000;
const STEPS: usize = 2_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

fn simulate(seed: u64) -> Tally {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(seed);
        world.run(STEPS);
        world.tally
    }));
    outcome.unwrap_or_else(|panic| {
        eprintln!("SCONCE_SIM_SEED={seed} fails");
        resume_unwind(panic)
    })
}

#[test]
fn a_thousand_seeds_keep_every_promise() {
    if let Some(seed) = number("SCONCE_SIM_SEED") {
        eprintln!("{:?}", simulate(seed));
        return;
    }
    let seeds = number("SCONCE_SIM_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let work = || {
        let mut sum = Tally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return sum;
            }
            let tally = simulate(seed);
            sum.ended += tally.ended;
            sum.preemptions += tally.preemptions;
            sum.cached_tokens += tally.cached_tokens;
            sum.copies += tally.copies;
            sum.waits += tally.waits;
            sum.refused += tally.refused;
            sum.aborted += tally.aborted;
            sum.failed_steps += tally.failed_steps;
            sum.taken_back += tally.taken_back;
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let sums: Vec<Tally> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    eprintln!("{sums:?}");
    let total = |field: fn(&Tally) -> u64| sums.iter().map(field).sum::<u64>();
    // A simulation in which nothing happens proves nothing.
    assert!(total(|tally| tally.ended) > seeds * 50, "requests end");
    for (name, count) in [
        ("preemptions", total(|tally| tally.preemptions)),
        ("cached tokens", total(|tally| tally.cached_tokens)),
        ("copies on write", total(|tally| tally.copies)),
        ("waits for a prefix", total(|tally| tally.waits)),
        ("refused prompts", total(|tally| tally.refused)),
        ("aborts", total(|tally| tally.aborted)),
        ("failed steps", total(|tally| tally.failed_steps)),
        ("steps taken back", total(|tally| tally.taken_back)),
    ] {
        assert!(count > seeds, "{name} are common in a simulation: {count}");
    }
}
