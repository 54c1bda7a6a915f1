//! Plans step by step: chunks beside decodes, one computation of a common prefix, hand-over, preemption, forks, the pipeline.

use std::time::Duration;

use sconce_kv::{KvCacheConfig, KvCacheManager, RetentionPlan, Salt, TokenId};
use sconce_sched::{
    AddError, FinishReason, NewSequence, PlanToken, Sampled, Scheduler, SchedulerConfig, SequenceId, SequenceStatus,
    StepPlan, StopRules,
};

const BLOCK: usize = 32;

fn config() -> SchedulerConfig {
    SchedulerConfig {
        max_num_seqs: 16,
        max_num_batched_tokens: 512,
        max_model_len: 4096,
        step_target: Duration::from_secs(3600),
        pipeline_depth: 0,
        aging: Duration::from_secs(1),
    }
}

/// A scheduler that has learned nothing yet.
fn fresh(config: SchedulerConfig, num_blocks: usize) -> Scheduler {
    let kv = KvCacheConfig { num_blocks, block_size: BLOCK, hash_key: [1; 16], quotas: vec![] };
    Scheduler::new(config, KvCacheManager::new(&kv).expect("in range")).expect("in range")
}

/// A scheduler that has learned that steps are fast, so that only the token budget bounds a chunk.
fn scheduler(config: SchedulerConfig, num_blocks: usize) -> Scheduler {
    let longest = (num_blocks * BLOCK).min(config.max_model_len - 1) as u32;
    let mut scheduler = fresh(config, num_blocks);
    for (salt, tokens) in [(100, 3), (101, 3), (102, 64), (103, 256)] {
        let prompt = numbers(0, tokens.min(longest));
        let warm_up = NewSequence { salt: Salt(salt), stop: stop(1), ..sequence(prompt) };
        scheduler.add(warm_up, Duration::ZERO).expect("fits");
        drain(&mut scheduler);
    }
    scheduler
}

fn numbers(first: u32, count: u32) -> Vec<TokenId> {
    (first..first + count).map(TokenId).collect()
}

fn stop(max_tokens: usize) -> StopRules {
    StopRules { max_tokens, ..StopRules::default() }
}

fn sequence(prompt: Vec<TokenId>) -> NewSequence {
    NewSequence { prompt, stop: stop(8), ..NewSequence::default() }
}

fn sampled(plan: &StepPlan) -> Vec<Sampled> {
    plan.sampling_rows().map(|_| Sampled::Token(TokenId(7))).collect()
}

fn run(scheduler: &mut Scheduler) -> StepPlan {
    let plan = scheduler.schedule();
    scheduler.assert_invariants();
    if !plan.is_empty() {
        scheduler.update(&plan, &sampled(&plan), Duration::from_micros(10));
        scheduler.assert_invariants();
    }
    plan
}

/// (sequence, first position, tokens, samples) of each row.
fn rows(plan: &StepPlan) -> Vec<(u64, usize, usize, bool)> {
    plan.rows.iter().map(|row| (row.sequence.0, row.first_position, row.tokens.len(), row.samples)).collect()
}

/// Runs to the end and returns how many tokens went through the model.
fn drain(scheduler: &mut Scheduler) -> usize {
    let mut computed = 0;
    for _ in 0..10_000 {
        if scheduler.is_idle() {
            return computed;
        }
        computed += run(scheduler).work.tokens;
    }
    panic!("it does not end");
}

fn shared_prefix_prompts(scheduler: &mut Scheduler, count: u32, prefix: u32) -> Vec<SequenceId> {
    (0..count)
        .map(|index| {
            let mut prompt = numbers(0, prefix);
            prompt.extend(numbers(10_000 + index * 100, 15));
            scheduler.add(NewSequence { stop: stop(4), ..sequence(prompt) }, Duration::ZERO).expect("fits")
        })
        .collect()
}

