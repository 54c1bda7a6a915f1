//! The arrays of a header in little more memory than they take in the file: a vocabulary is one piece of text with the ends of
//! its entries, integers stay as wide as they were written. What they mean is not known here.

use std::ops::Index;

/// Many strings in one piece of memory: four bytes for each beside its text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts {
    text: String,
    /// Where each entry ends in `text`; a header, and so its text, is far below 2^32 bytes.
    ends: Vec<u32>,
}

impl Texts {
    /// Room for so many entries with so many bytes in all.
    pub(super) fn with_capacity(entries: usize, bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), ends: Vec::with_capacity(entries) }
    }

    pub(super) fn push(&mut self, entry: &str) {
        self.text.push_str(entry);
        self.ends.push(self.text.len() as u32);
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// An entry.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(&self.text[start as usize..end as usize])
    }

    /// All entries, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.len()).map(|index| &self[index])
    }

    /// All entries as strings of their own.
    #[must_use]
    pub fn to_vec(&self) -> Vec<String> {
        self.iter().map(str::to_owned).collect()
    }
}

impl Index<usize> for Texts {
    type Output = str;

    /// # Panics
    /// When there is no such entry, as a slice does.
    fn index(&self, index: usize) -> &str {
        let count = self.len();
        self.get(index).unwrap_or_else(|| panic!("entry {index} of {count}"))
    }
}

impl Default for &Texts {
    fn default() -> Self {
        static NONE: Texts = Texts { text: String::new(), ends: Vec::new() };
        &NONE
    }
}

impl<T: AsRef<str>> PartialEq<[T]> for Texts {
    fn eq(&self, other: &[T]) -> bool {
        self.len() == other.len() && self.iter().zip(other).all(|(ours, theirs)| ours == theirs.as_ref())
    }
}

/// Integers of one width, as they stand in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Integers {
    bytes: Vec<u8>,
    width: usize,
    signed: bool,
}

impl Integers {
    /// Takes little-endian integers of `width` bytes each, from 1 to 8; the width divides the number of bytes.
    pub(super) fn new(bytes: &[u8], width: usize, signed: bool) -> Self {
        Self { bytes: bytes.to_vec(), width, signed }
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() / self.width
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// All entries, in order; `i128` holds those with a sign and those without.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = i128> {
        self.bytes
            .chunks_exact(self.width)
            .map(|bytes| if self.signed { i128::from(signed(bytes)) } else { i128::from(unsigned(bytes)) })
    }
}

/// A little-endian integer of up to eight bytes.
pub(super) fn unsigned(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// A little-endian integer of one to eight bytes with a sign.
pub(super) fn signed(bytes: &[u8]) -> i64 {
    let unused = 64 - 8 * bytes.len() as u32;
    // Shifting up and down again extends the sign.
    ((unsigned(bytes) << unused) as i64) >> unused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_by_their_places() {
        let mut texts = Texts::with_capacity(3, 4);
        for entry in ["a", "", "ßx"] {
            texts.push(entry);
        }
        assert_eq!(texts.to_vec(), ["a", "", "ßx"]);
        assert!(texts == ["a", "", "ßx"][..] && texts != ["a", ""][..]);
        assert_eq!((texts.get(2), texts.get(3)), (Some("ßx"), None));
        let none: &Texts = Default::default();
        assert!(none.is_empty());
    }

    #[test]
    fn integers_keep_their_sign_and_width() {
        let entries = |bytes: &[u8], width, signed| Integers::new(bytes, width, signed).iter().collect::<Vec<_>>();
        assert_eq!(entries(&[0xff, 1], 1, true), [-1, 1]);
        assert_eq!(entries(&[0xff, 1], 1, false), [255, 1]);
        assert_eq!(entries(&[0xff; 8], 8, false), [i128::from(u64::MAX)]);
        assert_eq!(entries(&[0xfe, 0xff, 0xff, 0xff], 4, true), [-2]);
    }
}
