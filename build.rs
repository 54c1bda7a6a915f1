//! Tells the binary which commit it is built from, for the reports that users paste; without git it stays unknown.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=SCONCE_COMMIT");
    println!("cargo::rerun-if-changed=build.rs");
    // Sources that were unpacked inside of another repository are none of its commits.
    if std::env::var_os("SCONCE_COMMIT").is_some() || !Path::new(".git").exists() {
        return;
    }
    // Written at every commit and checkout. A path that is not there would run this at every build.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| Path::new(log).exists()) {
        println!("cargo::rerun-if-changed={log}");
    }
    if let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) {
        println!("cargo::rustc-env=SCONCE_COMMIT={commit}");
    }
}

/// A line of git's; `None` where there is no git, or it fails.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
}
