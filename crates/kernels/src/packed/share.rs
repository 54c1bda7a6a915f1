//! A block's share of the sums: its dot products times what their group, the block and the row weigh. Written once for every way
//! in which the dot products are made, so that all of them round alike.

#![allow(unsafe_code)]

use super::activations::BlockRows;
use super::format::{Format, Scales};
use super::lanes::Lanes;
use super::unpack::Factors;
use super::{BLOCK, STRIP, TILE};

/// Where the dot products of a block come from.
pub(super) trait Dots<L: Lanes> {
    /// Of the rows from `first` on: `starts` plus the dot products of their activations with a group's codes, for each output.
    ///
    /// # Safety
    /// There are these rows and this group; the processor has the instructions of `L`.
    unsafe fn add<const COUNT: usize>(&self, first: usize, group: usize, starts: [L::Ints; COUNT]) -> [L::Ints; COUNT];
}

/// Adds a block's share to the sums of the rows `first..first + COUNT`, which share each load of a group's weight.
///
/// # Safety
/// There are these rows; the processor has the instructions.
#[inline(always)]
pub(super) unsafe fn add<L: Lanes, F: Format, const COUNT: usize>(
    dots: &impl Dots<L>,
    factors: &Factors,
    rows: &BlockRows<'_>,
    first: usize,
    sums: &mut [[f32; TILE]; COUNT],
) {
    // SAFETY: the caller promises the rows and the instructions.
    unsafe {
        let shares = match F::LAYOUT.scales {
            Scales::Plain => plain::<L, F, COUNT>(dots, factors, rows, first),
            Scales::Super => supers::<L, F, COUNT>(dots, factors, rows, first),
        };
        for ((share, sums), scale) in shares.into_iter().zip(sums).zip(&rows.scales[first..first + COUNT]) {
            add_row::<L>(share, *scale, sums);
        }
    }
}

/// Of a plain type: over its groups, in order, dot products times the group's scale.
///
/// # Safety
/// There are these rows; the processor has the instructions.
#[inline(always)]
unsafe fn plain<L: Lanes, F: Format, const COUNT: usize>(
    dots: &impl Dots<L>,
    factors: &Factors,
    rows: &BlockRows<'_>,
    first: usize,
) -> [L::Floats; COUNT] {
    let (layout, groups) = (F::LAYOUT, rows.strips);
    let half_sums = &rows.half_sums[first * 2 * groups..(first + COUNT) * 2 * groups];
    // SAFETY: a block's groups lie within `factors`, and each row has two sums for each of them; the caller promises the rest.
    unsafe {
        let mut shares = [L::splat(0.0); COUNT];
        let negated = L::splat_ints(both(if layout.has_minimums { -1 } else { -layout.zero }));
        for group in 0..groups {
            let scale = L::load(factors.scales[group].as_ptr());
            let sums: [L::Ints; COUNT] = std::array::from_fn(|row| {
                L::dot_pair(L::splat_ints(0), negated, half_sums.as_ptr().add(2 * (row * groups + group)))
            });
            let starts = if layout.has_minimums { [L::splat_ints(0); COUNT] } else { sums };
            for (share, dot) in shares.iter_mut().zip(dots.add(first, group, starts)) {
                *share = L::mul_add(L::to_floats(dot), scale, *share);
            }
            if layout.has_minimums {
                let minimum = L::load(factors.minimums[group].as_ptr());
                for (share, sum) in shares.iter_mut().zip(sums) {
                    *share = L::mul_add(L::to_floats(sum), minimum, *share);
                }
            }
        }
        shares
    }
}

/// Of a K type: the integer of all groups' dot products times their scales, weighed at the end.
///
/// # Safety
/// There are these rows; the processor has the instructions.
#[inline(always)]
unsafe fn supers<L: Lanes, F: Format, const COUNT: usize>(
    dots: &impl Dots<L>,
    factors: &Factors,
    rows: &BlockRows<'_>,
    first: usize,
) -> [L::Floats; COUNT] {
    let layout = F::LAYOUT;
    let pairs = BLOCK / layout.group / 2;
    let sums = &if layout.group == STRIP { rows.sums } else { rows.half_sums }[first * 2 * pairs..];
    // SAFETY: K types have whole blocks, whose groups lie within `factors`; each row has a sum for each of them; the caller
    // promises the rest.
    unsafe {
        let corrections = corrections::<L, COUNT>(&factors.pairs[..pairs], sums);
        // What a zero takes away has the scale of the codes; minimums have one of their own.
        let mut totals = if layout.has_minimums { [L::splat_ints(0); COUNT] } else { corrections };
        for (group, scale) in factors.group_scales[..2 * pairs].iter().enumerate() {
            let scale = L::load_ints(scale.as_ptr());
            for (total, dot) in totals.iter_mut().zip(dots.add(first, group, [L::splat_ints(0); COUNT])) {
                *total = L::mul_add_ints(dot, scale, *total);
            }
        }
        std::array::from_fn(|row| weigh::<L, F>(totals[row], corrections[row], factors))
    }
}

/// Of so many rows: over pairs of groups, the sums of their activations times what those are multiplied by.
///
/// # Safety
/// `sums` has two of each pair, row after row; the processor has the instructions.
#[inline(always)]
pub(super) unsafe fn corrections<L: Lanes, const COUNT: usize>(
    pairs: &[[i32; TILE]],
    sums: &[i16],
) -> [L::Ints; COUNT] {
    // SAFETY: sixteen integers; the caller promises the sums and the instructions.
    unsafe {
        let mut corrections = [L::splat_ints(0); COUNT];
        for (pair, factors) in pairs.iter().enumerate() {
            let factors = L::load_ints(factors.as_ptr());
            for (row, correction) in corrections.iter_mut().enumerate() {
                *correction = L::dot_pair(*correction, factors, sums.as_ptr().add(2 * (row * pairs.len() + pair)));
            }
        }
        corrections
    }
}

/// A row's share of a K type's block: the integer of its codes times the block's scale and, where there are minimums, the integer of
/// those times theirs.
///
/// # Safety
/// The processor has the instructions of `L`.
#[inline(always)]
pub(super) unsafe fn weigh<L: Lanes, F: Format>(total: L::Ints, minimums: L::Ints, factors: &Factors) -> L::Floats {
    // SAFETY: sixteen floats each; the caller promises the instructions.
    unsafe {
        let share = L::mul(L::to_floats(total), L::load(factors.super_scale.as_ptr()));
        if F::LAYOUT.has_minimums {
            L::mul_add(L::to_floats(minimums), L::load(factors.super_minimum.as_ptr()), share)
        } else {
            share
        }
    }
}

/// Adds a block's share, times the scale of the row's activations, to the row's sums.
///
/// # Safety
/// The processor has the instructions of `L`.
#[inline(always)]
pub(super) unsafe fn add_row<L: Lanes>(share: L::Floats, scale: f32, sums: &mut [f32; TILE]) {
    // SAFETY: sixteen floats; the caller promises the instructions.
    unsafe { L::store(L::mul_add(L::splat(scale), share, L::load(sums.as_ptr())), sums.as_mut_ptr()) }
}

/// The same 16 bits twice.
const fn both(factor: i32) -> i32 {
    factor & 0xffff | factor << 16
}
