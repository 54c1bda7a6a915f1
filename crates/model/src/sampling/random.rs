//! The random numbers of sampling: a function of seed, position and choice, with no state to carry.
//!
//! Philox 2x64 with 10 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).

const MULTIPLIER: u64 = 0xD2B7_4407_B1CE_6E93;
const KEY_STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// Two words from a key and a counter of two words.
pub(crate) fn philox(key: u64, counter: [u64; 2]) -> [u64; 2] {
    let (mut key, [mut left, mut right]) = (key, counter);
    for _ in 0..10 {
        let product = u128::from(left) * u128::from(MULTIPLIER);
        (left, right) = ((product >> 64) as u64 ^ key ^ right, product as u64);
        key = key.wrapping_add(KEY_STEP);
    }
    [left, right]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_published_words() {
        assert_eq!(philox(0, [0, 0]), [0xCA00_A045_9843_D731, 0x66C2_4222_C9A8_45B5]);
        assert_eq!(philox(u64::MAX, [u64::MAX; 2]), [0x65B0_21D6_0CD8_310F, 0x4D02_F322_2F86_DF20]);
        let digits_of_pi = philox(0xA409_3822_299F_31D0, [0x243F_6A88_85A3_08D3, 0x1319_8A2E_0370_7344]);
        assert_eq!(digits_of_pi, [0x0A5E_742C_2997_341C, 0xB0F8_83D3_8000_DE5D]);
    }

    #[test]
    fn neighbouring_positions_are_spread_over_the_words() {
        let unit = |position| philox(7, [position, 0])[0] as f64 / 2.0f64.powi(64);
        let mean = (0..10_000).map(unit).sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
        assert_ne!(philox(7, [3, 0]), philox(7, [3, 1]));
    }
}
