//! What people agree on and machines check: the floors, sizes of files and functions, what a file opens with, and words
//! that must not be committed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Crates by floor, and what each may depend on. Arrows only go down.
const FLOORS: &[(&str, u8, &[&str])] = &[
    ("kv", 0, &[]),
    ("emulator", 0, &[]),
    ("kernels", 0, &[]),
    ("hub", 0, &[]),
    ("rag", 0, &[]),
    ("text", 0, &[]),
    ("loadgen", 0, &[]),
    ("sched", 1, &["kv"]),
    ("model", 1, &["kernels"]),
    ("engine", 2, &["kv", "model", "sched", "text"]),
    ("server", 3, &["engine", "rag"]),
];

/// Dependencies that are known on some floors only.
const CONFINED: &[(&str, &[&str])] = &[
    ("candle-core", &["kernels", "model"]),
    ("tokio", &["engine", "hub", "loadgen", "server", "cli"]),
    ("axum", &["server"]),
    ("rusqlite", &["rag"]),
    ("reqwest", &["hub", "loadgen"]),
    ("clap", &["cli"]),
    ("anyhow", &["cli"]),
    ("minijinja", &["text"]),
];

/// Where the compiler's checks may be waived: kernels and what runs them, the map of a model's file, and a counting allocator.
const UNCHECKED_HOMES: &[&str] = &[
    "/crates/kernels/",
    "/crates/emulator/",
    "/crates/model/src/checkpoint/map.rs",
    "/crates/model/tests/sampling_device.rs",
    "/crates/model/tests/hostile/allocator.rs",
];

const MAX_FILE_LINES: usize = 600;
const MAX_FUNCTION_LINES: usize = 80;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// What the kernels and their emulator are written in.
const CUDA_AND_CPP: &[&str] = &["cu", "cuh", "cpp", "hpp"];

fn rust_files() -> Vec<(PathBuf, String)> {
    let found = files_of(&["rs"]);
    assert!(found.len() > 50, "the walk finds the code");
    found
}

/// The files of the crates and the tests whose names end in one of these.
fn files_of(extensions: &[&str]) -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, extensions: &[&str], found: &mut Vec<(PathBuf, String)>) {
        let mut entries: Vec<_> =
            fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                walk(&path, extensions, found);
            } else if path.extension().is_some_and(|found| extensions.iter().any(|extension| found == *extension)) {
                let text = fs::read_to_string(&path).expect("sources are UTF-8");
                found.push((path, text));
            }
        }
    }
    let mut found = Vec::new();
    for folder in ["crates", "tests"] {
        walk(&root().join(folder), extensions, &mut found);
    }
    found
}

/// Names in a manifest's table, `[dependencies]` or another.
fn table(manifest: &str, name: &str) -> Vec<String> {
    let start = format!("[{name}]");
    let lines = manifest.lines().skip_while(|line| line.trim() != start).skip(1);
    lines
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', '=', ' ']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

fn manifests() -> BTreeMap<String, String> {
    let read = |path: PathBuf| fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let crates = FLOORS.iter().map(|(name, ..)| (*name, root().join("crates").join(name).join("Cargo.toml")));
    let cli = [("cli", root().join("Cargo.toml"))];
    crates.chain(cli).map(|(name, path)| (name.to_owned(), read(path))).collect()
}

#[test]
fn dependencies_only_go_down() {
    let manifests = manifests();
    for (name, floor, allowed) in FLOORS {
        for dependency in table(&manifests[*name], "dependencies") {
            let Some(other) = dependency.strip_prefix("sconce-") else { continue };
            assert!(allowed.contains(&other), "{name} must not depend on {other}");
            let (_, below, _) = FLOORS.iter().find(|(known, ..)| known == &other).expect("a crate of ours");
            assert!(below < floor, "{name} depends on {other}, which is not below it");
        }
    }
    let folders = fs::read_dir(root().join("crates")).expect("a folder").count();
    assert_eq!(folders, FLOORS.len() + 1, "every crate has a floor, and the binary is above them");
}

#[test]
fn what_belongs_to_a_floor_stays_there() {
    for (name, manifest) in manifests() {
        for dependency in table(&manifest, "dependencies") {
            if let Some((_, homes)) = CONFINED.iter().find(|(confined, _)| *confined == dependency) {
                assert!(homes.contains(&name.as_str()), "{name} must not know {dependency}");
            }
        }
    }
}

#[test]
fn every_shared_dependency_says_why_it_is_there_and_is_used() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the manifest");
    let all: String = manifests().into_values().collect();
    let section =
        manifest.split("[workspace.dependencies]").nth(1).expect("the list").split("\n[").next().expect("its end");
    for line in section.lines().filter(|line| line.contains(" = ") && !line.starts_with("sconce-")) {
        assert!(line.contains("# "), "say in half a line why: {line}");
        let name = line.split(' ').next().expect("a name");
        assert!(
            all.contains(&format!("\n{name}.workspace")) || all.contains(&format!("\n{name} = {{ workspace")),
            "{name} is used by no crate"
        );
    }
}

