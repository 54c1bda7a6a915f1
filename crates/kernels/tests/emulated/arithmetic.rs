//! Arithmetic that the kernels share with the host, against Rust: number formats, blocks of weights, and where work is cut.

use candle_core::Device;
use half::{bf16, f16};
use sconce_emulator::arithmetic as kernels;
use sconce_kernels::checks::Random;
use sconce_kernels::{Weight, WeightType};

/// The same number to the bit, or both no number.
fn same(found: f32, expected: f32) -> bool {
    found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan()
}

#[test]
fn every_half_is_read_as_what_it_is() {
    for bits in 0..=u16::MAX {
        let (found, expected) = (kernels::f16_to_float(bits), f16::from_bits(bits).to_f32());
        assert!(same(found, expected), "f16 {bits:#06x} is {found} instead of {expected}");
        let (found, expected) = (kernels::bf16_to_float(bits), bf16::from_bits(bits).to_f32());
        assert!(same(found, expected), "bf16 {bits:#06x} is {found} instead of {expected}");
    }
}

#[test]
fn floats_are_rounded_to_the_nearest_half() {
    let check = |value: f32| {
        let (found, expected) = (f16::from_bits(kernels::float_to_f16(value)), f16::from_f32(value));
        assert!(same(found.to_f32(), expected.to_f32()), "{value:e} becomes {found} instead of {expected}");
        let (found, expected) = (bf16::from_bits(kernels::float_to_bf16(value)), bf16::from_f32(value));
        assert!(same(found.to_f32(), expected.to_f32()), "{value:e} becomes {found} instead of {expected}");
    };
    // Halfway between two neighbours, and on both sides of that, for every half.
    for bits in 0..u16::MAX {
        for (here, next) in [
            (f16::from_bits(bits).to_f32(), f16::from_bits(bits + 1).to_f32()),
            (bf16::from_bits(bits).to_f32(), bf16::from_bits(bits + 1).to_f32()),
        ] {
            let middle = here / 2.0 + next / 2.0;
            let neighbours = [middle.to_bits().wrapping_sub(1), middle.to_bits(), middle.to_bits().wrapping_add(1)];
            neighbours.into_iter().for_each(|bits| check(f32::from_bits(bits)));
            check(here);
        }
    }
    let mut random = Random(21);
    for _ in 0..2_000_000 {
        let word = random.word();
        check(f32::from_bits(word as u32));
        // Exponents that a half has are a sixteenth of all.
        check(random.signed() * ((word >> 32) % 70_000) as f32);
        check(random.signed() / 8192.0);
    }
}

/// The format's name in the kernels', and where its blocks hold halves.
fn format(weight_type: WeightType) -> (&'static str, &'static [usize]) {
    match weight_type {
        WeightType::F32 => ("f32", &[]),
        WeightType::F16 => ("f16", &[0]),
        WeightType::BF16 => ("bf16", &[0]),
        WeightType::Q4_0 => ("q4_0", &[0]),
        WeightType::Q4_1 => ("q4_1", &[0, 2]),
        WeightType::Q5_0 => ("q5_0", &[0]),
        WeightType::Q5_1 => ("q5_1", &[0, 2]),
        WeightType::Q8_0 => ("q8_0", &[0]),
        WeightType::Q2K => ("q2k", &[80, 82]),
        WeightType::Q3K => ("q3k", &[108]),
        WeightType::Q4K => ("q4k", &[0, 2]),
        WeightType::Q5K => ("q5k", &[0, 2]),
        WeightType::Q6K => ("q6k", &[208]),
    }
}

