//! The threads that kernels share. A caller opens a job, takes part in it, and closes it when its items are given out; threads
//! that come too late are not waited for, so that one that sleeps, or whose core another process has, delays nobody (but for
//! the instant of falling asleep or waking, for which there is a lock).
//!
//! What always holds: a job is written only while it is closed and nobody is inside; who has joined sees the job that was open;
//! `run` returns only when everybody has left, so what the job borrows outlives its use.

#![allow(unsafe_code)]

use std::any::Any;
use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a thread without work looks for more before it sleeps: longer than the pause between two products of a step.
const LOOK_OUT: Duration = Duration::from_micros(60);
/// Looks at a shared word between two looks at the clock.
const LOOKS: u32 = 32;

/// A thread takes one of so many equal shares of its part of the items that are left: one that is slower than the others by less
/// than this keeps nobody waiting for more than the least that is given out.
const SHARES: usize = 3;

/// The state: how many jobs there were, whether the last one is open, how many threads are inside.
const JOB: u64 = 1 << 32;
const OPEN: u64 = 1 << 31;
const INSIDE: u64 = OPEN - 1;

/// The pool of this process.
static POOL: OnceLock<Pool> = OnceLock::new();

/// Sets how many threads kernels use on the CPU, the caller's own included; without it there is one for each physical core, or
/// as many as this process may use if those are fewer. Gives `false` when they run already.
pub fn set_threads(count: usize) -> bool {
    let mut is_new = false;
    POOL.get_or_init(|| {
        is_new = true;
        Pool::new(count)
    });
    is_new
}

pub(crate) fn pool() -> &'static Pool {
    POOL.get_or_init(|| {
        let allowed = std::thread::available_parallelism().map_or(1, usize::from);
        Pool::new(num_cpus::get_physical().clamp(1, allowed))
    })
}

/// Threads, and the job that they share.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Held by the one caller whose job it is.
    turn: Mutex<()>,
}

struct Shared {
    state: AtomicU64,
    job: UnsafeCell<Job>,
    /// The first item that is not given out.
    next: AtomicUsize,
    asleep: AtomicUsize,
    sleep: Mutex<()>,
    wake: Condvar,
    ends: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: `job` is written by the holder of `turn` alone, while the state is closed and nobody is inside; it is read by those who
// joined an open state, which the write happened before.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer in the job leads to something `Sync`, as `run` demands.
unsafe impl Send for Shared {}

#[derive(Clone, Copy)]
struct Job {
    call: unsafe fn(*const (), Range<usize>),
    data: *const (),
    items: usize,
    grain: Grain,
}

/// How many items are given out at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grain {
    /// One. For items of unequal work, of which the longest come first.
    One,
    /// At least so many, and more at the beginning: each a share of those that are left, so that few ranges are given out and the
    /// threads end together. For items of equal work.
    Shrinking(usize),
}

impl Grain {
    /// How many of so many that are left.
    fn of(self, left: usize, threads: usize) -> usize {
        match self {
            Self::One => 1,
            // Guided self-scheduling (Polychronopoulos and Kuck, 1987).
            Self::Shrinking(least) => (left / (threads * SHARES)).max(least).max(1).min(left),
        }
    }
}

