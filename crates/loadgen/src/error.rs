//! The errors that end a run or refuse its input. A failed request is not one of them: it is a record.

use std::path::PathBuf;

/// Why a workload could not be loaded, a run not made, or two results not compared.
#[derive(Debug, thiserror::Error)]
pub enum LoadgenError {
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A workload or result file is not what it should be.
    #[error("{origin}: {message}")]
    Parse {
        /// The file, or the name that the caller gave to the text.
        origin: String,
        /// The parser's reason, with the line where it knows one.
        message: String,
    },
    /// A field of a workload is out of its range.
    #[error("{origin}: {field} is {value}, and must be {range}")]
    OutOfRange {
        /// The file, or the name that the caller gave to the text.
        origin: String,
        /// The field, as the file names it.
        field: &'static str,
        /// What it was.
        value: String,
        /// What it may be.
        range: String,
    },
    /// The address of the server cannot be used.
    #[error("base URL {url:?}: {reason}; give it as http://host:port")]
    BaseUrl {
        /// What was given, without a password.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The API key cannot be sent as a header. The key itself is not shown.
    #[error("the API key has a character that no HTTP header can carry")]
    ApiKey,
    /// The HTTP client could not be made.
    #[error("cannot set up the HTTP client: {0}")]
    Client(#[source] reqwest::Error),
    /// Nothing answers at the address.
    #[error("no server answers at {url}: {reason}; is it running, and is the port right?")]
    Unreachable {
        /// The address that was tried.
        url: String,
        /// The transport's reason.
        reason: String,
    },
    /// The server names no model, and the caller named none.
    #[error("{url} names no model ({reason}); name the model to ask for")]
    NoModel {
        /// The address that was asked.
        url: String,
        /// What it answered.
        reason: String,
    },
    /// No request of the run succeeded.
    #[error("workload {workload}: none of {requests} requests succeeded ({failures})")]
    NoSuccess {
        /// The workload's name.
        workload: String,
        /// How many requests were made.
        requests: usize,
        /// Failures counted by kind, with an example of each.
        failures: String,
    },
    /// Two results cannot be compared.
    #[error("cannot compare: {0}")]
    NotComparable(String),
}