#[test]
fn every_element_of_random_blocks_is_unpacked_to_the_bit() {
    let mut random = Random(22);
    for weight_type in WeightType::ALL {
        let (name, halves) = format(weight_type);
        let (outputs, inputs) = (50, 512);
        let blocks = outputs * inputs / weight_type.block_elements();
        let mut bytes: Vec<u8> = (0..blocks * weight_type.block_bytes()).map(|_| random.word() as u8).collect();
        for block in bytes.chunks_exact_mut(weight_type.block_bytes()) {
            // Scales of at most two, so that nothing is infinite.
            halves.iter().for_each(|at| block[at + 1] &= !0x40);
            if weight_type == WeightType::F32 {
                block[3] &= !0x40;
            }
        }
        let weight = Weight::from_bytes(&bytes, weight_type, outputs, inputs, &Device::Cpu).expect("whole blocks");
        let floats = weight.dequantize().and_then(|floats| Ok(floats.flatten_all()?.to_vec1::<f32>()?));
        let expected = floats.expect("floats");
        let found = kernels::block_elements(name, &bytes).expect("a known format and whole blocks");
        assert_eq!(found.len(), expected.len());
        for (index, (found, expected)) in found.into_iter().zip(expected).enumerate() {
            assert!(same(found, expected), "{name}, element {index} is {found} instead of {expected}");
        }
    }
}

#[test]
fn splits_are_whole_tiles_and_cover_every_key_once() {
    let mut random = Random(23);
    for _ in 0..100_000 {
        let (keys, splits) = (random.below(200_000) as u32, 1 + random.below(64) as u32);
        let length = kernels::split_keys(keys, splits);
        assert_eq!(length, keys.div_ceil(32).div_ceil(splits) * 32, "{keys} keys in {splits} splits");
        assert!(length * splits >= keys, "{keys} keys in {splits} splits");
    }
}

#[test]
fn keys_lie_where_the_block_table_says() {
    let mut random = Random(24);
    for _ in 0..100_000 {
        let table: Vec<u32> = (0..5).map(|_| random.below(1 << 24) as u32).collect();
        let [block_size, kv_heads, head_dim] = [1 + random.below(64), 1 + random.below(64), 1 + random.below(256)];
        let (position, kv_head) = (random.below(5 * block_size), random.below(kv_heads));
        let slot = table[position / block_size] as u64 * block_size as u64 + (position % block_size) as u64;
        let expected = (slot * kv_heads as u64 + kv_head as u64) * head_dim as u64;
        let shape = [block_size, kv_heads, head_dim].map(|size| size as u32);
        assert_eq!(kernels::key_start(&table, position as u32, shape, kv_head as u32), expected);
    }
}

#[test]
fn blocks_divide_the_heads_of_every_group() {
    for group in 1..=80u32 {
        for heads_per_block in 1..=group {
            let parts = group.div_ceil(heads_per_block);
            let mut heads = Vec::new();
            for block in 0..3 * parts {
                let [kv_head, first, count] = kernels::head_range(block, group, heads_per_block);
                assert!((1..=heads_per_block).contains(&count));
                assert!((first..first + count).all(|head| head / group == kv_head), "heads of one key head");
                heads.extend(first..first + count);
            }
            assert_eq!(heads, (0..3 * group).collect::<Vec<_>>());
        }
    }
}

#[test]
fn rows_of_a_tile_see_the_keys_up_to_their_own() {
    let mut random = Random(25);
    for _ in 0..10_000 {
        let (before, rows, cached) = (random.below(50) as u32, 1 + random.below(300) as u32, random.below(1000) as u32);
        let most = 1 + random.below(64) as u32;
        let (end, keys) = (before + rows, cached + rows);
        let mut seen = Vec::new();
        for first in (before..end).step_by(most as usize) {
            let [tile_first, count, first_keys] = kernels::row_tile(first, most, before, end, keys);
            assert_eq!(tile_first, first);
            seen.extend((0..count).map(|row| first_keys + row));
        }
        assert_eq!(seen, (cached + 1..=keys).collect::<Vec<_>>());
    }
}

#[test]
fn angles_keep_their_digits_at_any_position() {
    let mut random = Random(26);
    for _ in 0..200_000 {
        let position = random.below(1 << 24) as u32;
        let frequency = f64::from(random.signed().abs());
        let (angle, exact) = (f64::from(kernels::reduced_angle(position, frequency)), f64::from(position) * frequency);
        assert!(angle.abs() < std::f64::consts::PI + 1e-6, "{angle}");
        let error = (angle.cos() - exact.cos()).abs().max((angle.sin() - exact.sin()).abs());
        assert!(error < 2e-7, "position {position}, frequency {frequency}: {error}");
    }
}