#[test]
fn a_prompt_is_chunked_by_the_budget_while_another_decodes() {
    let mut scheduler = scheduler(config(), 64);
    let short = scheduler.add(sequence(numbers(0, 5)), Duration::ZERO).expect("fits");
    assert_eq!(rows(&run(&mut scheduler)), [(short.0, 0, 5, true)]);
    let long = scheduler.add(sequence(numbers(100, 1000)), Duration::from_millis(1)).expect("fits");
    assert_eq!(rows(&run(&mut scheduler)), [(short.0, 5, 1, true), (long.0, 0, 511, false)]);
    assert_eq!(rows(&run(&mut scheduler)), [(short.0, 6, 1, true), (long.0, 511, 489, true)]);
    assert_eq!(rows(&run(&mut scheduler)), [(short.0, 7, 1, true), (long.0, 1000, 1, true)]);
}

#[test]
fn a_step_keeps_its_target_once_costs_are_known() {
    let mut scheduler = scheduler(SchedulerConfig { step_target: Duration::from_millis(100), ..config() }, 256);
    let decoding =
        scheduler.add(NewSequence { stop: stop(64), ..sequence(numbers(0, 5)) }, Duration::ZERO).expect("fits");
    scheduler.add(sequence(numbers(1000, 3000)), Duration::from_millis(1)).expect("fits");
    let mut slowest = Duration::ZERO;
    for step in 0..40 {
        let plan = scheduler.schedule();
        let elapsed = Duration::from_micros(2_000 + plan.work.tokens as u64 * 2_000 + plan.work.attended as u64 / 10);
        if step > 12 && plan.rows.len() == 2 {
            assert!(plan.rows.iter().any(|row| row.sequence == decoding), "the decoding sequence gets its token");
            assert!(plan.work.tokens > 16, "the chunk uses the target: {}", plan.work.tokens);
            slowest = slowest.max(elapsed);
        }
        scheduler.update(&plan, &sampled(&plan), elapsed);
    }
    assert!(slowest > Duration::ZERO && slowest < Duration::from_millis(115), "{slowest:?}");
}

/// Plans a step and says that it took 17 ms per token; returns the plan and the time.
fn run_slowly(scheduler: &mut Scheduler) -> (StepPlan, Duration) {
    let plan = scheduler.schedule();
    scheduler.assert_invariants();
    let elapsed = Duration::from_millis(17) * plan.work.tokens as u32;
    scheduler.update(&plan, &sampled(&plan), elapsed);
    (plan, elapsed)
}

#[test]
fn a_long_prompt_after_many_single_tokens_is_guessed_once_and_then_known() {
    for beside_a_decode in [false, true] {
        let target = Duration::from_millis(250);
        let mut scheduler = fresh(SchedulerConfig { step_target: target, ..config() }, 256);
        let single = NewSequence { stop: stop(1000), ..sequence(numbers(0, 1)) };
        let decode = scheduler.add(single, Duration::ZERO).expect("fits");
        for _ in 0..300 {
            run_slowly(&mut scheduler);
        }
        if !beside_a_decode {
            scheduler.end(decode);
        }
        scheduler.add(sequence(numbers(1000, 4000)), Duration::from_millis(1)).expect("fits");
        let (plan, _) = run_slowly(&mut scheduler);
        assert_eq!(plan.work.tokens, 64, "the first guess is bounded");
        for step in 0..50 {
            let (_, elapsed) = run_slowly(&mut scheduler);
            assert!(elapsed <= target * 4, "step {step} takes {elapsed:?}");
            assert!(!beside_a_decode || step < 2 || elapsed < target + target / 4, "step {step} takes {elapsed:?}");
        }
    }
}

