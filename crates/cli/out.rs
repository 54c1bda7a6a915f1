//! Lines on standard output, whose reader may leave before the end, as `head` does.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

/// Prints a line, as `println!` does. When nobody reads any longer there is nothing left to do, and the process ends well; when the line
/// cannot be written for another reason it ends with status 1.
macro_rules! say {
    ($($words:tt)*) => {
        $crate::out::print_or_end(format_args!($($words)*))
    };
}
pub(crate) use say;

pub(crate) fn print_or_end(words: Arguments<'_>) {
    match write(words) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            eprintln!("error: standard output cannot be written: {error}");
            std::process::exit(1)
        }
    }
}

/// Prints a line for whoever reads it: a server goes on without.
macro_rules! announce {
    ($($words:tt)*) => {
        $crate::out::print_if_heard(format_args!($($words)*))
    };
}
pub(crate) use announce;

pub(crate) fn print_if_heard(words: Arguments<'_>) {
    // The log is on standard error; there is nobody else to tell.
    let _ = write(words);
}

fn write(words: Arguments<'_>) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{words}")?;
    out.flush()
}
