//! Tells the binary which commit it is built from, for the reports that users paste; without git it stays unknown.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=SCONCE_COMMIT");
    // Written at every commit and checkout. A path that is not there would run this at every build.
    let log = Path::new(".git/logs/HEAD");
    if log.exists() {
        println!("cargo::rerun-if-changed={}", log.display());
    } else {
        println!("cargo::rerun-if-changed=build.rs");
    }
    if std::env::var_os("SCONCE_COMMIT").is_some() {
        return;
    }
    let output = Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12"]).output();
    if let Ok(output) = output
        && output.status.success()
    {
        println!("cargo::rustc-env=SCONCE_COMMIT={}", String::from_utf8_lossy(&output.stdout).trim());
    }
}
