//! Parts of a step, as spans: who listens to [`PARTS`] at the level of traces learns how long each takes. Nobody does as a rule, and
//! then a part costs a comparison.

/// The target of the spans.
pub const PARTS: &str = "sconce::part";

/// Does some work as a part of this name, within the part that it is in; what it gives is what the work gave, and `?` or `return` in
/// it leave the work alone. On a card a part is over when its kernels are launched, not when they have run.
#[macro_export]
macro_rules! part {
    ($name:literal, $work:expr) => {
        $crate::tracing::trace_span!(target: $crate::PARTS, $name).in_scope(|| $work)
    };
}
