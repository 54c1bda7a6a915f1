//! Two results of one workload side by side. Pure.

use std::fmt;

use crate::figures::Better;
use crate::table::{number, table};
use crate::{LoadgenError, Report};

/// Two results side by side; printing it gives a Markdown table.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The workload of both.
    pub workload: String,
    /// Who `a` is: its model and address.
    pub a: String,
    /// Who `b` is.
    pub b: String,
    /// What would make the comparison unfair, in words: the warnings of both reports, and where they differ.
    pub notes: Vec<String>,
    /// The figures that both have.
    pub rows: Vec<ComparisonRow>,
}

/// One figure of both.
#[derive(Clone, Debug, PartialEq)]
pub struct ComparisonRow {
    /// The figure's name.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// The first result's.
    pub a: f64,
    /// The second result's.
    pub b: f64,
    /// How many times better the first is: `a / b` for what should be high, `b / a` for what should be low, so that
    /// below 1 it is worse. None where the one below the line is 0.
    pub a_better_by: Option<f64>,
}

/// Sets two results of the same workload side by side.
///
/// # Errors
/// The workloads differ in their load, seed, endpoint or service level.
pub fn compare(a: &Report, b: &Report) -> Result<Comparison, LoadgenError> {
    let (first, second) = (&a.workload, &b.workload);
    let refuse = |what: &str| {
        let message = format!(
            "the workloads {} and {} differ in {what}; run the same file against both",
            first.name, second.name
        );
        Err(LoadgenError::NotComparable(message))
    };
    if first.load != second.load {
        return refuse("load");
    }
    if first.seed != second.seed {
        return refuse("seed");
    }
    if first.endpoint != second.endpoint {
        return refuse("endpoint");
    }
    if first.slo != second.slo {
        return refuse("slo");
    }
    let rows = a
        .figures
        .iter()
        .filter_map(|figure| {
            let other = b.figures.iter().find(|other| other.name == figure.name && other.unit == figure.unit)?;
            let (over, under) = match figure.better {
                Better::Higher => (figure.value, other.value),
                Better::Lower => (other.value, figure.value),
            };
            Some(ComparisonRow {
                name: figure.name.clone(),
                unit: figure.unit.clone(),
                a: figure.value,
                b: other.value,
                a_better_by: (under != 0.0).then(|| over / under),
            })
        })
        .collect();
    let who = |report: &Report| {
        let software = report.server.software.as_ref().map(|software| format!(" ({software})")).unwrap_or_default();
        format!("{} at {}{software}, {}", report.server.model, report.server.base_url, report.started_at)
    };
    Ok(Comparison { workload: first.name.clone(), a: who(a), b: who(b), notes: notes(a, b), rows })
}

fn notes(a: &Report, b: &Report) -> Vec<String> {
    let mut notes = Vec::new();
    for (name, report) in [("a", a), ("b", b)] {
        notes.extend(report.warnings().into_iter().map(|warning| format!("{name}: {warning}")));
    }
    if a.all.output_tokens != b.all.output_tokens {
        notes.push(format!("a generated {} tokens, b {}", a.all.output_tokens, b.all.output_tokens));
    }
    let length = |report: &Report| report.all.prompt_tokens.map(|prompt| prompt.mean);
    if let (Some(of_a), Some(of_b)) = (length(a), length(b))
        && (of_a - of_b).abs() > 0.05 * of_a.max(of_b)
    {
        notes.push(format!("prompts of a have {} tokens in the mean, of b {}", number(of_a), number(of_b)));
    }
    if a.extra_body != b.extra_body {
        notes.push("the requests' extra fields differ".to_owned());
    }
    notes
}

impl fmt::Display for Comparison {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}\na: {}\nb: {}\n", self.workload, self.a, self.b)?;
        let rows = self.rows.iter().map(|row| {
            let better = row.a_better_by.map_or_else(|| "–".to_owned(), |times| format!("{times:.2} ×"));
            vec![row.name.clone(), row.unit.clone(), number(row.a), number(row.b), better]
        });
        formatter.write_str(&table(&["figure", "unit", "a", "b", "a is better (> 1) or worse"], rows))?;
        for note in &self.notes {
            writeln!(formatter, "\nNote: {note}")?;
        }
        Ok(())
    }
}
