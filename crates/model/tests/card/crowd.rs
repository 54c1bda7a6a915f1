//! Random steps of a crowd of sequences, given to two executors that must draw the same: chunks of prompts, lone rows, tokens that
//! only the device knows yet, forks by block copies, and blocks that change hands while steps are in flight.

use sconce_kernels::checks::Random;
use sconce_model::sampling::{Sampled, Sampler, SamplingParams};
use sconce_model::{BlockCopy, Draw, Executor, ForwardBatch, PendingToken, Step, StepOutcome};

pub(crate) const BLOCK_SIZE: usize = 8;
pub(crate) const BLOCKS: usize = 90;
pub(crate) const MAX_SEQUENCES: usize = 11;
pub(crate) const MAX_ROWS: usize = 40;
pub(crate) const MAX_TOKENS: usize = 64;
const VOCABULARY: usize = 600;
const BLOCKS_EACH: usize = MAX_TOKENS / BLOCK_SIZE;

/// A token of a sequence: known, or a draw of the step in flight.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Token {
    Known(u32),
    Drawn(u32),
}

#[derive(Debug)]
struct Sequence {
    tokens: Vec<Token>,
    blocks: Vec<u32>,
    /// Tokens whose rows were launched.
    computed: usize,
    sampler: Sampler,
    /// Changes when another sequence takes this place.
    generation: u32,
}

/// Whose a draw is, and which token it becomes.
#[derive(Debug, Clone, Copy)]
struct Owner {
    place: usize,
    generation: u32,
    token: usize,
}

/// A step that was planned.
#[derive(Debug, Default)]
struct Plan {
    copies: Vec<BlockCopy>,
    batch: ForwardBatch,
    pending: Vec<PendingToken>,
    /// Owner, position and pending draw.
    draws: Vec<(Owner, u64, Option<u32>)>,
}

/// All sequences and the blocks that nobody owns.
#[derive(Debug)]
pub(crate) struct Crowd {
    random: Random,
    sequences: Vec<Sequence>,
    free: Vec<u32>,
}

impl Crowd {
    pub(crate) fn new(random: Random) -> Self {
        let mut crowd = Self { random, sequences: Vec::new(), free: (0..BLOCKS as u32).collect() };
        for _ in 0..MAX_SEQUENCES {
            let sequence = crowd.fresh(0);
            crowd.sequences.push(sequence);
        }
        crowd
    }

    /// Runs steps on both, `depth` of them in flight while the next is planned; gives how many draws were compared.
    pub(crate) fn run(&mut self, host: &mut Executor, card: &mut Executor, steps: usize, depth: usize) -> usize {
        let (mut in_flight, mut compared) = (None, 0);
        for step in 0..=steps {
            let next = (step < steps).then(|| {
                let plan = self.plan();
                let tickets = self.launch(&plan, host, card);
                self.expect_draws(&plan);
                (plan, tickets)
            });
            let collected = if depth == 0 { next } else { std::mem::replace(&mut in_flight, next) };
            let Some((plan, (host_ticket, card_ticket))) = collected else { continue };
            let expected = host.collect(host_ticket).expect("the CPU goes on");
            let found = card.collect(card_ticket).expect("the card goes on");
            compare(step, &expected, &found);
            compared += expected.len();
            self.learn(&plan, &expected);
        }
        compared
    }

    fn launch(
        &self,
        plan: &Plan,
        host: &mut Executor,
        card: &mut Executor,
    ) -> (sconce_model::Ticket, sconce_model::Ticket) {
        let banned = [3, 77, 599];
        let draws: Vec<Draw<'_>> = plan
            .draws
            .iter()
            .map(|&(owner, position, pending)| Draw {
                sampler: &self.sequences[owner.place].sampler,
                position,
                banned: if position % 5 == 0 { &banned } else { &[] },
                pending,
            })
            .collect();
        let step = Step { copies: &plan.copies, batch: &plan.batch, pending: &plan.pending, draws: &draws };
        (host.launch(step).expect("launched"), card.launch(step).expect("launched"))
    }

    /// What was launched will give a token to each sequence that draws.
    fn expect_draws(&mut self, plan: &Plan) {
        for (index, (owner, ..)) in plan.draws.iter().enumerate() {
            self.sequences[owner.place].tokens.push(Token::Drawn(index as u32));
        }
    }

    /// The tokens of a step that was collected.
    fn learn(&mut self, plan: &Plan, outcome: &StepOutcome) {
        for ((owner, ..), drawn) in plan.draws.iter().zip(outcome) {
            let sequence = &mut self.sequences[owner.place];
            if sequence.generation != owner.generation {
                continue;
            }
            let token = drawn.as_ref().expect("every row has a token").token;
            sequence.tokens[owner.token] = Token::Known(token);
            sequence.sampler.record(token);
        }
    }

    fn plan(&mut self) -> Plan {
        let mut plan = Plan::default();
        plan.batch.cu_seqlens_q.push(0);
        plan.batch.cu_blocks.push(0);
        for place in 0..self.sequences.len() {
            let sequence = &self.sequences[place];
            if sequence.tokens.len() + 1 >= MAX_TOKENS || self.random.below(60) == 0 {
                self.replace(place, &mut plan.copies);
            }
        }
        // Half of the steps consist of lone rows, as most of an engine's do.
        let lone = self.random.below(2) == 0;
        let share = 1 + self.random.below(5);
        for place in 0..self.sequences.len() {
            if self.random.below(5) < share {
                self.advance(place, lone, &mut plan);
            }
        }
        plan
    }

