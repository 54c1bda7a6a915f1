//! What a card must give, on a card: a real one, or the emulated one of `scripts/emulated_card.sh`. Without one the tests say that
//! they are skipped.
#![cfg(feature = "cuda")]

use candle_core::{DType, Device, Tensor};
use sconce_kernels::checks::{Backend, CHECKS, Random, TensorBackend};
use sconce_kernels::cuda::{Graph, facts, open, synchronize};
use sconce_kernels::launch::ElementType;
use sconce_kernels::{KernelError, rms_norm, silu_mul};

/// The first card. An emulated one must be there: a fault in another test is no reason to skip.
fn card() -> Option<Device> {
    match open(0) {
        Err(error) if !is_emulated() => {
            eprintln!("skipped: {error}");
            None
        }
        opened => Some(opened.expect("the emulated card")),
    }
}

/// Whether the card is the emulated one, which has no quantized products: those kernels are candle's, linked into the binary.
fn is_emulated() -> bool {
    std::env::var_os("SCONCE_EMULATED_CARDS").is_some()
}

fn every_operation_agrees(activation: ElementType) {
    let Some(device) = card() else { return };
    println!("{:?}", facts(&device).expect("facts"));
    let backend = TensorBackend::new(device, activation);
    for (operation, check) in CHECKS {
        if backend.lacks().contains(operation) {
            continue;
        }
        if is_emulated() && *operation == "quantized_matmul" {
            eprintln!("skipped: {operation} runs on a real card only");
            continue;
        }
        let report = check(&backend, &mut Random(7)).unwrap_or_else(|error| panic!("{}: {error}", backend.name()));
        println!("{report:?}");
        assert!(report.cases > 0, "{operation} has cases");
    }
}

#[test]
fn every_operation_agrees_in_single_precision() {
    every_operation_agrees(ElementType::F32);
}

#[test]
fn every_operation_agrees_in_half_precision() {
    every_operation_agrees(ElementType::Bf16);
}

fn matrix(device: &Device, values: &[f32]) -> Tensor {
    Tensor::from_slice(values, (1, values.len()), device).expect("a tensor")
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().and_then(|flat| flat.to_vec1()).expect("numbers")
}

#[test]
fn a_recorded_graph_does_the_same_again_with_what_lies_at_its_addresses_then() {
    let Some(device) = card() else { return };
    let input = matrix(&device, &[1.0, 2.0, 3.0, 4.0]);
    let weight = Tensor::ones(4, DType::F32, &device).expect("a tensor");
    let output = matrix(&device, &[0.0; 4]);
    let compute = || -> Result<(), KernelError> {
        let normed = rms_norm(&input, None, &weight, 1e-6, DType::F32)?.normed;
        let gated = silu_mul(&normed, &input)?;
        Ok(output.slice_set(&gated, 0, 0)?)
    };
    // Once for real, so that whatever is loaded is there before anything is recorded.
    compute().expect("computed");
    let expected = numbers(&output);
    let graph = Graph::record(&device, compute).expect("recorded");
    let clear = matrix(&device, &[7.0; 4]);
    for scale in [1.0f32, -1.0, 1.0] {
        output.slice_set(&clear, 0, 0).expect("cleared");
        let values: Vec<f32> = [1.0, 2.0, 3.0, 4.0].iter().map(|value| value * scale).collect();
        input.slice_set(&matrix(&device, &values), 0, 0).expect("written");
        graph.launch().expect("launched");
        // What is allocated meanwhile lies elsewhere than what the graph allocates.
        let other = matrix(&device, &[5.0; 4]);
        let found = numbers(&output);
        assert_eq!(numbers(&other), [5.0; 4]);
        if scale > 0.0 {
            assert_eq!(found, expected);
        } else {
            assert_ne!(found, expected);
        }
    }
}

#[test]
fn a_recording_that_fails_leaves_the_stream_usable() {
    let Some(device) = card() else { return };
    let refused = Graph::record(&device, || -> Result<(), KernelError> {
        let gate = Tensor::ones((1, 4), DType::F32, &device)?;
        silu_mul(&gate, &Tensor::ones((1, 5), DType::F32, &device)?).map(drop)
    });
    assert!(matches!(refused, Err(KernelError::Shape { .. } | KernelError::Tensor(_))), "{refused:?}");
    let gate = matrix(&device, &[1.0, 2.0]);
    silu_mul(&gate, &gate).expect("computed");
    synchronize(&device).expect("the stream goes on");
}

#[test]
fn memory_that_cannot_be_had_is_an_error_of_its_own_and_the_card_goes_on() {
    let Some(device) = card() else { return };
    let free = facts(&device).expect("facts").free_bytes;
    let error = Tensor::zeros(free / 4 + (64 << 20), DType::F32, &device).expect_err("too much");
    let error = KernelError::from(error);
    assert!(matches!(error, KernelError::OutOfMemory { .. }), "{error:?}");
    let ones = Tensor::ones(4, DType::F32, &device).expect("there is memory for this");
    assert_eq!(numbers(&ones), [1.0; 4]);
}

#[test]
fn a_card_that_does_not_exist_is_refused_in_words() {
    if card().is_some() {
        let message = open(99).expect_err("refused").to_string();
        assert!(message.contains("there is no card 99"), "{message}");
    }
}

/// A fault ends a process's use of its card, so that this test runs in a process of its own.
#[test]
fn a_fault_on_the_card_is_reported_as_its_loss() {
    const FAULT: &str = "SCONCE_EMULATED_FAULT";
    if !is_emulated() {
        eprintln!("skipped: faults are asked for of the emulated card only");
        return;
    }
    if std::env::var_os(FAULT).is_none() {
        let test = std::env::current_exe().expect("this test");
        let run = std::process::Command::new(test)
            .args(["--exact", "a_fault_on_the_card_is_reported_as_its_loss", "--nocapture"])
            .env(FAULT, "3")
            .output()
            .expect("it runs");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        return;
    }
    let device = card().expect("the emulated card");
    let gate = matrix(&device, &[1.0, 2.0]);
    // The launch itself cannot know of it: the fault shows where somebody waits, and everywhere from then on.
    let fault = (0..3).find_map(|_| silu_mul(&gate, &gate).err());
    let fault = fault.or_else(|| synchronize(&device).err()).expect("the third launch faults");
    assert!(matches!(fault, KernelError::DeviceLost { .. }), "{fault:?}");
    let later = synchronize(&device).expect_err("nothing works any more");
    assert!(matches!(later, KernelError::DeviceLost { .. }), "{later:?}");
    let allocated = Tensor::zeros(4, DType::F32, &device).map(drop).map_err(KernelError::from);
    assert!(matches!(allocated, Err(KernelError::DeviceLost { .. })), "{allocated:?}");
}
