//! The numbers that stand for a run: one flat list of names, so that two runs can be set side by side. Pure.

use serde::{Deserialize, Serialize};

use crate::drive::stall::{DECODING, LONG, LONG_ALONE};
use crate::stats::tidy;
use crate::{Distribution, GroupSummary, Load, RequestRecord, Workload};

/// One number of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What it is, such as `ttft p50` or `warm ttft p50`.
    pub name: String,
    /// What it counts: `ms`, `tokens/s`, `requests/s`, `share` (0 to 1), `ratio`, `count`.
    pub unit: String,
    /// Which direction is better.
    pub better: Better,
    /// The number.
    pub value: f64,
}

/// The direction in which a figure is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Rates and shares.
    Higher,
    /// Times.
    Lower,
}

#[derive(Default)]
struct Figures {
    list: Vec<Figure>,
}

impl Figures {
    fn add(&mut self, name: impl Into<String>, unit: &str, better: Better, value: Option<f64>) {
        if let Some(value) = value {
            self.list.push(Figure { name: name.into(), unit: unit.to_owned(), better, value: tidy(value) });
        }
    }

    fn add_ms(&mut self, name: impl Into<String>, value: Option<f64>) {
        self.add(name, "ms", Better::Lower, value);
    }

    fn add_latencies(&mut self, prefix: &str, group: &GroupSummary) {
        for (name, distribution) in
            [("ttft", group.ttft_ms), ("itl", group.itl_ms), ("tpot", group.tpot_ms), ("e2e", group.e2e_ms)]
        {
            let Some(Distribution { p50, p90, p99, .. }) = distribution else { continue };
            for (share, value) in [("p50", p50), ("p90", p90), ("p99", p99)] {
                self.add_ms(format!("{prefix}{name} {share}"), Some(value));
            }
        }
        self.add_ms(format!("{prefix}worst gap"), group.itl_ms.map(|gaps| gaps.max));
    }
}

/// All figures of a run. Latencies come for each group where there are several, since a mean over them says nothing.
pub(crate) fn figures(
    workload: &Workload,
    all: &GroupSummary,
    groups: &[GroupSummary],
    requests: &[RequestRecord],
) -> Vec<Figure> {
    let mut figures = Figures::default();
    figures.add_ms("wall", Some(all.wall_ms));
    figures.add("output rate", "tokens/s", Better::Higher, Some(all.output_tokens_per_s));
    figures.add("request rate", "requests/s", Better::Higher, Some(all.requests_per_s));
    figures.add("failed", "share", Better::Lower, Some(share(all.failed, all.requests)));
    figures.add("goodput", "requests/s", Better::Higher, all.goodput_requests_per_s);
    figures.add("good", "share", Better::Higher, all.good.map(|good| share(good, all.requests)));
    let cached = all.cached_tokens.map(|cached| cached as f64 / all.prompt_tokens_with_cache_count.max(1) as f64);
    figures.add("cached prompt tokens", "share", Better::Higher, cached);
    if let [only] = groups {
        figures.add("steady rate", "tokens/s", Better::Higher, only.steady_tokens_per_s);
        figures.add_latencies("", only);
    } else {
        for group in groups {
            figures.add_latencies(&format!("{} ", group.group), group);
        }
    }
    let ttft_p50 = |name: &str| {
        groups.iter().find(|group| group.group == name).and_then(|group| group.ttft_ms).map(|ttft| ttft.p50)
    };
    match workload.load {
        Load::Again { .. } => {
            figures.add("ttft warm / cold", "ratio", Better::Lower, ratio(ttft_p50("warm"), ttft_p50("cold")));
        }
        Load::Stall { .. } => {
            figures.add("ttft long / alone", "ratio", Better::Lower, ratio(ttft_p50(LONG), ttft_p50(LONG_ALONE)));
            add_stall(&mut figures, requests);
        }
        Load::Open { .. } => figures.add_ms("sent late, worst", worst_lateness_ms(requests)),
        Load::Closed { .. } | Load::SharedContext { .. } => {}
    }
    figures.list
}

fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

fn ratio(over: Option<f64>, under: Option<f64>) -> Option<f64> {
    let under = under.filter(|under| *under > 0.0)?;
    Some(over? / under)
}

/// What the long prompt did to the clients: their gaps that touch the time from its sending to its first token, against
/// those that ended before.
fn add_stall(figures: &mut Figures, requests: &[RequestRecord]) {
    let long = requests.iter().find(|record| record.group == LONG && record.counts());
    let Some((sent, first)) = long.and_then(|long| Some((long.started_ms, long.started_ms + long.ttft_ms?))) else {
        return;
    };
    let clients = || requests.iter().filter(|record| record.group == DECODING && record.counts());
    let mut before = Vec::new();
    let mut during = Vec::new();
    for pair in clients().flat_map(|client| pairs(&client.chunk_times_ms())) {
        if pair.1 <= sent {
            before.push(pair.1 - pair.0);
        } else if pair.0 < first {
            during.push(pair.1 - pair.0);
        }
    }
    let decoding = clients().filter(|client| client.chunk_times_ms().last().is_some_and(|last| *last > first)).count();
    figures.add("clients decoding throughout", "count", Better::Higher, Some(decoding as f64));
    figures.add_ms("gap before long, p50", Distribution::of(before).map(|gaps| gaps.p50));
    let during = Distribution::of(during);
    figures.add_ms("gap beside long, p50", during.map(|gaps| gaps.p50));
    figures.add_ms("gap beside long, worst", during.map(|gaps| gaps.max));
}

fn pairs(times: &[f64]) -> Vec<(f64, f64)> {
    times.windows(2).map(|pair| (pair[0], pair[1])).collect()
}

fn worst_lateness_ms(requests: &[RequestRecord]) -> Option<f64> {
    requests.iter().filter_map(|record| Some(record.started_ms - record.scheduled_ms?)).reduce(f64::max)
}
