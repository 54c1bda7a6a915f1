//! The printable alphabet in which byte-level BPE vocabularies spell bytes. Nothing about merging here.
//!
//! Layout (GPT-2's): bytes that print in Latin-1 stand for themselves; the 68 others, in order, are U+0100 and on.

/// Whether a byte is its own character.
fn prints(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF)
}

/// The character that spells a byte.
pub(crate) fn char_of(byte: u8) -> char {
    if prints(byte) {
        return char::from(byte);
    }
    let rank = (0..byte).filter(|&earlier| !prints(earlier)).count() as u32;
    char::from_u32(0x100 + rank).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// The byte that a character spells, if it is of the alphabet.
pub(crate) fn byte_of(character: char) -> Option<u8> {
    let code = character as u32;
    match code {
        0..=0xFF => u8::try_from(code).ok().filter(|&byte| prints(byte)),
        // The 68 others: 0x00..=0x20, 0x7F..=0xA0, 0xAD.
        0x100..=0x120 => Some((code - 0x100) as u8),
        0x121..=0x142 => Some((code - 0x121) as u8 + 0x7F),
        0x143 => Some(0xAD),
        _ => None,
    }
}

/// Appends the bytes that a token's text spells; a character outside of the alphabet stands for its own UTF-8.
pub(crate) fn decode(text: &str, bytes: &mut Vec<u8>) {
    for character in text.chars() {
        match byte_of(character) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_own_character_and_comes_back() {
        let characters: std::collections::HashSet<char> = (0..=255).map(char_of).collect();
        assert_eq!(characters.len(), 256);
        for byte in 0..=255 {
            assert_eq!(byte_of(char_of(byte)), Some(byte));
        }
        assert_eq!(char_of(b' '), 'Ġ');
        assert_eq!(char_of(b'\n'), 'Ċ');
    }
}