    /// Adds the next rows of a sequence.
    fn advance(&mut self, place: usize, lone: bool, plan: &mut Plan) {
        let random = self.random.below(9);
        let sequence = &mut self.sequences[place];
        let left = sequence.tokens.len() - sequence.computed;
        let batch = &mut plan.batch;
        let room = MAX_ROWS - batch.input_ids.len();
        let count = left.min(1 + random).min(room);
        if count == 0 || lone && left != 1 {
            return;
        }
        let mut last_pending = None;
        for position in sequence.computed..sequence.computed + count {
            let row = batch.input_ids.len() as u32;
            let (id, pending) = match sequence.tokens[position] {
                Token::Known(id) => (id, None),
                Token::Drawn(draw) => (0, Some(draw)),
            };
            plan.pending.extend(pending.map(|draw| PendingToken { row, draw }));
            last_pending = pending;
            batch.input_ids.push(id);
            batch.positions.push(position as u32);
            let block = sequence.blocks[position / BLOCK_SIZE];
            batch.slot_mapping.push(block * BLOCK_SIZE as u32 + (position % BLOCK_SIZE) as u32);
        }
        sequence.computed += count;
        batch.cu_seqlens_q.push(batch.input_ids.len() as u32);
        batch.seq_lens_k.push(sequence.computed as u32);
        batch.block_tables.extend(&sequence.blocks[..sequence.computed.div_ceil(BLOCK_SIZE)]);
        batch.cu_blocks.push(batch.block_tables.len() as u32);
        if count == left {
            batch.logits_rows.push(batch.input_ids.len() as u32 - 1);
            let owner = Owner { place, generation: sequence.generation, token: sequence.tokens.len() };
            plan.draws.push((owner, sequence.computed as u64 - 1, last_pending));
        }
    }

    /// Another sequence in a place: a new one, or a fork of one whose computed tokens are all known.
    fn replace(&mut self, place: usize, copies: &mut Vec<BlockCopy>) {
        let generation = self.sequences[place].generation + 1;
        let old = std::mem::take(&mut self.sequences[place].blocks);
        self.free.extend(old);
        let mut sequence = self.fresh(generation);
        let source = &self.sequences[self.random.below(MAX_SEQUENCES)];
        let computed = source.computed.min(MAX_TOKENS / 2);
        let known = source.tokens[..computed].iter().all(|token| matches!(token, Token::Known(_)));
        if !source.blocks.is_empty() && computed > 0 && known {
            for (index, (&src, &dst)) in source.blocks.iter().zip(&sequence.blocks).enumerate() {
                let slots = computed.saturating_sub(index * BLOCK_SIZE).min(BLOCK_SIZE) as u32;
                if slots > 0 {
                    copies.push(BlockCopy { src, dst, slots });
                }
            }
            sequence.tokens.splice(0..0, source.tokens[..computed].iter().copied());
            sequence.computed = computed;
        }
        self.sequences[place] = sequence;
    }

    /// A sequence with a prompt of its own and blocks that were not in use, taken from the front: the last to be given back.
    fn fresh(&mut self, generation: u32) -> Sequence {
        let random = &mut self.random;
        let prompt: Vec<u32> = (0..1 + random.below(20)).map(|_| random.below(VOCABULARY) as u32).collect();
        let sampler = Sampler::new(parameters(random), &prompt, random.word());
        let blocks = self.free.split_off(self.free.len() - BLOCKS_EACH);
        let tokens = prompt.into_iter().map(Token::Known).collect();
        Sequence { tokens, blocks, computed: 0, sampler, generation }
    }
}

fn parameters(random: &mut Random) -> SamplingParams {
    let mut pick = |values: &[f32]| values[random.below(values.len())];
    SamplingParams {
        temperature: pick(&[0.0, 0.7, 1.0, 1.5]),
        top_k: [None, Some(5), Some(50)][pick(&[0.0, 1.0, 2.0]) as usize],
        top_p: pick(&[1.0, 0.9, 0.5]),
        min_p: pick(&[0.0, 0.05]),
        repetition_penalty: pick(&[1.0, 1.2]),
        presence_penalty: pick(&[0.0, 0.5]),
        frequency_penalty: pick(&[0.0, 0.3]),
        seed: None,
        logit_bias: if pick(&[0.0, 1.0]) > 0.0 { vec![(5, 2.0), (9, -30.0)] } else { Vec::new() },
        logprobs: [None, Some(0), Some(4)][pick(&[0.0, 1.0, 2.0]) as usize],
    }
}

/// Tokens must be equal; log-probabilities follow from logits that are summed in another order.
fn compare(step: usize, expected: &StepOutcome, found: &StepOutcome) {
    assert_eq!(found.len(), expected.len(), "step {step}");
    for (draw, (found, expected)) in found.iter().zip(expected).enumerate() {
        let what = format!("step {step}, draw {draw}: {found:?} instead of {expected:?}");
        let (Ok(found), Ok(expected)) = (found, expected) else { panic!("{what}") };
        assert!(is_near(found, expected), "{what}");
    }
}

fn is_near(found: &Sampled, expected: &Sampled) -> bool {
    let near = |found: f32, expected: f32| (found - expected).abs() < 1e-3;
    let logprob = match (found.logprob, expected.logprob) {
        (Some(found), Some(expected)) => near(found, expected),
        (found, expected) => found == expected,
    };
    // Tokens of nearly one probability may change places; their probabilities may not.
    let top = found.top.iter().zip(&expected.top).all(|(&(_, found), &(_, expected))| near(found, expected));
    found.token == expected.token && logprob && found.top.len() == expected.top.len() && top
}
