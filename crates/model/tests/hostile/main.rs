//! Hostile model files: each ends in a typed error or a model, soon and within a bound on memory that an allocator counts.

mod allocator;
#[path = "../forward/builder.rs"]
#[allow(dead_code, reason = "shared with the tests of the forward, which use more of it")]
mod builder;
mod finite;
mod headers;
mod keys;
mod large;
mod mutations;
#[path = "../forward/random.rs"]
#[allow(dead_code, reason = "shared with the tests of the forward, which use more of it")]
mod random;
#[path = "../forward/tiny.rs"]
#[allow(dead_code, reason = "shared with the tests of the forward, which use more of it")]
mod tiny;

use std::time::{Duration, Instant};

/// What a fault in a header may take, whatever the header's size.
const LIMIT_TIME: Duration = Duration::from_secs(2);

/// Runs `work` over a header of so many bytes and checks the bounds: 2 s, and twice the header and 64 MiB.
fn bounded<T>(what: &str, header_bytes: usize, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let (result, peak) = allocator::peak(work);
    let limit = 2 * header_bytes + (64 << 20);
    assert!(peak <= limit, "{what}: {peak} bytes were allocated at once, the limit is {limit}");
    if header_bytes > 1 << 20 {
        println!("{what}: a header of {header_bytes} bytes, {peak} bytes at most, {:?}", began.elapsed());
    }
    assert!(began.elapsed() < LIMIT_TIME, "{what}: took {:?}", began.elapsed());
    result
}
