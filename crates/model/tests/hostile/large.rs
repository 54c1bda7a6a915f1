//! Headers as large as they may be, valid and not: what is kept of them stays within twice their size and 64 MiB.

use sconce_model::Checkpoint;
use sconce_model::gguf::GgufHeader;

use crate::bounded;
use crate::builder::{GgufBuilder, text_bytes, write_bytes};

const LARGEST: usize = 64 << 20;
const MOST_ENTRIES: usize = 4 << 20;

/// As many arrays of one kind as fill a header.
fn arrays(element: u32, entry: &[u8]) -> Vec<u8> {
    let mut builder = GgufBuilder::default();
    let entries = MOST_ENTRIES.min((LARGEST - (1 << 16)) / entry.len());
    let value = [&element.to_le_bytes()[..], &(entries as u64).to_le_bytes(), &entry.repeat(entries)].concat();
    for index in 0..(LARGEST - (1 << 12)) / value.len() {
        builder.keys.push((format!("array.{index}"), 9, value.clone()));
    }
    builder.bytes()
}

#[test]
fn large_arrays_of_every_kind_are_kept_within_bounds() {
    let kinds: [(&str, u32, Vec<u8>); 7] = [
        ("empty texts", 8, text_bytes("")),
        ("short texts", 8, text_bytes("a")),
        ("texts", 8, text_bytes("twenty bytes or more")),
        ("bytes", 0, vec![200]),
        ("truth values", 7, vec![1]),
        ("doubles", 12, 1.5f64.to_le_bytes().to_vec()),
        ("long integers", 11, (-1i64).to_le_bytes().to_vec()),
    ];
    for (what, element, entry) in kinds {
        let mut bytes = arrays(element, &entry);
        assert!(bytes.len() > LARGEST / 2, "{what}: {} bytes", bytes.len());
        let header = bounded(what, bytes.len(), || GgufHeader::parse(&bytes));
        drop(header.unwrap_or_else(|error| panic!("{what}: {error}")));
        // The fault comes last, when all before it is kept.
        let last = bytes.len() - 1;
        bytes[8] = 1;
        bytes.truncate(last);
        assert!(bounded(what, bytes.len(), || GgufHeader::parse(&bytes).is_err()), "{what}");
    }
}

#[test]
fn as_many_keys_and_tensors_as_there_may_be_are_kept_within_bounds() {
    let mut builder = GgufBuilder::default();
    let filler = "k".repeat(900);
    builder.keys = (0..1 << 16).map(|index| (format!("{filler}{index}"), 0, vec![1])).collect();
    let bytes = builder.bytes();
    let written = write_bytes(&bytes);
    bounded("keys", bytes.len(), || Checkpoint::open(written.path())).unwrap_or_else(|error| panic!("{error}"));
    let mut builder = GgufBuilder::default();
    let filler = "t".repeat(240);
    for index in 0..1 << 17 {
        builder.tensor(&format!("{filler}{index}"), &[1], 0, vec![0; 4]);
    }
    let bytes = builder.bytes();
    let written = write_bytes(&bytes);
    bounded("tensors", builder.header().len(), || Checkpoint::open(written.path()))
        .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_message_about_a_long_text_is_short() {
    let mut builder = crate::tiny::Tiny::odd().builder();
    builder.text("general.architecture", &"\u{1}".repeat(32 << 20));
    let bytes = builder.bytes();
    let written = write_bytes(&bytes);
    let message = bounded("architecture", builder.header().len(), || {
        let file = Checkpoint::open(written.path()).unwrap_or_else(|error| panic!("{error}"));
        sconce_model::LlamaConfig::from_file(&file).map_or_else(|error| error.to_string(), |_| "accepted".to_owned())
    });
    assert!(message.contains("33554432 bytes") && message.len() < 1000, "{message}");
}
