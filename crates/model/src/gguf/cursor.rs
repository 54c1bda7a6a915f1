//! A bounded reader over the header's bytes: every read says which field it is for, and none allocates before it has checked.

use super::error::GgufError;

/// The longest header that is read: key-value pairs and tensor infos together. A vocabulary of 260,000 tokens takes 16 MiB.
pub(super) const MAX_HEADER_BYTES: usize = 64 << 20;

/// Reads little-endian fields from the front of a file.
#[derive(Clone)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    /// Looks at no more than [`MAX_HEADER_BYTES`] of `file`.
    pub(super) fn new(file: &'a [u8]) -> Self {
        Self { bytes: &file[..file.len().min(MAX_HEADER_BYTES)], position: 0 }
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// The next `length` bytes.
    pub(super) fn take(&mut self, length: usize, field: &dyn Fn() -> String) -> Result<&'a [u8], GgufError> {
        if length > self.remaining() {
            return Err(GgufError::Truncated { field: field(), at: self.position as u64, needed: length as u64 });
        }
        let taken = &self.bytes[self.position..self.position + length];
        self.position += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &dyn Fn() -> String) -> Result<[u8; N], GgufError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, field)?);
        Ok(array)
    }

    pub(super) fn u32(&mut self, field: &dyn Fn() -> String) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.array(field)?))
    }

    pub(super) fn u64(&mut self, field: &dyn Fn() -> String) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.array(field)?))
    }

    /// A count of things that take at least `least_bytes` each: more of them than the rest of the file can hold is an error.
    pub(super) fn count(
        &mut self,
        least_bytes: usize,
        most: usize,
        field: &dyn Fn() -> String,
    ) -> Result<usize, GgufError> {
        let value = self.u64(field)?;
        let limit = (self.remaining() / least_bytes.max(1)).min(most);
        match usize::try_from(value) {
            Ok(count) if count <= limit => Ok(count),
            _ => Err(GgufError::TooLarge { field: field(), value, limit: limit as u64 }),
        }
    }

    /// A length-prefixed UTF-8 string of at most `most` bytes, where it stands.
    pub(super) fn str(&mut self, most: usize, field: &dyn Fn() -> String) -> Result<&'a str, GgufError> {
        let length = self.count(1, most, field)?;
        let bytes = self.take(length, field)?;
        std::str::from_utf8(bytes).map_err(|_| GgufError::NotText { field: field() })
    }

    /// Like [`Self::str`], as a string of its own.
    pub(super) fn text(&mut self, most: usize, field: &dyn Fn() -> String) -> Result<String, GgufError> {
        self.str(most, field).map(str::to_owned)
    }
}
