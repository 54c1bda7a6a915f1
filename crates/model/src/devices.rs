//! The devices that a model lies on, and which of its layers lies where: contiguous stages, as even in bytes as layers allow.

use std::ops::Range;

use candle_core::Device;

use crate::error::ModelError;

/// More devices than one machine has.
const MAX_DEVICES: usize = 16;

/// What a driver says of a card's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceMemory {
    /// Bytes in all.
    pub total_bytes: usize,
    /// Bytes that nobody has taken.
    pub free_bytes: usize,
}

/// At least one device, in the order in which a token passes them. All are of one kind; the CPU may stand there several
/// times, so that several stages can be tested without a card.
#[derive(Debug, Clone)]
pub struct Devices(Vec<Device>);

impl Devices {
    /// Takes the devices in order.
    ///
    /// # Errors
    /// When there is none, when there are more than 16, or when they are not all of one kind.
    pub fn new(devices: Vec<Device>) -> Result<Self, ModelError> {
        let problem = |problem: String| Err(ModelError::Devices { problem });
        if devices.is_empty() || devices.len() > MAX_DEVICES {
            return problem(format!("{} devices are named, must be 1 to {MAX_DEVICES}", devices.len()));
        }
        if devices.iter().any(|device| std::mem::discriminant(device) != std::mem::discriminant(&devices[0])) {
            return problem("a model lies on the CPU or on CUDA devices, not on both".to_string());
        }
        Ok(Self(devices))
    }

    /// The CPU.
    #[must_use]
    pub fn cpu() -> Self {
        Self(vec![Device::Cpu])
    }

    /// Opens CUDA devices by ordinal.
    ///
    /// # Errors
    /// When this build has no CUDA, no device has the ordinal, or the list is empty.
    pub fn cuda(ordinals: &[usize]) -> Result<Self, ModelError> {
        #[cfg(feature = "cuda")]
        {
            let open = |&ordinal: &usize| {
                sconce_kernels::cuda::open(ordinal).map_err(|error| ModelError::Devices {
                    problem: format!("CUDA device {ordinal} cannot be used: {error}"),
                })
            };
            Self::new(ordinals.iter().map(open).collect::<Result<_, _>>()?)
        }
        #[cfg(not(feature = "cuda"))]
        {
            let _ = ordinals;
            let problem = "this build runs on the CPU only; build it with `cargo build --release --features cuda`";
            Err(ModelError::Devices { problem: problem.to_string() })
        }
    }

    /// Where the embedding lies and a token begins.
    #[must_use]
    pub fn first(&self) -> &Device {
        &self.0[0]
    }

    /// Where the output lies and logits come from.
    #[must_use]
    pub fn last(&self) -> &Device {
        &self.0[self.0.len() - 1]
    }

    /// Whether they are CUDA devices.
    #[must_use]
    pub fn are_cuda(&self) -> bool {
        self.first().is_cuda()
    }

    /// The memory of each card, as its driver tells it now; nothing for the CPU, whose memory is not ours to share out.
    ///
    /// # Errors
    /// What the driver reported.
    pub fn memory(&self) -> Result<Vec<DeviceMemory>, ModelError> {
        #[cfg(feature = "cuda")]
        if self.are_cuda() {
            let memory = |device| {
                let facts = sconce_kernels::cuda::facts(device)?;
                Ok(DeviceMemory { total_bytes: facts.total_bytes, free_bytes: facts.free_bytes })
            };
            return self.0.iter().map(memory).collect();
        }
        Ok(Vec::new())
    }

    /// All of them, in order; never empty.
    #[must_use]
    pub fn as_slice(&self) -> &[Device] {
        &self.0
    }
}