impl Pool {
    /// A pool of so many threads, of which the caller is one.
    fn new(count: usize) -> Self {
        let nothing = Job { call: |_, _| {}, data: std::ptr::null(), items: 0, grain: Grain::One };
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            job: UnsafeCell::new(nothing),
            next: AtomicUsize::new(0),
            asleep: AtomicUsize::new(0),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
            ends: AtomicBool::new(false),
            panic: Mutex::new(None),
        });
        let thread = |index: usize| {
            let shared = Arc::clone(&shared);
            // A machine that gives no more threads computes with those that there are.
            std::thread::Builder::new().name(format!("kernel-{index}")).spawn(move || shared.work(count)).ok()
        };
        let threads = (1..count).filter_map(thread).collect();
        Self { shared, threads, turn: Mutex::new(()) }
    }

    /// Threads, the caller included.
    pub(crate) fn count(&self) -> usize {
        self.threads.len() + 1
    }

    /// Calls `compute` with ranges that together cover `0..items` once. When another caller has the threads, or `compute` calls again,
    /// the caller does it alone, in one range.
    ///
    /// # Panics
    /// When `compute` does, once everybody has left it.
    pub(crate) fn run<F: Fn(Range<usize>) + Sync>(&self, items: usize, grain: Grain, compute: F) {
        let Ok(_turn) = self.turn.try_lock() else { return compute(0..items) };
        let shared = &*self.shared;
        // SAFETY: the pointer is that of an `F`.
        let call = |data: *const (), range: Range<usize>| unsafe { (*data.cast::<F>())(range) };
        let job = Job { call, data: (&raw const compute).cast(), items, grain };
        let before = shared.state.load(Ordering::Acquire);
        // SAFETY: this caller has the turn, the state is closed and nobody is inside: the last `run` ended so.
        unsafe { *shared.job.get() = job };
        shared.next.store(0, Ordering::Relaxed);
        shared.state.store(before.wrapping_add(JOB + OPEN), Ordering::SeqCst);
        if shared.asleep.load(Ordering::SeqCst) > 0 {
            drop(shared.sleep.lock());
            shared.wake.notify_all();
        }
        shared.take_part(job, self.count());
        shared.state.fetch_and(!OPEN, Ordering::AcqRel);
        let everybody_left = || shared.state.load(Ordering::Acquire) & INSIDE == 0;
        while !look_out(everybody_left) {
            std::thread::yield_now();
        }
        let payload = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(payload) = payload {
            drop(_turn);
            resume_unwind(payload);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::SeqCst);
        drop(self.shared.sleep.lock());
        self.shared.wake.notify_all();
        for thread in self.threads.drain(..) {
            // It has caught its panics.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// What a thread, one of so many, does until the pool ends.
    fn work(&self, threads: usize) {
        let mut last = 0;
        while let Some(state) = self.wait_for_job(last) {
            last = state / JOB;
            // Whoever joins or leaves changes the state; the job stays the same.
            let join = self.state.try_update(Ordering::AcqRel, Ordering::Acquire, |now| {
                (now & OPEN > 0 && now / JOB == last).then_some(now + 1)
            });
            if join.is_ok() {
                // SAFETY: this thread is inside, so the job is not written.
                self.take_part(unsafe { *self.job.get() }, threads);
                self.state.fetch_sub(1, Ordering::Release);
            }
        }
    }

    /// The state once a job is open that is not the `last` one; `None` when the pool ends.
    fn wait_for_job(&self, last: u64) -> Option<u64> {
        let found = || {
            let state = self.state.load(Ordering::SeqCst);
            (state & OPEN > 0 && state / JOB != last).then_some(state)
        };
        let ends = || self.ends.load(Ordering::SeqCst);
        if !look_out(|| found().is_some() || ends()) {
            let mut sleep = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
            self.asleep.fetch_add(1, Ordering::SeqCst);
            // Whoever opens a job after this look finds somebody asleep, and has to wait for the lock to wake them.
            while found().is_none() && !ends() {
                sleep = self.wake.wait(sleep).unwrap_or_else(PoisonError::into_inner);
            }
            self.asleep.fetch_sub(1, Ordering::SeqCst);
        }
        // A job that was closed meanwhile is as good: joining fails, and the wait begins again.
        if ends() { None } else { Some(self.state.load(Ordering::SeqCst)) }
    }

    /// Computes items until none is left.
    fn take_part(&self, job: Job, threads: usize) {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            while let Some(range) = self.take_range(job, threads) {
                // SAFETY: the caller of `run` waits until everybody has left, so what `data` points to is alive.
                unsafe { (job.call)(job.data, range) };
            }
        }));
        if let Err(payload) = outcome {
            let mut first = self.panic.lock().unwrap_or_else(PoisonError::into_inner);
            match *first {
                None => *first = Some(payload),
                // Not dropped: a payload may panic when it is, and nothing may leave this function but by its end.
                Some(_) => std::mem::forget(payload),
            }
        }
    }

    /// The next items that nobody has.
    fn take_range(&self, job: Job, threads: usize) -> Option<Range<usize>> {
        let mut start = self.next.load(Ordering::Relaxed);
        loop {
            let left = job.items.checked_sub(start).filter(|left| *left > 0)?;
            let end = start + job.grain.of(left, threads);
            match self.next.compare_exchange_weak(start, end, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(start..end),
                Err(now) => start = now,
            }
        }
    }
}

