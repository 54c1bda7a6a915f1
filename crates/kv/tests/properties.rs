//! Any order of admissions, growth, forks, releases and failures keeps the books, and every slot that a table reads holds
//! what its chain says. The model beside the cache is a plain array of slots.

use proptest::prelude::*;
use sconce_kv::{BlockCopy, BlockTable, KvCacheConfig, KvCacheManager, RetentionPlan, Salt, TokenChain, TokenId};

#[derive(Debug, Clone)]
enum Action {
    /// A new sequence: salt, document, tokens of it, tokens of its own.
    Admit {
        salt: u128,
        document: u32,
        shared: usize,
        own: usize,
    },
    /// A sequence grows by tokens.
    Grow {
        index: usize,
        tokens: usize,
    },
    Fork {
        index: usize,
    },
    Drop {
        index: usize,
    },
    /// The step that was just written failed: its sequence ends, and its slots hold anything.
    Fail,
    /// The step that was just planned did not run: its sequence gives up its blocks, and its slots hold anything.
    TakeBack,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => (0..3u128, 0..2u32, 0..40usize, 1..6usize)
            .prop_map(|(salt, document, shared, own)| Action::Admit { salt, document, shared, own }),
        6 => (any::<usize>(), 1..9usize).prop_map(|(index, tokens)| Action::Grow { index, tokens }),
        1 => any::<usize>().prop_map(|index| Action::Fork { index }),
        3 => any::<usize>().prop_map(|index| Action::Drop { index }),
        1 => Just(Action::Fail),
        1 => Just(Action::TakeBack),
    ]
}

struct Live {
    chain: TokenChain,
    table: BlockTable,
}

/// What the last step wrote, and which of the live sequences it belongs to.
struct Written {
    index: usize,
    slots: Vec<usize>,
}

struct Model {
    kv: KvCacheManager,
    block_size: usize,
    /// What each slot holds: the salt and all tokens up to its own.
    slots: Vec<Vec<u32>>,
    live: Vec<Live>,
    last: Option<Written>,
    fresh: u32,
}

fn content(chain: &TokenChain, position: usize) -> Vec<u32> {
    let salt = chain.salt().0 as u32;
    std::iter::once(salt).chain(chain.tokens()[..=position].iter().map(|token| token.0)).collect()
}

impl Model {
    fn new(num_blocks: usize, block_size: usize, quota: usize) -> Self {
        let quotas = if quota > 0 { vec![(Salt(1), quota)] } else { vec![] };
        let config = KvCacheConfig { num_blocks, block_size, hash_key: [1; 16], quotas };
        let kv = KvCacheManager::new(&config).expect("in range");
        let slots = vec![Vec::new(); num_blocks * block_size];
        Self { kv, block_size, slots, live: Vec::new(), last: None, fresh: 1000 }
    }

    fn slot(&self, table: &BlockTable, position: usize) -> usize {
        let block = table.blocks()[position / self.block_size];
        block.index() * self.block_size + position % self.block_size
    }

    /// Runs the copies, writes positions `from..` of the sequence, and reads all of it back.
    fn write(&mut self, index: usize, from: usize, copies: &[BlockCopy]) {
        let mut slots = Vec::new();
        for copy in copies {
            for slot in 0..copy.slots as usize {
                let value = self.slots[copy.src.index() * self.block_size + slot].clone();
                slots.push(copy.dst.index() * self.block_size + slot);
                self.slots[copy.dst.index() * self.block_size + slot] = value;
            }
        }
        for position in from..self.live[index].chain.tokens().len() {
            let slot = self.slot(&self.live[index].table, position);
            slots.push(slot);
            self.slots[slot] = content(&self.live[index].chain, position);
        }
        self.last = Some(Written { index, slots });
        let Live { chain, table } = &mut self.live[index];
        let len = chain.tokens().len();
        self.kv.commit(table, chain, len);
    }