/// Cuts layers into one contiguous stage per device such that the largest stage is as small as it can be. `costs` are the
/// layers' bytes, with the embedding's added to the first and the output's to the last.
///
/// # Errors
/// When there are fewer layers than devices.
pub(crate) fn stages(costs: &[u64], devices: usize) -> Result<Vec<Range<usize>>, ModelError> {
    let layers = costs.len();
    if layers < devices {
        let problem = format!("{devices} devices are named for {layers} layers; name at most {layers}");
        return Err(ModelError::Devices { problem });
    }
    let mut before = vec![0u64];
    before.extend(costs.iter().scan(0u64, |sum, &cost| {
        *sum = sum.saturating_add(cost);
        Some(*sum)
    }));
    // `largest[end]` is the smallest possible largest stage when the stages so far hold the layers `0..end`; `cuts` remember
    // where their last stage begins.
    let mut largest = before.clone();
    let mut cuts: Vec<Vec<usize>> = Vec::new();
    for stage in 1..devices {
        let mut next = vec![u64::MAX; layers + 1];
        let mut cut = vec![0; layers + 1];
        for end in stage + 1..=layers {
            for start in stage..end {
                let worst = largest[start].max(before[end] - before[start]);
                if worst < next[end] {
                    (next[end], cut[end]) = (worst, start);
                }
            }
        }
        largest = next;
        cuts.push(cut);
    }
    let mut stages = Vec::with_capacity(devices);
    let mut end = layers;
    for cut in cuts.iter().rev() {
        stages.push(cut[end]..end);
        end = cut[end];
    }
    stages.push(0..end);
    stages.reverse();
    Ok(stages)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(costs: &[u64], devices: usize) -> Vec<Range<usize>> {
        stages(costs, devices).expect("enough layers")
    }

    #[test]
    fn equal_layers_are_cut_evenly() {
        assert_eq!(cut(&[7; 6], 1)[0], 0..6);
        assert_eq!(cut(&[7; 6], 2), [0..3, 3..6]);
        assert_eq!(cut(&[7; 6], 3), [0..2, 2..4, 4..6]);
        assert_eq!(cut(&[7; 3], 3), [0..1, 1..2, 2..3]);
        let lengths: Vec<usize> = cut(&[7; 32], 5).iter().map(ExactSizeIterator::len).collect();
        assert!(lengths.iter().all(|length| (6..=7).contains(length)), "{lengths:?}");
    }

    #[test]
    fn a_heavy_embedding_and_output_leave_their_devices_fewer_layers() {
        // Two layers' worth before the first and after the last of eight.
        assert_eq!(cut(&[3, 1, 1, 1, 1, 1, 1, 3], 2), [0..4, 4..8]);
        assert_eq!(cut(&[3, 1, 1, 1, 1, 1, 1, 3], 3), [0..2, 2..6, 6..8]);
        assert_eq!(cut(&[1, 1, 1, 1, 1, 1, 1, 9], 2), [0..7, 7..8]);
    }

    #[test]
    fn every_cut_of_random_costs_is_as_good_as_the_best_of_all() {
        let mut state = 1u64;
        let mut random = |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % bound
        };
        for _ in 0..200 {
            let costs: Vec<u64> = (0..3 + random(6)).map(|_| random(100)).collect();
            let sum = |range: &Range<usize>| costs[range.clone()].iter().sum::<u64>();
            let found = cut(&costs, 3);
            assert!(found.iter().all(|stage| !stage.is_empty()), "{found:?}");
            assert_eq!((found[0].start, found[2].end), (0, costs.len()));
            assert!(found.windows(2).all(|pair| pair[0].end == pair[1].start), "{found:?}");
            let mut best = u64::MAX;
            for first in 1..costs.len() - 1 {
                for second in first + 1..costs.len() {
                    let worst = [0..first, first..second, second..costs.len()].iter().map(sum).max();
                    best = best.min(worst.expect("three stages"));
                }
            }
            assert_eq!(found.iter().map(sum).max(), Some(best), "{costs:?}: {found:?}");
        }
    }

    #[test]
    fn more_devices_than_layers_and_no_device_are_refused() {
        let message = stages(&[1, 1], 3).expect_err("refused").to_string();
        assert!(message.contains("3 devices are named for 2 layers"), "{message}");
        for count in [0, 17] {
            let message = Devices::new(vec![Device::Cpu; count]).expect_err("refused").to_string();
            assert!(message.contains("must be 1 to 16"), "{message}");
        }
        assert_eq!(Devices::new(vec![Device::Cpu; 2]).expect("allowed").as_slice().len(), 2);
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_build_without_cuda_says_how_to_build_one_with_it() {
        let message = Devices::cuda(&[0]).expect_err("refused").to_string();
        assert!(message.contains("cargo build --release --features cuda"), "{message}");
    }
}