#[test]
fn files_are_small_open_with_a_word_about_themselves_and_functions_fit_a_screen() {
    for (path, text) in rust_files() {
        let lines = text.lines().count();
        assert!(lines <= MAX_FILE_LINES, "{} has {lines} lines; split it", path.display());
        assert!(text.starts_with("//!"), "{} opens with what lives in it", path.display());
        for (name, length) in functions(&text) {
            assert!(length <= MAX_FUNCTION_LINES, "{}: {name} has {length} lines; split it", path.display());
        }
    }
}

#[test]
fn kernels_are_small_files_that_open_with_a_word_about_themselves() {
    let files = files_of(CUDA_AND_CPP);
    assert!(files.len() > 5, "the walk finds the kernels");
    for (path, text) in files {
        let lines = text.lines().count();
        assert!(lines <= MAX_FILE_LINES, "{} has {lines} lines; split it", path.display());
        assert!(text.starts_with("// "), "{} opens with what lives in it", path.display());
    }
}

/// Functions with their lengths, by the indentation that rustfmt gives their braces.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let body = line.trim_start();
        let words = ["pub ", "pub(crate) ", "pub(super) ", "async ", "const ", "unsafe "];
        let mut rest = body;
        while let Some(shorter) = words.iter().find_map(|word| rest.strip_prefix(word)) {
            rest = shorter;
        }
        let Some(name) = rest.strip_prefix("fn ") else { continue };
        let indent = line.len() - body.len();
        let close = format!("{}}}", " ".repeat(indent));
        if let Some(length) = lines[start..].iter().position(|line| *line == close) {
            let name = name.split(['(', '<']).next().expect("a name");
            found.push((name.to_owned(), length + 1));
        }
    }
    found
}

#[test]
fn unsafe_code_lives_in_kernels_and_the_weight_map_only_and_says_why_it_is_sound() {
    // Written in two parts, so that this file does not find itself.
    let word = concat!("uns", "afe ");
    for (path, text) in rust_files() {
        let path_text = path.to_string_lossy();
        let home = UNCHECKED_HOMES.iter().any(|home| path_text.contains(home));
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if code.contains(word) && (code.contains('{') || code.contains("impl")) && !code.contains('"') {
                assert!(home, "{}:{}: {word}code does not belong here", path.display(), number + 1);
                let before: Vec<&str> = text.lines().take(number).collect();
                let explained =
                    before.iter().rev().take(12).any(|line| line.contains("SAFETY") || line.contains("# Safety"));
                assert!(explained, "{}:{}: say why it is sound", path.display(), number + 1);
            }
        }
    }
}

#[test]
fn nothing_is_left_open_and_no_test_is_switched_off() {
    let marks = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("dbg", "!("),
        concat!("FIX", "ME"),
        concat!("#[ign", "ore"),
    ];
    for (path, text) in rust_files() {
        for mark in marks {
            assert!(!text.contains(mark), "{} holds {mark}", path.display());
        }
    }
}

#[test]
fn every_file_of_a_crate_is_reached_from_its_root() {
    let files = rust_files();
    let all: String = files.iter().map(|(_, text)| text.as_str()).collect();
    for (path, _) in &files {
        let stem = path.file_stem().expect("a name").to_string_lossy();
        let folder = path.parent().expect("a folder");
        let is_root = ["lib", "main", "mod", "build"].contains(&&*stem)
            || ["tests", "benches", "examples"].iter().any(|name| folder.ends_with(name));
        let declared = all.contains(&format!("mod {stem};")) || all.contains(&format!("\"{stem}.rs\""));
        assert!(is_root || declared, "{} is no module of anything", path.display());
    }
}

#[test]
fn the_readme_and_the_map_name_only_files_that_exist() {
    for document in ["README.md", "ARCHITECTURE.md"] {
        let text = fs::read_to_string(root().join(document)).expect("it exists");
        for word in text.split(|c: char| c.is_whitespace() || "`()[]|,;\"'".contains(c)) {
            let word = word.trim_end_matches(['.', ':']);
            let looks_like_a_path = ["crates/", "tests/", "benches/", "scripts/", "corpus/", "models/"]
                .iter()
                .any(|start| word.starts_with(start));
            if looks_like_a_path && !word.contains(['*', '<', '{', '…', '$']) {
                assert!(root().join(word).exists(), "{document} names {word}, which does not exist");
            }
        }
    }
}