    fn act(&mut self, action: &Action) {
        let step = self.kv.begin_step();
        let last = self.last.take();
        let mut copies = Vec::new();
        match *action {
            Action::Admit { salt, document, shared, own } => {
                let shared = (0..shared as u32).map(|at| TokenId(document * 100 + at));
                let own = (0..own).map(|_| {
                    self.fresh += 1;
                    TokenId(self.fresh)
                });
                let tokens: Vec<TokenId> = shared.chain(own).collect();
                let chain = TokenChain::new(self.kv.hasher(), Salt(salt), tokens);
                let found = self.kv.find_prefix(&chain, chain.tokens().len() - 1);
                let before = self.kv.usage();
                let retention = RetentionPlan { document_tokens: document as usize * 8, pinned: false };
                match self.kv.admit(&chain, &found, 1, retention, &mut copies) {
                    None => assert_eq!(self.kv.usage(), before),
                    Some(admission) => {
                        let (len, cached) = (chain.tokens().len(), admission.cached);
                        self.live.push(Live { chain, table: admission.table });
                        let index = self.live.len() - 1;
                        if self.kv.reserve(&mut self.live[index].table, len, &mut copies).is_some() {
                            self.write(index, cached, &copies);
                        } else {
                            self.live.pop();
                        }
                    }
                }
            }
            Action::Grow { index, tokens } if !self.live.is_empty() => {
                let index = index % self.live.len();
                let from = self.live[index].chain.tokens().len();
                let live = &mut self.live[index];
                if self.kv.reserve(&mut live.table, from + tokens, &mut copies).is_some() {
                    for _ in 0..tokens {
                        self.fresh += 1;
                        live.chain.push(TokenId(self.fresh));
                    }
                    self.write(index, from, &copies);
                }
            }
            Action::Fork { index } if !self.live.is_empty() => {
                let parent = &self.live[index % self.live.len()];
                let table = self.kv.fork(&parent.table, parent.table.len());
                let chain = parent.chain.clone();
                self.live.push(Live { chain, table });
            }
            Action::Drop { index } if !self.live.is_empty() => {
                self.live.swap_remove(index % self.live.len());
            }
            Action::Fail => {
                self.spoil(last);
                self.kv.invalidate(step - 1);
            }
            Action::TakeBack => {
                self.spoil(last);
                self.kv.take_back(step - 1);
            }
            _ => {}
        }
    }

    fn spoil(&mut self, last: Option<Written>) {
        if let Some(Written { index, slots }) = last {
            self.live.swap_remove(index);
            slots.into_iter().for_each(|slot| self.slots[slot] = vec![u32::MAX]);
        }
    }

    fn check(&self) {
        self.kv.assert_invariants();
        let usage = self.kv.usage();
        assert_eq!(usage.blank + usage.cached + usage.held, usage.total);
        for live in &self.live {
            for position in 0..live.chain.tokens().len() {
                let slot = self.slot(&live.table, position);
                assert_eq!(self.slots[slot], content(&live.chain, position), "slot of position {position}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn every_table_reads_its_own_chain(
        num_blocks in 4..40usize,
        block_size in 1..9usize,
        quota in 0..3usize,
        actions in prop::collection::vec(action(), 1..120),
    ) {
        let mut model = Model::new(num_blocks, block_size, quota);
        for action in &actions {
            model.act(action);
            model.check();
        }
        model.live.clear();
        model.check();
        prop_assert_eq!(model.kv.usage().held, 0);
    }

    #[test]
    fn the_longest_match_is_found_however_many_begin_alike(
        block_size in 1..9usize,
        prompts in prop::collection::vec(prop::collection::vec(0..3u32, 1..20), 1..60),
        others in prop::collection::vec(prop::collection::vec(0..3u32, 1..20), 1..20),
    ) {
        let mut model = Model::new(2048, block_size, 0);
        for prompt in &prompts {
            let tokens = prompt.iter().map(|&token| TokenId(token)).collect();
            let chain = TokenChain::new(model.kv.hasher(), Salt(0), tokens);
            model.kv.begin_step();
            let (len, found) = (prompt.len(), model.kv.find_prefix(&chain, prompt.len() - 1));
            let mut copies = Vec::new();
            let count = len - found.tokens;
            let admission = model.kv.admit(&chain, &found, count, RetentionPlan::default(), &mut copies).expect("room");
            model.live.push(Live { chain, table: admission.table });
            model.write(0, admission.cached, &copies);
            model.check();
            model.live.clear();
        }
        model.kv.begin_step();
        for wanted in prompts.iter().chain(&others) {
            let limit = wanted.len() - 1;
            let alike = |prompt: &Vec<u32>| prompt.iter().zip(&wanted[..limit]).take_while(|(left, right)| left == right).count();
            let longest = prompts.iter().map(alike).max();
            let chain = TokenChain::new(model.kv.hasher(), Salt(0), wanted.iter().copied().map(TokenId).collect());
            prop_assert_eq!(Some(model.kv.find_prefix(&chain, limit).tokens), longest);
        }
    }
}
