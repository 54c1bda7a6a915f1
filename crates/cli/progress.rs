//! Progress bars for long work, on standard error and only where a person looks.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar over a number of things.
pub(crate) fn items(length: u64, what: &'static str) -> ProgressBar {
    bar(length, what, "{prefix} {bar:30} {pos}/{len} {wide_msg}")
}

/// A bar over bytes.
pub(crate) fn bytes(length: u64, what: &'static str) -> ProgressBar {
    bar(length, what, "{prefix} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}")
}

fn bar(length: u64, what: &'static str, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style).with_prefix(what)
}
