//! The devices that the engine's tests run on: the CPU, or the CUDA devices that `SCONCE_TEST_DEVICES` names by ordinal ("0,1").

use sconce_model::Devices;

/// Bytes of a cache for a test: several engines share a card, and one of them would take all that is left of it.
const KV_BYTES: usize = 32 << 20;

pub(crate) fn devices() -> Devices {
    let Ok(ordinals) = std::env::var("SCONCE_TEST_DEVICES") else { return Devices::cpu() };
    let ordinals: Vec<usize> = ordinals.split(',').map(|ordinal| ordinal.trim().parse().expect("an ordinal")).collect();
    Devices::cuda(&ordinals).unwrap_or_else(|error| panic!("{error}"))
}

/// The bytes of the cache that a test asks for; on cards a small one if it does not ask.
pub(crate) fn kv_memory(asked: Option<usize>, devices: &Devices) -> Option<usize> {
    asked.or_else(|| devices.are_cuda().then_some(KV_BYTES))
}
