//! A block's share of the sums: its dot products times what their group, the block and the row weigh.

#![allow(unsafe_code)]

use super::activations::BlockRows;
use super::format::{Format, Scales};
use super::lanes::Lanes;
use super::unpack::Factors;
use super::vectors::Vectors;
use super::{BLOCK, TILE};

/// Adds a block's share to the sums of the rows `first..first + COUNT`, which share each load of a group's weight.
///
/// # Safety
/// There are these rows; the processor has the instructions.
#[inline(always)]
pub(super) unsafe fn add<L: Lanes, F: Format, const COUNT: usize>(
    dots: &Vectors<'_, F>,
    factors: &Factors,
    first: usize,
    sums: &mut [[f32; TILE]; COUNT],
) {
    // SAFETY: the caller promises the rows and the instructions.
    unsafe {
        let shares = match F::LAYOUT.scales {
            Scales::Plain => plain::<L, F, COUNT>(dots, factors, first),
            Scales::Super => supers::<L, F, COUNT>(dots, factors, first),
        };
        for ((share, sums), scale) in shares.into_iter().zip(sums).zip(&dots.rows.scales[first..first + COUNT]) {
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
    dots: &Vectors<'_, F>,
    factors: &Factors,
    first: usize,
) -> [L::Floats; COUNT] {
    let layout = F::LAYOUT;
    // SAFETY: a block's groups lie within `factors`; the caller promises the rest.
    unsafe {
        let mut shares = [L::splat(0.0); COUNT];
        for group in 0..dots.rows.strips {
            let scale = L::load(factors.scales[group].as_ptr());
            let offsets = offsets::<L, F, COUNT>(dots.rows, first, group);
            let starts = if layout.has_minimums { [L::splat_ints(0); COUNT] } else { offsets };
            for (share, dot) in shares.iter_mut().zip(dots.add::<L, COUNT>(first, group, starts)) {
                *share = L::mul_add(L::to_floats(dot), scale, *share);
            }
            if layout.has_minimums {
                let minimum = L::load(factors.minimums[group].as_ptr());
                for (share, sum) in shares.iter_mut().zip(offsets) {
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
    dots: &Vectors<'_, F>,
    factors: &Factors,
    first: usize,
) -> [L::Floats; COUNT] {
    let layout = F::LAYOUT;
    let chains = layout.group / layout.chain();
    // SAFETY: K types have whole blocks, whose groups lie within `factors`; the caller promises the rest.
    unsafe {
        let mut totals = [L::splat_ints(0); COUNT];
        for (group, scale) in factors.group_scales[..BLOCK / layout.group].iter().enumerate() {
            let scale = L::load_ints(scale.as_ptr());
            for chain in group * chains..(group + 1) * chains {
                let starts = match layout.has_minimums {
                    true => [L::splat_ints(0); COUNT],
                    false => offsets::<L, F, COUNT>(dots.rows, first, chain),
                };
                for (total, dot) in totals.iter_mut().zip(dots.add::<L, COUNT>(first, chain, starts)) {
                    *total = L::dot_pairs(*total, scale, dot);
                }
            }
        }
        let minimums = minimums::<L, F, COUNT>(factors, dots.rows, first);
        std::array::from_fn(|row| weigh::<L, F>(totals[row], minimums[row], factors))
    }
}

/// A chain's offsets, of so many rows.
///
/// # Safety
/// There are these rows and this chain; the processor has the instructions of `L`.
#[inline(always)]
unsafe fn offsets<L: Lanes, F: Format, const COUNT: usize>(
    rows: &BlockRows<'_>,
    first: usize,
    chain: usize,
) -> [L::Ints; COUNT] {
    let offsets = &rows.offsets[first * F::LAYOUT.offsets() + chain..];
    // SAFETY: the caller promises the rows, each with as many offsets as the layout says, and the instructions.
    std::array::from_fn(|row| unsafe { L::splat_ints(*offsets.get_unchecked(row * F::LAYOUT.offsets())) })
}

/// Of so many rows: over pairs of groups, the sums of their activations times the minimums; 0 for types without.
///
/// # Safety
/// There are these rows; the processor has the instructions of `L`.
#[inline(always)]
pub(super) unsafe fn minimums<L: Lanes, F: Format, const COUNT: usize>(
    factors: &Factors,
    rows: &BlockRows<'_>,
    first: usize,
) -> [L::Ints; COUNT] {
    let count = F::LAYOUT.sums();
    let sums = rows.sums[first * count..].as_ptr();
    // SAFETY: sixteen integers; the caller promises the rows, each with as many sums as the layout says, and the instructions.
    unsafe {
        let mut totals = [L::splat_ints(0); COUNT];
        for (pair, factors) in factors.minimum_pairs[..count / 2].iter().enumerate() {
            let factors = L::load_ints(factors.as_ptr());
            for (row, total) in totals.iter_mut().enumerate() {
                let pair = L::splat_ints(sums.add(row * count + 2 * pair).cast::<i32>().read_unaligned());
                *total = L::dot_pairs(*total, factors, pair);
            }
        }
        totals
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
