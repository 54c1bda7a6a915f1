//! A report as Markdown that also reads well on a terminal. Nothing is computed here but the width of columns.

use std::fmt::Write as _;

use crate::{Distribution, GroupSummary, Outcome, Report, RequestRecord};

impl Report {
    /// The report as Markdown: what was measured, a table of the parts, a table of latencies, the figures, and warnings.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::new();
        let Self { workload, server, client, .. } = self;
        let software = server.software.as_ref().map(|software| format!(" ({software})")).unwrap_or_default();
        let _infallible = writeln!(
            text,
            "{}: {}\nmodel {} at {}{software}, {}, by {} {}\n",
            workload.name,
            workload.description,
            server.model,
            server.base_url,
            self.started_at,
            client.name,
            client.version,
        );
        text.push_str(&parts_table(&self.groups));
        text.push('\n');
        text.push_str(&latency_table(&self.groups));
        text.push('\n');
        text.push_str(&self.figures_table());
        for warning in self.warnings() {
            let _infallible = writeln!(text, "\nNote: {warning}");
        }
        text
    }

    /// The figures that the other tables do not show.
    fn figures_table(&self) -> String {
        let shown_above = |name: &str| {
            name.ends_with("worst gap")
                || ["p50", "p90", "p99"].iter().any(|share| name.ends_with(share) && !name.starts_with("gap"))
        };
        let rows = self
            .figures
            .iter()
            .filter(|figure| !shown_above(&figure.name))
            .map(|figure| vec![figure.name.clone(), number(figure.value), figure.unit.clone()]);
        table(&["figure", "value", "unit"], rows)
    }

    /// What a reader must know before believing the numbers.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let all = &self.all;
        let mut warnings = Vec::new();
        if all.failed > 0 {
            let kinds: Vec<String> = all.failures.iter().map(|(kind, count)| format!("{count} × {kind}")).collect();
            let example = self.requests.iter().find_map(|record| record.failure());
            let example = example.map(|failure| format!("; the first: {failure}")).unwrap_or_default();
            warnings.push(format!(
                "{} of {} requests failed ({}){example}",
                all.failed,
                all.requests,
                kinds.join(", ")
            ));
        }
        if all.short > 0 {
            warnings.push(format!("{} answers ended early: the server does not honour ignore_eos", all.short));
        }
        // An answer that was cut never has a count, and its part of the workload is known for it.
        let uncounted = |record: &&RequestRecord| record.outcome == Outcome::Completed && !record.output_from_usage;
        let uncounted = self.requests.iter().filter(uncounted).count();
        if uncounted > 0 {
            warnings.push(format!(
                "the server reports no usage for {uncounted} of {} answers; their chunks were counted as tokens",
                all.completed
            ));
        }
        if let Some(note) = &self.calibration.note {
            warnings.push(format!("prompt lengths are guesses, since {note}"));
        }
        warnings
    }
}

fn parts_table(groups: &[GroupSummary]) -> String {
    let rows = groups.iter().map(|group| {
        let cached = group.cached_tokens.map_or_else(|| "–".to_owned(), |cached| cached.to_string());
        vec![
            group.group.clone(),
            group.requests.to_string(),
            group.completed.to_string(),
            group.cut.to_string(),
            group.failed.to_string(),
            group.prompt_tokens.map_or_else(|| "–".to_owned(), range),
            cached,
            group.output_tokens.to_string(),
            number(group.wall_ms / 1e3),
            number(group.output_tokens_per_s),
        ]
    });
    let head = [
        "part",
        "requests",
        "completed",
        "cut",
        "failed",
        "prompt tokens",
        "cached",
        "output tokens",
        "wall s",
        "tokens/s",
    ];
    table(&head, rows)
}

fn range(distribution: Distribution) -> String {
    if distribution.min == distribution.max {
        distribution.min.to_string()
    } else {
        format!("{}–{}", distribution.min, distribution.max)
    }
}

fn latency_table(groups: &[GroupSummary]) -> String {
    let mut rows = Vec::new();
    for group in groups {
        for (name, distribution) in
            [("TTFT", group.ttft_ms), ("ITL", group.itl_ms), ("TPOT", group.tpot_ms), ("E2E", group.e2e_ms)]
        {
            let Some(Distribution { count, mean, p50, p90, p99, max, .. }) = distribution else { continue };
            let numbers = [mean, p50, p90, p99, max].map(number);
            rows.push([vec![group.group.clone(), name.to_owned(), count.to_string()], numbers.to_vec()].concat());
        }
    }
    table(&["part", "ms", "count", "mean", "p50", "p90", "p99", "max"], rows)
}

/// Four significant digits or so: more would claim what was not measured.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 1_000.0 => format!("{value:.0}"),
        size if size >= 100.0 => format!("{value:.1}"),
        size if size >= 10.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// A Markdown table with its columns aligned: the first to the left, the others to the right.
pub(crate) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut lines: Vec<Vec<String>> = vec![head.iter().map(|cell| (*cell).to_owned()).collect()];
    // What a server names itself must not end a cell.
    lines.extend(rows.into_iter().map(|row| row.into_iter().map(|cell| cell.replace('|', "/")).collect()));
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..head.len()).map(|column| width(column).unwrap_or(0).max(4)).collect();
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        for (column, (cell, &width)) in line.iter().zip(&widths).enumerate() {
            let padding = " ".repeat(width - cell.chars().count());
            text.push_str(&if column == 0 { format!("| {cell}{padding} ") } else { format!("| {padding}{cell} ") });
        }
        text.push_str("|\n");
        if index == 0 {
            for (column, &width) in widths.iter().enumerate() {
                text.push_str(&if column == 0 {
                    format!("| {} ", "-".repeat(width))
                } else {
                    format!("| {}: ", "-".repeat(width - 1))
                });
            }
            text.push_str("|\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_and_no_cell_breaks_it() {
        let rows = vec![vec!["a|b".to_owned(), "1".to_owned()], vec!["größer".to_owned(), "12345".to_owned()]];
        let expected = "\
| name   | value |
| ------ | ----: |
| a/b    |     1 |
| größer | 12345 |
";
        assert_eq!(table(&["name", "value"], rows), expected);
    }

    #[test]
    fn numbers_keep_about_four_digits() {
        let shown: Vec<String> = [0.0, 0.1234, 9.8765, 12.345, 123.456, 1234.5, 76_600.0].map(number).to_vec();
        assert_eq!(shown, ["0", "0.123", "9.877", "12.35", "123.5", "1234", "76600"]);
    }
}