/// Looks for [`LOOK_OUT`]; whether it came.
fn look_out(has_come: impl Fn() -> bool) -> bool {
    let mut began = None;
    loop {
        for _ in 0..LOOKS {
            if has_come() {
                return true;
            }
            spin_loop();
        }
        if began.get_or_insert_with(Instant::now).elapsed() >= LOOK_OUT {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_computed_once_whoever_computes_it() {
        for threads in [1, 2, 5] {
            let pool = Pool::new(threads);
            for items in [0, 1, 2, 3, 17, 1000] {
                for grain in [Grain::One, Grain::Shrinking(1), Grain::Shrinking(4), Grain::Shrinking(2000)] {
                    let counts: Vec<AtomicUsize> = (0..items).map(|_| AtomicUsize::new(0)).collect();
                    let ranges = Mutex::new(Vec::new());
                    pool.run(items, grain, |range| {
                        ranges.lock().expect("whole").push(range.clone());
                        range.for_each(|item| {
                            counts[item].fetch_add(1, Ordering::Relaxed);
                        });
                    });
                    let case = format!("{threads} {items} {grain:?}");
                    assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1), "{case}");
                    let mut ranges = ranges.into_inner().expect("whole");
                    ranges.sort_by_key(|range| range.start);
                    for range in ranges {
                        assert_eq!(range.len(), grain.of(items - range.start, threads), "{case}");
                    }
                }
            }
        }
    }

    #[test]
    fn ranges_are_shares_of_what_is_left() {
        assert_eq!([600, 60, 12, 5, 1].map(|left| Grain::Shrinking(1).of(left, 2)), [100, 10, 2, 1, 1]);
        assert_eq!([600, 60, 12, 5, 1].map(|left| Grain::Shrinking(8).of(left, 2)), [100, 10, 8, 5, 1]);
        assert_eq!([600, 1].map(|left| Grain::One.of(left, 2)), [1, 1]);
    }

    #[test]
    fn threads_that_fell_asleep_are_woken() {
        let pool = Pool::new(3);
        for round in 0..20 {
            std::thread::sleep(LOOK_OUT * (round % 4));
            let seen = Mutex::new(std::collections::HashSet::new());
            let until = Instant::now() + Duration::from_secs(20);
            pool.run(3, Grain::One, |_| {
                // Each item waits for the others, so three threads must come.
                seen.lock().expect("whole").insert(std::thread::current().id());
                while seen.lock().expect("whole").len() < 3 && Instant::now() < until {
                    std::thread::yield_now();
                }
            });
            assert_eq!(seen.into_inner().expect("whole").len(), 3, "round {round}");
        }
    }

    #[test]
    fn callers_at_once_and_calls_within_calls_are_served() {
        let pool = Pool::new(4);
        let total = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        pool.run(10, Grain::One, |range| {
                            pool.run(range.len() * 3, Grain::One, |inner| {
                                total.fetch_add(inner.len(), Ordering::Relaxed);
                            });
                        });
                    }
                });
            }
        });
        assert_eq!(total.into_inner(), 4 * 200 * 10 * 3);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
        let pool = Pool::new(3);
        for bad in 0..6 {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                pool.run(6, Grain::One, |range| assert_ne!(range.start, bad, "on purpose"));
            }));
            assert!(outcome.is_err(), "item {bad}");
            let sum = AtomicUsize::new(0);
            pool.run(100, Grain::Shrinking(3), |range| {
                sum.fetch_add(range.sum::<usize>(), Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 4950);
        }
    }
}
