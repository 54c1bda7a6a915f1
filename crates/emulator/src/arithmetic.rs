//! The kernels' arithmetic that runs on both sides, as plain functions: number formats, blocks of weights, where work is cut.

use std::ffi::{CString, c_char};

unsafe extern "C" {
    safe fn sconce_f16_to_float(bits: u16) -> f32;
    safe fn sconce_bf16_to_float(bits: u16) -> f32;
    safe fn sconce_float_to_f16(value: f32) -> u16;
    safe fn sconce_float_to_bf16(value: f32) -> u16;
    fn sconce_block_size(name: *const c_char, bytes: *mut u32, elements: *mut u32) -> bool;
    fn sconce_block_element(name: *const c_char, block: *const u8, index: u32) -> f32;
    safe fn sconce_reduced_angle(position: u32, frequency: f64) -> f32;
    safe fn sconce_split_keys(keys: u32, splits: u32) -> u32;
    fn sconce_key_start(
        table: *const u32,
        position: u32,
        block_size: u32,
        kv_heads: u32,
        kv_head: u32,
        head_dim: u32,
    ) -> u64;
    fn sconce_head_range(block: u32, group: u32, heads_per_block: u32, out: *mut u32);
    fn sconce_row_tile(first: u32, most: u32, sequence_first: u32, sequence_end: u32, keys: u32, out: *mut u32);
}

/// A half as a float.
#[must_use]
pub fn f16_to_float(bits: u16) -> f32 {
    sconce_f16_to_float(bits)
}

/// The upper half of a float as one.
#[must_use]
pub fn bf16_to_float(bits: u16) -> f32 {
    sconce_bf16_to_float(bits)
}

/// The nearest half.
#[must_use]
pub fn float_to_f16(value: f32) -> u16 {
    sconce_float_to_f16(value)
}

/// The nearest float that has an upper half only.
#[must_use]
pub fn float_to_bf16(value: f32) -> u16 {
    sconce_float_to_bf16(value)
}

/// The elements of blocks of a format, which is named as in the names of kernels. None for a name that is no format's, or bytes
/// that are no whole blocks.
#[must_use]
pub fn block_elements(format: &str, blocks: &[u8]) -> Option<Vec<f32>> {
    let name = CString::new(format).ok()?;
    let (mut bytes, mut elements) = (0, 0);
    // SAFETY: the name ends in a zero, and both places outlive the call.
    let known = unsafe { sconce_block_size(name.as_ptr(), &raw mut bytes, &raw mut elements) };
    if !known || !blocks.len().is_multiple_of(bytes as usize) {
        return None;
    }
    let mut found = Vec::new();
    for block in blocks.chunks_exact(bytes as usize) {
        // SAFETY: the format is known, the block has as many bytes as it says and the index is below its elements.
        found.extend((0..elements).map(|index| unsafe { sconce_block_element(name.as_ptr(), block.as_ptr(), index) }));
    }
    Some(found)
}

/// The angle `position * frequency` in radians, brought to -π..π.
#[must_use]
pub fn reduced_angle(position: u32, frequency: f64) -> f32 {
    sconce_reduced_angle(position, frequency)
}

/// Keys of one split of a sequence; `splits` is at least one.
#[must_use]
pub fn split_keys(keys: u32, splits: u32) -> u32 {
    assert!(splits > 0, "a sequence has a split");
    sconce_split_keys(keys, splits)
}

/// The element of a cache `[num_blocks, block_size, kv_heads, head_dim]` at which a head of a position begins.
///
/// # Panics
/// When the table has no block for the position.
#[must_use]
pub fn key_start(table: &[u32], position: u32, [block_size, kv_heads, head_dim]: [u32; 3], kv_head: u32) -> u64 {
    assert!(((position / block_size) as usize) < table.len(), "the position has a block");
    // SAFETY: the function reads the entry of the position's block only, which was just seen to exist.
    unsafe { sconce_key_start(table.as_ptr(), position, block_size, kv_heads, kv_head, head_dim) }
}

/// Key head, first query head and number of query heads of a block of an attention kernel.
#[must_use]
pub fn head_range(block: u32, group: u32, heads_per_block: u32) -> [u32; 3] {
    assert!(heads_per_block > 0, "a block has a head");
    let mut out = [0; 3];
    // SAFETY: the function writes three numbers, which is how long the array is.
    unsafe { sconce_head_range(block, group, heads_per_block, out.as_mut_ptr()) };
    out
}

/// First row, number of rows and keys of the first row of a tile of at most `most` rows of a sequence, which has the rows
/// `sequence_first..sequence_end` and whose last row sees `keys`.
#[must_use]
pub fn row_tile(first: u32, most: u32, sequence_first: u32, sequence_end: u32, keys: u32) -> [u32; 3] {
    let mut out = [0; 3];
    // SAFETY: the function writes three numbers, which is how long the array is.
    unsafe { sconce_row_tile(first, most, sequence_first, sequence_end, keys, out.as_mut_ptr()) };
    out
}
