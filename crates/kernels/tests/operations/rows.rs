//! What block copies, row selection and the gate refuse, and blocks of a cache of bytes, which only the CPU has.

use candle_core::{Device, Tensor};
use sconce_kernels::{BlockCopy, Indices, block_copy, gather_blocks, scatter_blocks, select_rows, silu_mul};

fn matrix(values: &[f32], columns: usize) -> Tensor {
    Tensor::from_slice(values, (values.len() / columns, columns), &Device::Cpu).expect("a tensor")
}

#[test]
fn a_gate_of_another_shape_is_refused() {
    assert!(silu_mul(&matrix(&[0.0; 8], 4), &matrix(&[0.0; 8], 2)).is_err());
}

#[test]
fn copies_beyond_the_cache_are_refused_and_nothing_is_copied() {
    let cache =
        Tensor::arange(0f32, 4.0 * 3.0 * 2.0, &Device::Cpu).and_then(|t| t.reshape((4, 3, 1, 2))).expect("a cache");
    let wrong = |src, dst, slots| {
        let copies = [BlockCopy { src: 0, dst: 1, slots: 3 }, BlockCopy { src, dst, slots }];
        block_copy(&[&cache], &copies).map_or_else(|error| error.to_string(), |()| String::new())
    };
    assert!(wrong(4, 0, 1).contains("copies.src[1] is 4, must be at most 3"));
    assert!(wrong(0, 9, 1).contains("copies.dst[1] is 9"));
    assert!(wrong(0, 1, 4).contains("copies.slots[1] is 4, must be at most 3"));
    let numbers: Vec<f32> = cache.flatten_all().and_then(|flat| flat.to_vec1()).expect("floats");
    assert_eq!(numbers, (0..24).map(|value| value as f32).collect::<Vec<_>>());
}

#[test]
fn blocks_of_bytes_are_copied_and_moved_as_those_of_numbers() {
    let bytes: Vec<u8> = (0..4 * 3 * 34).map(|index| (index * 7 % 251) as u8).collect();
    let cache = |bytes: Vec<u8>| Tensor::from_vec(bytes, (4, 3, 1, 34), &Device::Cpu).expect("a cache");
    let block = |index: usize| &bytes[index * 102..(index + 1) * 102];
    let found = |cache: &Tensor| -> Vec<u8> { cache.flatten_all().and_then(|flat| flat.to_vec1()).expect("bytes") };
    let copied = cache(bytes.clone());
    block_copy(&[&copied], &[BlockCopy { src: 2, dst: 0, slots: 2 }]).expect("blocks that exist");
    let wanted = [&block(2)[..68], &block(0)[68..], block(1), block(2), block(3)].concat();
    assert_eq!(found(&copied), wanted);
    let gathered = gather_blocks(&cache(bytes.clone()), &Indices::from(&[3, 1][..])).expect("blocks that exist");
    assert_eq!(found(&gathered), [block(3), block(1)].concat());
    let moved = cache(bytes.clone());
    scatter_blocks(&moved, &Indices::from(&[0, 3][..]), &gathered).expect("blocks that exist");
    assert_eq!(found(&moved), [block(3), block(1), block(2), block(1)].concat());
}

#[test]
fn rows_that_do_not_exist_are_refused() {
    let rows = matrix(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], 2);
    let message =
        select_rows(&rows, &Indices::from(&[3][..])).map_or_else(|error| error.to_string(), |_| String::new());
    assert!(message.contains("rows[0] is 3, must be below 3"), "{message}");
}
