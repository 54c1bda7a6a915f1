//! The result of a run, as it is written to a file: what was run, where, by what, and every number that was measured.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::figures::{Figure, figures};
use crate::{Calibration, GroupSummary, LoadgenError, RequestRecord, Workload};

/// Grows when a field changes its meaning.
const SCHEMA: u32 = 1;
const MAX_FILE_BYTES: u64 = 1 << 30;

/// What a run measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The version of this shape.
    pub schema: u32,
    /// When the run began, UTC, as RFC 3339 writes it.
    pub started_at: String,
    /// The same in milliseconds since 1970.
    pub started_unix_ms: u64,
    /// What measured.
    pub client: ClientInfo,
    /// What was measured.
    pub server: ServerInfo,
    /// What was asked of it.
    pub workload: Workload,
    /// The number that drew the opening words of the prompts.
    pub nonce: u64,
    /// Fields that were put into every request's body beside the usual ones.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra_body: Map<String, Value>,
    /// What the server's tokenizer makes of words.
    pub calibration: Calibration,
    /// The numbers that stand for the run, named and with the direction in which they are better.
    pub figures: Vec<Figure>,
    /// All requests, summed up. Its latencies mean little where the groups differ.
    pub all: GroupSummary,
    /// Each part of the workload, summed up.
    pub groups: Vec<GroupSummary>,
    /// Every request, in the order of sending.
    pub requests: Vec<RequestRecord>,
}

/// The program that measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientInfo {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// The server, as far as it says who it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerInfo {
    /// Where it was.
    pub base_url: String,
    /// The model that was asked for.
    pub model: String,
    /// The ids that `/v1/models` lists; at most 20.
    pub models: Vec<String>,
    /// Its `Server` header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software: Option<String>,
}

/// What a run knows beside its workload and its records.
pub(crate) struct Facts {
    pub(crate) server: ServerInfo,
    pub(crate) started_unix_ms: u64,
    pub(crate) nonce: u64,
    pub(crate) extra_body: Map<String, Value>,
    pub(crate) calibration: Calibration,
}

impl Report {
    pub(crate) fn new(workload: Workload, facts: Facts, requests: Vec<RequestRecord>) -> Self {
        let Facts { server, started_unix_ms, nonce, extra_body, calibration } = facts;
        let every: Vec<&RequestRecord> = requests.iter().collect();
        let all = GroupSummary::of("all", &every, workload.slo);
        let mut names: Vec<&str> = Vec::new();
        for record in &requests {
            if !names.contains(&record.group.as_str()) {
                names.push(&record.group);
            }
        }
        let groups: Vec<GroupSummary> = names
            .into_iter()
            .map(|name| {
                let members: Vec<&RequestRecord> = requests.iter().filter(|record| record.group == name).collect();
                GroupSummary::of(name, &members, workload.slo)
            })
            .collect();
        Self {
            schema: SCHEMA,
            started_at: utc_text(started_unix_ms / 1_000),
            started_unix_ms,
            client: ClientInfo {
                name: env!("CARGO_PKG_NAME").to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
            server,
            figures: figures(&workload, &all, &groups, &requests),
            workload,
            nonce,
            extra_body,
            calibration,
            all,
            groups,
            requests,
        }
    }

    /// Reads a result that [`Report::save`] wrote.
    ///
    /// # Errors
    /// The file cannot be read, is over 1 GiB, or is not a result of this version.
    pub fn load(path: &Path) -> Result<Self, LoadgenError> {
        let read = |source| LoadgenError::Read { path: path.to_owned(), source };
        let refuse = |message: String| LoadgenError::Parse { origin: path.display().to_string(), message };
        let bytes = std::fs::metadata(path).map_err(read)?.len();
        if bytes > MAX_FILE_BYTES {
            return Err(refuse(format!("{bytes} bytes are too many for a result; the limit is {MAX_FILE_BYTES}")));
        }
        let report: Self = serde_json::from_slice(&std::fs::read(path).map_err(read)?)
            .map_err(|error| refuse(format!("not a result of a run: {error}")))?;
        if report.schema != SCHEMA {
            return Err(refuse(format!("its schema is {}, and {SCHEMA} is understood; run it again", report.schema)));
        }
        Ok(report)
    }

    /// Writes it as JSON.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), LoadgenError> {
        let write = |source| LoadgenError::Write { path: path.to_owned(), source };
        let mut text = serde_json::to_string_pretty(self).map_err(|error| write(error.into()))?;
        text.push('\n');
        std::fs::write(path, text).map_err(write)
    }

    /// Removes the single gaps between chunks, which are most of a file; the sums stay.
    pub fn drop_gaps(&mut self) {
        for request in &mut self.requests {
            request.gaps_ms = Vec::new();
        }
    }

    /// A figure by its name.
    #[must_use]
    pub fn figure(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.name == name).map(|figure| figure.value)
    }
}

/// Seconds since 1970 as `2026-01-31T12:00:00Z`. The date is found by counting whole 400-year cycles of 146,097 days from
/// 1 March of year 0 (Hinnant, "chrono-compatible low-level date algorithms").
fn utc_text(unix_s: u64) -> String {
    let (days, second) = (unix_s / 86_400 + 719_468, unix_s % 86_400);
    let (cycle, day_of_cycle) = (days / 146_097, days % 146_097);
    let year_of_cycle = (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = cycle * 400 + year_of_cycle + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right_at_the_turns_of_years_and_in_leap_years() {
        // As `date -u -d @N` prints them.
        for (unix_s, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_000_000_000, "2001-09-09T01:46:40Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (1_709_210_096, "2024-02-29T12:34:56Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc_text(unix_s), text);
        }
    }
}
