//! Any bytes as a model file: validator, configuration, loader, and one token if it loads.
#![no_main]

use std::io::Write;

use libfuzzer_sys::fuzz_target;
use sconce_model::gguf::GgufHeader;
use sconce_model::{Devices, Checkpoint, Llama};

fuzz_target!(|bytes: &[u8]| {
    if GgufHeader::parse(bytes).is_err() {
        return;
    }
    let mut written = tempfile::NamedTempFile::new().expect("a temporary file");
    written.write_all(bytes).expect("written");
    let file = Checkpoint::open(written.path()).expect("the same bytes were valid before");
    if let Ok(model) = Llama::load(&file, &Devices::cpu(), None) {
        let _ = model.check_finite(&file, 1);
    }
});
