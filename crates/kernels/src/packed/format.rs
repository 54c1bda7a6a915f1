//! What tells the packed types apart: bits of a code, inputs of a group, how scales are stored, what is subtracted.

use super::{BLOCK, STRIP, TILE};
use crate::weight::WeightType;

/// How a group's scale and minimum are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scales {
    /// An f16 for each group.
    Plain,
    /// A byte for each group (signed where there are no minimums), times an f16 for the block.
    Super,
}

/// A type of codes, known at compile time.
pub(super) trait Format: Send + Sync + 'static {
    const LAYOUT: Layout;
}

/// The numbers behind a [`Format`]. A weight is `scale * (code - zero) - minimum`; either `zero` or the minimum is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// Bits of a code: 4, 5, 6 or 8.
    pub(super) bits: usize,
    /// Inputs of a group: 16 or 32.
    pub(super) group: usize,
    pub(super) scales: Scales,
    pub(super) has_minimums: bool,
    /// What is taken from each code.
    pub(super) zero: i32,
}

impl Layout {
    const fn plain(bits: usize, zero: i32) -> Self {
        Self { bits, group: 32, scales: Scales::Plain, has_minimums: zero == 0, zero }
    }

    const fn supers(bits: usize, group: usize, zero: i32) -> Self {
        Self { bits, group, scales: Scales::Super, has_minimums: zero == 0, zero }
    }

    /// Inputs whose dot product is taken at once: a group, or in K types as many as leave the number, less the zero, within 16
    /// bits, so that one instruction multiplies it by the group's scale and adds it.
    pub(super) const fn chain(self) -> usize {
        match (self.scales, self.bits) {
            (Scales::Plain, _) => self.group,
            (Scales::Super, 4) => 16,
            (Scales::Super, _) => 8,
        }
    }

    /// What the sum of a chain's activations is multiplied by, to take the zero of its codes away, or in plain types with minimums
    /// to be multiplied by the group's.
    pub(super) const fn offset_factor(self) -> i32 {
        if self.has_minimums { -1 } else { -self.zero }
    }

    /// Chains of a block, where their sums are needed.
    pub(super) const fn offsets(self) -> usize {
        match (self.scales, self.has_minimums) {
            (Scales::Super, true) => 0,
            _ => BLOCK / self.chain(),
        }
    }

    /// Strips of a block, where their sums are needed for whole numbers as minimums.
    pub(super) const fn sums(self) -> usize {
        match (self.scales, self.has_minimums) {
            (Scales::Super, true) => BLOCK / STRIP,
            _ => 0,
        }
    }

    /// Groups of a strip.
    pub(super) const fn strip_groups(self) -> usize {
        STRIP / self.group
    }

    /// Bytes of a strip's codes.
    pub(super) const fn strip_bytes(self) -> usize {
        TILE * STRIP * self.bits / 8
    }

    /// Scales, or minimums, of each group come this many bytes apart.
    pub(super) const fn scale_bytes(self) -> usize {
        match self.scales {
            Scales::Plain => 2 * TILE,
            Scales::Super => TILE,
        }
    }

    /// Scales and, where there are any, minimums.
    pub(super) const fn scale_kinds(self) -> usize {
        1 + self.has_minimums as usize
    }

    /// Bytes before the codes of a block of so many strips.
    pub(super) const fn head_bytes(self, strips: usize) -> usize {
        let supers = match self.scales {
            Scales::Plain => 0,
            Scales::Super => 2 * TILE,
        };
        self.scale_kinds() * (supers + strips * self.strip_groups() * self.scale_bytes())
    }

    /// Bytes of a block of so many strips.
    pub(super) const fn block_bytes(self, strips: usize) -> usize {
        self.head_bytes(strips) + strips * self.strip_bytes()
    }

    /// Bytes of a tile of so many inputs.
    pub(super) const fn tile_bytes(self, inputs: usize) -> usize {
        let rest = inputs % BLOCK / STRIP;
        inputs / BLOCK * self.block_bytes(BLOCK / STRIP) + if rest > 0 { self.block_bytes(rest) } else { 0 }
    }
}

/// Whether every dot product of a chain, less the zero, is within 16 bits.
const fn chains_fit(layout: Layout) -> bool {
    let (zero, most) = (layout.zero, (1 << layout.bits) - 1);
    let largest = if most - zero > zero { most - zero } else { zero };
    layout.chain() as i32 * 127 * largest <= i16::MAX as i32
}

const _: () = assert!(chains_fit(Q4K::LAYOUT) && chains_fit(Q5K::LAYOUT) && chains_fit(Q6K::LAYOUT));

macro_rules! formats {
    ($($name:ident => $layout:expr),* $(,)?) => {
        $(
            pub(super) struct $name;
            impl Format for $name {
                const LAYOUT: Layout = $layout;
            }
        )*

        /// The layout of a type that is packed.
        pub(super) fn layout_of(weight_type: WeightType) -> Option<Layout> {
            match weight_type {
                $(WeightType::$name => Some($name::LAYOUT),)*
                _ => None,
            }
        }
    };
}

formats! {
    Q4_0 => Layout::plain(4, 8),
    Q4_1 => Layout::plain(4, 0),
    Q5_0 => Layout::plain(5, 16),
    Q5_1 => Layout::plain(5, 0),
    Q8_0 => Layout::plain(8, 128),
    Q4K => Layout::supers(4, 32, 0),
    Q5K => Layout::supers(5, 32, 0),
    Q6K => Layout::supers(6, 16, 32),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_type_takes_more_than_a_twentieth_over_its_blocks_in_the_file() {
        for weight_type in WeightType::ALL {
            let Some(layout) = layout_of(weight_type) else { continue };
            let file = TILE * 4096 / weight_type.block_elements() * weight_type.block_bytes();
            let packed = layout.tile_bytes(4096);
            assert!(packed >= file && packed * 20 <= file * 21, "{weight_type:?}: {packed} instead of {file}");
        }
    }
}
