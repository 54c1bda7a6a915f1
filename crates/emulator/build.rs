//! Compiles every kernel of `crates/kernels/csrc` for the host, in one translation unit with the emulator: each registers
//! itself there, and a unit of their own would be left out by the linker.

use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    let sources = Path::new("../kernels/csrc");
    let mut files: Vec<PathBuf> = fs::read_dir(sources)
        .expect("the kernels' sources lie beside this crate")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let mut unit = String::from("#include \"emulator.cpp\"\n");
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "cu")) {
        let name = file.file_name().expect("a name").to_string_lossy();
        unit.push_str(&format!("#include \"{name}\"\n"));
    }
    unit.push_str("#include \"arithmetic.cpp\"\n");
    let unit_path = PathBuf::from(std::env::var("OUT_DIR").expect("set by cargo")).join("kernels.cpp");
    fs::write(&unit_path, unit).expect("the build folder is writable");
    println!("cargo:rerun-if-changed=../kernels/csrc");
    println!("cargo:rerun-if-changed=cpp");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .include(sources)
        .include("cpp")
        .file(&unit_path)
        .opt_level(2)
        // The same operations as on the card where bits are promised: no fused multiply-add that is not written as one.
        .flag("-ffp-contract=off")
        // Some compilers check by default that a jump goes up its own stack; between fibers none does.
        .flag("-U_FORTIFY_SOURCE")
        // A card faults on a vector that is loaded from an address that is not a multiple of its size; so does this.
        .flag("-fsanitize=alignment")
        .flag("-fsanitize-undefined-trap-on-error")
        .warnings(true)
        .compile("sconce_emulator");
}