#[test]
fn a_short_prompt_does_not_wait_for_all_of_a_long_one() {
    // 4,000 tokens of 17 ms take 68 s. Of the 58 tokens that a step of 1 s holds the short one gets half; beside a
    // decode, a step of 250 ms has its minimum of 16 for chunks.
    for (decodes, steps) in [(false, 1), (true, 3)] {
        let step_target = Duration::from_millis(250);
        let mut scheduler = fresh(SchedulerConfig { step_target, ..config() }, 256);
        if decodes {
            scheduler.add(NewSequence { stop: stop(1000), ..sequence(numbers(0, 1)) }, Duration::ZERO).expect("fits");
        }
        let long = scheduler.add(sequence(numbers(1000, 4000)), Duration::ZERO).expect("fits");
        for _ in 0..20 {
            run_slowly(&mut scheduler);
        }
        let short = scheduler.add(sequence(numbers(8000, 20)), Duration::from_secs(10)).expect("fits");
        let mut waited = Duration::ZERO;
        for step in 1..=steps {
            let (plan, elapsed) = run_slowly(&mut scheduler);
            let tokens = |id| plan.rows.iter().find(|row| row.sequence == id).map_or(0, |row| row.tokens.len());
            waited += elapsed;
            assert!(tokens(long) >= 8, "the long one goes on: {:?}", rows(&plan));
            assert_eq!(plan.sampling_rows().any(|row| row.sequence == short), step == steps, "{:?}", rows(&plan));
        }
        assert!(waited < Duration::from_millis(1300), "{waited:?}");
    }
}

#[test]
fn a_long_prompt_yields_nothing_to_longer_ones_or_to_those_who_could_not_use_it() {
    let mut scheduler = scheduler(SchedulerConfig { max_num_seqs: 2, ..config() }, 256);
    let first = scheduler.add(sequence(numbers(0, 1500)), Duration::ZERO).expect("fits");
    let longer = scheduler.add(sequence(numbers(4000, 1600)), Duration::from_millis(1)).expect("fits");
    assert_eq!(rows(&run(&mut scheduler)), [(first.0, 0, 512, false)]);
    let mut follower = numbers(0, 900);
    follower.push(TokenId(9));
    scheduler.add(sequence(follower), Duration::from_millis(2)).expect("fits");
    let plan = run(&mut scheduler);
    assert_eq!(rows(&plan), [(first.0, 512, 512, false)], "a follower of its own does not count");
    let short = scheduler.add(sequence(numbers(8000, 20)), Duration::from_millis(3)).expect("fits");
    // The longer one comes first and takes the only seat that is left.
    assert_eq!(rows(&run(&mut scheduler)), [(first.0, 1024, 476, true), (longer.0, 0, 36, false)]);
    assert_eq!(rows(&run(&mut scheduler)), [(first.0, 1500, 1, true), (longer.0, 36, 511, false)]);
    assert_eq!(scheduler.status(short), Some(SequenceStatus::Waiting));
}

#[test]
fn what_is_cached_begins_at_once_beside_a_step_over_its_target() {
    let step_target = Duration::from_millis(100);
    let mut scheduler = scheduler(SchedulerConfig { max_num_seqs: 32, step_target, ..config() }, 256);
    let prompts: Vec<_> = (0..16).map(|index| numbers(1000 * index, 40)).collect();
    for prompt in &prompts {
        scheduler.add(NewSequence { stop: stop(1), ..sequence(prompt.clone()) }, Duration::ZERO).expect("fits");
    }
    drain(&mut scheduler);
    scheduler.add(NewSequence { stop: stop(99), ..sequence(numbers(0, 1)) }, Duration::ZERO).expect("fits");
    for _ in 0..40 {
        let plan = scheduler.schedule();
        scheduler.update(&plan, &sampled(&plan), Duration::from_secs(1));
    }
    for prompt in prompts {
        scheduler.add(sequence(prompt), Duration::from_millis(1)).expect("fits");
    }
    let plan = scheduler.schedule();
    assert_eq!((plan.started.len(), plan.work.tokens), (16, 17), "the decode's token and one for each of them");
}

#[test]
fn eight_requests_with_one_prefix_compute_it_once() {
    let mut scheduler = scheduler(config(), 512);
    let before = scheduler.stats();
    shared_prefix_prompts(&mut scheduler, 8, 900);
    let computed = drain(&mut scheduler);
    // 900 tokens once; of the prefix's last, partial block (4 tokens) and of their own 15 each computes its share, and
    // three of the four output tokens.
    assert!(computed <= 900 + 8 * (4 + 15 + 3), "computed {computed}");
    assert_eq!(scheduler.stats().cached_tokens - before.cached_tokens, 7 * 896);
}

