//! The devices that the engine's tests run on: the CPU, or the CUDA devices that `SCONCE_TEST_DEVICES` names by ordinal ("0,1").

use sconce_model::Devices;

pub(crate) fn devices() -> Devices {
    let Ok(ordinals) = std::env::var("SCONCE_TEST_DEVICES") else { return Devices::cpu() };
    let ordinals: Vec<usize> = ordinals.split(',').map(|ordinal| ordinal.trim().parse().expect("an ordinal")).collect();
    Devices::cuda(&ordinals).unwrap_or_else(|error| panic!("{error}"))
}
