//! Sizes in bytes, as people write them.

use std::str::FromStr;

/// A number of bytes, parsed from `512MiB`, `4GB`, `4g` or a plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) usize);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1.0,
            "k" | "kib" => 1024.0,
            "m" | "mib" => 1024.0 * 1024.0,
            "g" | "gib" => 1024.0 * 1024.0 * 1024.0,
            "kb" => 1e3,
            "mb" => 1e6,
            "gb" => 1e9,
            other => return Err(format!("{other:?} is no unit; use KiB, MiB or GiB")),
        };
        let number: f64 = number.parse().map_err(|_| format!("{text:?} is no size; write 512MiB or 4GiB"))?;
        let bytes = number * factor;
        if !(1.0..=1e15).contains(&bytes) {
            return Err(format!("{text} is out of range"));
        }
        Ok(Self(bytes as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        let read = |text: &str| text.parse::<Bytes>().map(|bytes| bytes.0);
        assert_eq!(read("512MiB"), Ok(512 << 20));
        assert_eq!(read("1.5 GiB"), Ok(3 << 29));
        assert_eq!(read("4GB"), Ok(4_000_000_000));
        assert_eq!(read("4g"), Ok(4 << 30));
        assert_eq!(read("123"), Ok(123));
        for wrong in ["", "GiB", "-1", "0", "1TiB", "1e30", "1.2.3m"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