#[test]
fn followers_take_over_when_the_leader_is_aborted_or_paused_half_way() {
    for pause in [false, true] {
        let mut scheduler = scheduler(config(), 512);
        let ids = shared_prefix_prompts(&mut scheduler, 8, 900);
        let first = run(&mut scheduler);
        assert_eq!(rows(&first), [(ids[0].0, 0, 512, false)]);
        let waited: Vec<_> = ids[1..].iter().map(|&follower| (follower, ids[0])).collect();
        assert_eq!(scheduler.waited_for_prefix(), waited, "followers wait for what is not scheduled yet");
        if pause {
            scheduler.pause(ids[0]);
        } else {
            scheduler.end(ids[0]);
        }
        let second = run(&mut scheduler);
        assert_eq!(rows(&second)[0], (ids[1].0, 512, 403, true), "the next one goes on where the leader stopped");
        assert_eq!(second.rows.len(), 7, "and the others share it in the same step");
        let computed = 512 + second.work.tokens + {
            scheduler.resume(ids[0]);
            drain(&mut scheduler)
        };
        assert!(computed <= 900 + 8 * (4 + 15 + 3), "computed {computed}");
    }
}

#[test]
fn a_leader_has_its_turn_in_the_place_of_an_urgent_follower() {
    let mut scheduler = scheduler(SchedulerConfig { max_num_batched_tokens: 64, ..config() }, 256);
    let patient = NewSequence { priority: 5, ..sequence(numbers(1000, 3000)) };
    let leader = scheduler.add(patient, Duration::ZERO).expect("fits");
    assert_eq!(rows(&run(&mut scheduler)), [(leader.0, 0, 64, false)]);
    let mut prompt = numbers(1000, 128);
    prompt.extend(numbers(0, 8));
    let between = NewSequence { priority: 2, ..sequence(numbers(5000, 600)) };
    let between = scheduler.add(between, Duration::ZERO).expect("fits");
    let urgent = scheduler.add(sequence(prompt), Duration::from_millis(1)).expect("fits");
    assert_eq!(rows(&run(&mut scheduler)), [(leader.0, 64, 64, false)], "the one between takes nothing from the two");
    assert_eq!(scheduler.status(urgent), Some(SequenceStatus::Waiting), "the step is full");
    let third = [(urgent.0, 128, 8, true), (between.0, 0, 55, false), (leader.0, 128, 1, false)];
    assert_eq!(rows(&run(&mut scheduler)), third);
}

#[test]
fn a_follower_begins_in_the_step_that_completes_what_it_waits_for() {
    let mut scheduler = scheduler(SchedulerConfig { max_num_batched_tokens: 64, ..config() }, 256);
    let patient = NewSequence { priority: 5, ..sequence(numbers(1000, 3000)) };
    let leader = scheduler.add(patient, Duration::ZERO).expect("fits");
    run(&mut scheduler);
    let mut prompt = numbers(1000, 96);
    prompt.extend(numbers(0, 8));
    let urgent = scheduler.add(sequence(prompt), Duration::ZERO).expect("fits");
    assert_eq!(rows(&run(&mut scheduler)), [(leader.0, 64, 32, false), (urgent.0, 96, 8, true)]);
}

#[test]
fn a_warm_prompt_recomputes_one_token() {
    let mut scheduler = scheduler(config(), 64);
    scheduler.add(sequence(numbers(0, 70)), Duration::ZERO).expect("fits");
    drain(&mut scheduler);
    let again = scheduler.add(sequence(numbers(0, 70)), Duration::ZERO).expect("fits");
    let plan = run(&mut scheduler);
    assert_eq!(rows(&plan), [(again.0, 69, 1, true)]);
    assert_eq!(plan.started[0].cached_tokens, 69);
}

