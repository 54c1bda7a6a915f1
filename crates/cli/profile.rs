//! `--profile`: where the time of steps went, as a table at the end of the command.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::Subscriber;
use tracing::span::Id;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// The part that all others are within.
const WHOLE: &str = "step";

/// Sums up the spans of [`sconce_model::PARTS`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Profile {
    /// By the names of a part and those that it is within, the outermost first.
    parts: Arc<Mutex<BTreeMap<Vec<&'static str>, Total>>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Total {
    calls: u64,
    time: Duration,
}

/// When a span was entered.
struct Entered(Instant);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Profile {
    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            span.extensions_mut().replace(Entered(Instant::now()));
        }
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let Some(Entered(began)) = span.extensions_mut().remove::<Entered>() else { return };
        let time = began.elapsed();
        let path: Vec<&'static str> = span.scope().from_root().map(|part| part.name()).collect();
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let total = parts.entry(path).or_default();
        total.calls += 1;
        total.time += time;
    }
}

impl Profile {
    /// The table: of each part its share of all steps, how long it takes in one, and how often it was there; the longest first. `None`
    /// when no step was made.
    pub(crate) fn table(&self) -> Option<String> {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = *parts.get([WHOLE].as_slice())?;
        let mut table = format!(
            "{} steps, {:.1} s; on a card a part is the launch of its kernels, the wait for them is \"collect\", and steps\nthat are played from a graph have no parts\n| part | share | ms in a step | times |\n| --- | ---: | ---: | ---: |\n",
            whole.calls,
            whole.time.as_secs_f64()
        );
        add_part(&mut table, &parts, &[WHOLE], whole, whole);
        Some(table)
    }
}

/// Adds the line of a part, and of those within it.
fn add_part(
    table: &mut String,
    parts: &BTreeMap<Vec<&'static str>, Total>,
    path: &[&'static str],
    total: Total,
    whole: Total,
) {
    add_line(table, path.len(), path.last().unwrap_or(&WHOLE), total, whole);
    let mut within: Vec<(&Vec<&'static str>, &Total)> =
        parts.iter().filter(|(other, _)| other.len() == path.len() + 1 && other.starts_with(path)).collect();
    within.sort_by_key(|(_, total)| std::cmp::Reverse(total.time));
    for (path, total) in &within {
        add_part(table, parts, path, **total, whole);
    }
    let named: Duration = within.iter().map(|(_, total)| total.time).sum();
    if !within.is_empty() {
        let rest = Total { calls: total.calls, time: total.time.saturating_sub(named) };
        add_line(table, path.len() + 1, "the rest", rest, whole);
    }
}

fn add_line(table: &mut String, depth: usize, name: &str, total: Total, whole: Total) {
    let (time, indent) = (total.time.as_secs_f64(), "· ".repeat(depth - 1));
    let share = 100.0 * time / whole.time.as_secs_f64().max(f64::MIN_POSITIVE);
    let each = 1e3 * time / whole.calls.max(1) as f64;
    // Writing to a string does not fail.
    let _ = writeln!(table, "| {indent}{name} | {share:.1} % | {each:.3} | {} |", total.calls);
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn parts_stand_under_the_part_they_are_within_and_what_has_no_name_is_the_rest() {
        let profile = Profile::default();
        let subscriber = tracing_subscriber::registry().with(profile.clone());
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..3 {
                sconce_model::part!("step", {
                    sconce_model::part!("run", {
                        sconce_model::part!("attention", std::thread::sleep(Duration::from_millis(4)));
                        sconce_model::part!("norm", ());
                        sconce_model::part!("norm", ());
                    });
                });
            }
        });
        let table = profile.table().expect("steps were made");
        let lines: Vec<Vec<&str>> =
            table.lines().skip(4).map(|line| line.split('|').map(str::trim).skip(1).collect()).collect();
        let names: Vec<&str> = lines.iter().map(|line| line[0]).collect();
        assert_eq!(names, ["step", "· run", "· · attention", "· · norm", "· · the rest", "· the rest"]);
        let times: Vec<&str> = lines.iter().map(|line| line[3]).collect();
        assert_eq!(times, ["3", "3", "3", "6", "3", "3"]);
        assert_eq!(lines[0][1], "100.0 %");
        let milliseconds: f64 = lines[2][2].parse().expect("a number");
        assert!(milliseconds >= 4.0, "{milliseconds} ms of sleep in a step");
    }

    #[test]
    fn without_a_step_there_is_no_table() {
        assert!(Profile::default().table().is_none());
    }
}
