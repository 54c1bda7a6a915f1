//! `csrc/block_copy.cu`: copies between blocks of a cache, in order. Copies of one launch run at the same time, so a list is
//! cut wherever a copy meets a block that an earlier one of the same launch writes, or writes one that it reads.

use std::collections::HashSet;
use std::ops::Range;

use super::{DevicePointer, KernelArguments, Launch, THREADS, copy_blocks, copy_unit};
use crate::block_copy::BlockCopy;

/// Numbers of one copy in the list on the device.
const COPY_WORDS: usize = 3;

/// The kernel's arguments, as in C++.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)] // Said in the kernel's own file.
pub struct BlockCopyArguments {
    pub cache: DevicePointer,
    pub copies: DevicePointer,
    pub block_units: u64,
    pub slot_units: u32,
}

// SAFETY: `repr(C)`, the same fields in the same order; only the last four bytes are padding.
#[allow(unsafe_code)]
unsafe impl KernelArguments for BlockCopyArguments {}

/// A list of copies as the device reads it, and which of them may run at the same time. Good for every cache tensor of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockCopies {
    words: Vec<u32>,
    waves: Vec<Range<usize>>,
    most_slots: u32,
}

impl BlockCopies {
    /// Cuts a list into launches. Copies that change nothing are left out.
    #[must_use]
    pub fn new(copies: &[BlockCopy]) -> Self {
        let mut plan = Self { words: Vec::new(), waves: Vec::new(), most_slots: 0 };
        let (mut read, mut written) = (HashSet::new(), HashSet::new());
        let (mut start, mut count) = (0, 0);
        for copy in copies.iter().filter(|copy| copy.slots > 0 && copy.src != copy.dst) {
            if written.contains(&copy.src) || written.contains(&copy.dst) || read.contains(&copy.dst) {
                plan.waves.push(start..count);
                start = count;
                read.clear();
                written.clear();
            }
            read.insert(copy.src);
            written.insert(copy.dst);
            plan.words.extend([copy.src, copy.dst, copy.slots]);
            plan.most_slots = plan.most_slots.max(copy.slots);
            count += 1;
        }
        if count > start {
            plan.waves.push(start..count);
        }
        plan
    }

    /// What the device is to hold: source, destination and slots of each copy.
    #[must_use]
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// The launches for one cache tensor, to run one after another; `copies` leads to [`BlockCopies::words`] on the device.
    /// Sizes are in bytes.
    #[must_use]
    pub fn launches(
        &self,
        cache: DevicePointer,
        copies: DevicePointer,
        slot_bytes: usize,
        block_bytes: usize,
    ) -> Vec<Launch<BlockCopyArguments>> {
        let unit = copy_unit(&[cache], slot_bytes);
        let slot_units = (slot_bytes / unit) as u32;
        let launch = |wave: &Range<usize>| Launch {
            kernel: format!("block_copy_{unit}"),
            blocks: [wave.len() as u32, copy_blocks(u64::from(slot_units) * u64::from(self.most_slots)), 1],
            threads: THREADS,
            shared_bytes: 0,
            arguments: BlockCopyArguments {
                cache,
                copies: copies.offset(4 * COPY_WORDS * wave.start),
                block_units: (block_bytes / unit) as u64,
                slot_units,
            },
        };
        self.waves.iter().map(launch).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Random;

    fn copy(src: u32, dst: u32) -> BlockCopy {
        BlockCopy { src, dst, slots: 1 }
    }

    #[test]
    #[allow(clippy::single_range_in_vec_init)] // One launch is a list of one range.
    fn a_launch_ends_before_a_copy_that_must_come_later() {
        let waves = |copies: &[BlockCopy]| BlockCopies::new(copies).waves;
        let none: [Range<usize>; 0] = [];
        assert_eq!(waves(&[copy(0, 1), copy(0, 2), copy(3, 4)]), [0..3], "one source may be read twice");
        assert_eq!(waves(&[copy(0, 1), copy(1, 2)]), [0..1, 1..2], "the second reads what the first writes");
        assert_eq!(waves(&[copy(0, 1), copy(2, 0)]), [0..1, 1..2], "the second writes what the first reads");
        assert_eq!(waves(&[copy(0, 1), copy(2, 1)]), [0..1, 1..2], "both write one block");
        assert_eq!(waves(&[copy(5, 5), BlockCopy { src: 1, dst: 2, slots: 0 }]), none, "nothing changes");
    }

    #[test]
    fn waves_in_any_order_within_give_what_the_list_gives_in_order() {
        let mut random = Random(11);
        for _ in 0..500 {
            let copies: Vec<_> = (0..12).map(|_| copy(random.below(9) as u32, random.below(9) as u32)).collect();
            let run = |blocks: &mut Vec<usize>, src: u32, dst: u32| blocks[dst as usize] = blocks[src as usize];
            let mut expected: Vec<usize> = (0..9).collect();
            copies.iter().for_each(|copy| run(&mut expected, copy.src, copy.dst));
            let plan = BlockCopies::new(&copies);
            let mut found: Vec<usize> = (0..9).collect();
            for wave in &plan.waves {
                // The last copy first: within a wave the order does not matter.
                for index in wave.clone().rev() {
                    run(&mut found, plan.words[3 * index], plan.words[3 * index + 1]);
                }
            }
            assert_eq!(found, expected, "{copies:?}");
        }
    }
}