#[test]
fn the_newest_of_lowest_priority_is_preempted_and_resumes_from_the_cache() {
    // Three sequences of 60 + 32 tokens need 9 blocks; there are 8.
    let mut scheduler = scheduler(config(), 8);
    let mut add = |priority, first, millis| {
        let new = NewSequence { priority, stop: stop(32), ..sequence(numbers(first, 60)) };
        scheduler.add(new, Duration::from_millis(millis)).expect("fits")
    };
    let old = add(1, 0, 0);
    let newest = add(1, 500, 5);
    let urgent = add(0, 900, 9);
    let mut was_preempted = false;
    let mut resumed_at = None;
    while !scheduler.is_idle() {
        let plan = run(&mut scheduler);
        assert_ne!(scheduler.status(old), Some(SequenceStatus::Waiting), "the elder keeps its blocks");
        assert_ne!(scheduler.status(urgent), Some(SequenceStatus::Waiting), "and so does the urgent one");
        if was_preempted && resumed_at.is_none() {
            let row = plan.rows.iter().find(|row| row.sequence == newest);
            resumed_at = row.map(|row| row.first_position);
        }
        was_preempted |= scheduler.status(newest) == Some(SequenceStatus::Waiting);
    }
    assert_eq!(scheduler.stats().preemptions, 1);
    // It had 65 tokens; its first two blocks are still there when it comes back.
    assert_eq!(resumed_at, Some(64));
}

#[test]
fn priority_runs_sooner_and_waiting_makes_up_for_it() {
    let mut scheduler = scheduler(SchedulerConfig { max_num_seqs: 1, ..config() }, 64);
    let at = Duration::from_millis;
    let busy = scheduler.add(sequence(numbers(0, 4)), at(0)).expect("fits");
    run(&mut scheduler);
    let patient = scheduler.add(sequence(numbers(100, 4)), at(0)).expect("fits");
    let urgent = scheduler.add(NewSequence { priority: -1, ..sequence(numbers(200, 4)) }, at(900)).expect("fits");
    let later = scheduler.add(NewSequence { priority: -1, ..sequence(numbers(300, 4)) }, at(1100)).expect("fits");
    let mut order = Vec::new();
    while !scheduler.is_idle() {
        order.extend(run(&mut scheduler).started.iter().map(|started| started.sequence));
    }
    assert_eq!(order, [urgent, patient, later], "one level of priority is worth one second; {busy:?} ran already");
}

#[test]
fn a_fork_shares_its_parents_prompt_and_recomputes_one_token() {
    let mut scheduler = scheduler(config(), 64);
    let parent = scheduler.add(sequence(numbers(0, 70)), Duration::ZERO).expect("fits");
    let fork = NewSequence { fork_of: Some(parent), ..sequence(numbers(0, 70)) };
    let child = scheduler.add(fork, Duration::ZERO).expect("fits");
    assert_eq!(rows(&run(&mut scheduler)), [(parent.0, 0, 70, true)]);
    let plan = run(&mut scheduler);
    assert_eq!(rows(&plan), [(parent.0, 70, 1, true), (child.0, 69, 1, true)]);
    assert_eq!(plan.copies.len(), 1, "the shared tail is copied on the first write");
    let tables: Vec<_> = plan.rows.iter().map(|row| &plan.blocks[row.blocks.clone()]).collect();
    assert_eq!(tables[0][..2], tables[1][..2]);
    assert_ne!(tables[0][2], tables[1][2]);
}

#[test]
fn with_a_step_in_flight_an_unknown_token_is_a_placeholder_and_an_end_comes_one_step_late() {
    let mut scheduler = scheduler(SchedulerConfig { pipeline_depth: 1, ..config() }, 64);
    let stop = StopRules { max_tokens: 8, min_tokens: 0, stop_tokens: vec![TokenId(9)] };
    let id = scheduler.add(NewSequence { stop, ..sequence(numbers(0, 5)) }, Duration::ZERO).expect("fits");
    let first = scheduler.schedule();
    let second = scheduler.schedule();
    assert_eq!(second.tokens, [PlanToken::Pending]);
    assert_eq!(rows(&second), [(id.0, 5, 1, true)]);
    let events = scheduler.update(&first, &[Sampled::Token(TokenId(9))], Duration::ZERO);
    assert_eq!(events[0].finished, Some(FinishReason::Stop));
    assert!(scheduler.schedule().is_empty());
    assert!(scheduler.update(&second, &[Sampled::Token(TokenId(9))], Duration::ZERO).is_empty(), "it ended already");
    assert!(scheduler.is_idle());
    scheduler.assert_invariants();
}

#[test]
fn outputs_in_flight_count_towards_the_limit() {
    let mut scheduler = scheduler(SchedulerConfig { pipeline_depth: 1, ..config() }, 64);
    scheduler.add(NewSequence { stop: stop(2), ..sequence(numbers(0, 5)) }, Duration::ZERO).expect("fits");
    let first = scheduler.schedule();
    let second = scheduler.schedule();
    assert_eq!((first.rows.len(), second.rows.len()), (1, 1));
    scheduler.update(&first, &sampled(&first), Duration::ZERO);
    assert!(scheduler.schedule().is_empty(), "two tokens were asked for, and two are sampled");
    let events = scheduler.update(&second, &sampled(&second), Duration::ZERO);
    assert_eq!(events[0].finished, Some(FinishReason::Length));
}

#[test]
fn what_can_never_fit_is_refused_and_limits_are_cut_to_what_fits() {
    let mut scheduler = scheduler(SchedulerConfig { max_model_len: 100, ..config() }, 2);
    let too_long = scheduler.add(sequence(numbers(0, 65)), Duration::ZERO);
    assert_eq!(too_long, Err(AddError::PromptTooLong { prompt_len: 65, limit: 64 }));
    assert_eq!(scheduler.add(sequence(vec![]), Duration::ZERO), Err(AddError::PromptEmpty));
    let fits = NewSequence { stop: stop(usize::MAX), ..sequence(numbers(0, 60)) };
    scheduler.add(fits, Duration::ZERO).expect("fits");
    let mut tokens = 0;
    while !scheduler.is_idle() {
        tokens += run(&mut scheduler).sampling_rows().count();
    }
    assert_eq!(tokens, 5, "the last token needs no slot");
}

#[test]
fn a_failed_row_ends_its_own_sequence_only() {
    let mut scheduler = scheduler(config(), 64);
    let bad = scheduler.add(sequence(numbers(0, 5)), Duration::ZERO).expect("fits");
    let good = scheduler.add(sequence(numbers(100, 5)), Duration::ZERO).expect("fits");
    let plan = scheduler.schedule();
    let events = scheduler.update(&plan, &[Sampled::Failed, Sampled::Token(TokenId(1))], Duration::ZERO);
    assert_eq!((events[0].sequence, events[0].finished), (bad, Some(FinishReason::Failed)));
    assert_eq!((events[1].sequence, events[1].finished), (good, None));
    assert_eq!(scheduler.status(bad), None);
}

#[test]
fn pausing_keeps_blocks_until_somebody_needs_them() {
    let mut scheduler = scheduler(config(), 4);
    let idle = scheduler.add(NewSequence { stop: stop(40), ..sequence(numbers(0, 60)) }, Duration::ZERO).expect("fits");
    run(&mut scheduler);
    scheduler.pause(idle);
    assert!(run(&mut scheduler).is_empty());
    assert_eq!(scheduler.status(idle), Some(SequenceStatus::Running));
    let needy = scheduler.add(sequence(numbers(500, 90)), Duration::ZERO).expect("fits");
    assert_eq!(rows(&run(&mut scheduler)), [(needy.0, 0, 90, true)]);
    assert_eq!(scheduler.status(idle), Some(SequenceStatus::Waiting));
    scheduler.resume(idle);
    drain(&mut scheduler);
}

#[test]
fn a_paused_sequence_keeps_its_blocks_when_they_do_not_help() {
    let mut scheduler = scheduler(config(), 8);
    let idle = scheduler.add(sequence(numbers(0, 20)), Duration::ZERO).expect("fits");
    let busy = scheduler.add(sequence(numbers(1000, 100)), Duration::ZERO).expect("fits");
    run(&mut scheduler);
    scheduler.pause(idle);
    // 5 blocks do not fit beside the 4 in use, with or without the paused one's.
    let large = scheduler.add(sequence(numbers(2000, 150)), Duration::ZERO).expect("fits");
    run(&mut scheduler);
    assert_eq!(scheduler.status(large), Some(SequenceStatus::Waiting));
    assert_eq!((scheduler.status(idle), scheduler.stats().preemptions), (Some(SequenceStatus::Running), 0));
    scheduler.end(busy);
    assert_eq!(rows(&run(&mut scheduler)), [(large.0, 0, 150, true)]);
    assert_eq!(scheduler.status(idle), Some(SequenceStatus::Running), "there is room beside it now");
}

#[test]
fn the_plan_of_a_mixed_step_reads_as_drawn() {
    let mut scheduler = scheduler(config(), 64);
    scheduler.add(sequence(numbers(0, 33)), Duration::ZERO).expect("fits");
    run(&mut scheduler);
    let mut prompt = numbers(0, 32);
    prompt.extend(numbers(900, 3));
    let retention = RetentionPlan { document_tokens: 32, pinned: false };
    scheduler.add(NewSequence { retention, ..sequence(prompt) }, Duration::ZERO).expect("fits");
    let plan = scheduler.schedule();
    insta::assert_debug_snapshot!(plan);
}

#[test]
fn an_urgent_request_does_not_wait_for_a_long_prompt_that_is_being_computed() {
    let mut scheduler = scheduler(SchedulerConfig { max_num_batched_tokens: 64, ..config() }, 256);
    let long = NewSequence { priority: 5, ..sequence(numbers(1000, 3000)) };
    let long = scheduler.add(long, Duration::ZERO).expect("fits");
    run(&mut scheduler);
    let urgent = scheduler.add(sequence(numbers(0, 10)), Duration::from_millis(1)).expect("fits");
    assert_eq!(rows(&run(&mut scheduler)), [(urgent.0, 0, 10, true), (long.0, 64, 54, false)]);
}

#[test]
fn a_step_without_memory_costs_its_largest_sequence_and_the_others_lose_nothing_that_was_computed() {
    for pipeline_depth in [0, 1] {
        let mut scheduler = scheduler(SchedulerConfig { pipeline_depth, ..config() }, 64);
        let add = |scheduler: &mut Scheduler, first, count, millis| {
            scheduler.add(sequence(numbers(first, count)), Duration::from_millis(millis)).expect("fits")
        };
        let decodes = [add(&mut scheduler, 0, 40, 0), add(&mut scheduler, 100, 70, 1)];
        let mut before = scheduler.schedule();
        let large = add(&mut scheduler, 1000, 300, 2);
        if pipeline_depth == 0 {
            scheduler.update(&before, &sampled(&before), Duration::from_micros(10));
        }
        let plan = scheduler.schedule();
        assert_eq!(rows(&plan), [(decodes[0].0, 40, 1, true), (decodes[1].0, 70, 1, true), (large.0, 0, 300, true)]);
        if pipeline_depth == 1 {
            scheduler.update(&before, &sampled(&before), Duration::from_micros(10));
        }
        assert_eq!(scheduler.take_back(&plan), Some(large));
        scheduler.assert_invariants();
        assert_eq!(scheduler.status(large), None);
        assert_eq!(decodes.map(|id| scheduler.status(id)), [Some(SequenceStatus::Waiting); 2]);
        // The same two tokens again and no others; of equal rows the one of highest rank pays.
        before = scheduler.schedule();
        assert_eq!(rows(&before), [(decodes[0].0, 40, 1, true), (decodes[1].0, 70, 1, true)]);
        assert!(before.started.is_empty() && before.copies.is_empty());
        assert_eq!(scheduler.take_back(&before), Some(decodes[1]));
        assert_eq!(rows(&run(&mut scheduler)), [(decodes[0].0, 40, 1, true)]);
        let again = add(&mut scheduler, 1000, 300, 3);
        let plan = run(&mut scheduler);
        assert_eq!(rows(&plan), [(decodes[0].0, 41, 1, true), (again.0, 0, 300, true)], "nothing of it was kept");
        drain(&mut scheduler);
    }
}

#[test]
fn a_step_without_memory_whose_sequences_have_ended_costs_nobody() {
    let mut scheduler = scheduler(config(), 64);
    let id = scheduler.add(sequence(numbers(0, 5)), Duration::ZERO).expect("fits");
    let plan = scheduler.schedule();
    scheduler.end(id);
    assert_eq!(scheduler.take_back(&plan), None);
    scheduler.assert_invariants();
    assert!(scheduler.is_idle());
}
