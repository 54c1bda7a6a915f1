//! A stack that a hostile template cannot overflow: the engine recurses once per link of a chain (`- - - x`, a long
//! `elif`) when it compiles, and once per level of a nested value when it compares or drops one. Neither has a guard
//! of its own, so `source` and the fuel bound the depth, and this stack holds that depth.

use std::thread;

use super::TemplateError;

/// Bytes of the stack. Only pages that are touched become memory: the depths that `tests/hostile_templates.rs` reaches
/// touch less than 180 MB.
const STACK_BYTES: usize = 512 << 20;

/// Runs `work` on a thread of its own and waits for it: some tens of microseconds more than a call.
///
/// # Errors
/// [`TemplateError::NoThread`] when the system gives no thread, and [`TemplateError::Engine`] when `work` panicked.
pub(super) fn on_a_large_stack<T: Send>(
    work: impl FnOnce() -> Result<T, TemplateError> + Send,
) -> Result<T, TemplateError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("chat-template".to_owned()).stack_size(STACK_BYTES);
        let running = thread.spawn_scoped(scope, work);
        let running = running.map_err(|error| TemplateError::NoThread { message: error.to_string() })?;
        running.join().map_err(|_| TemplateError::Engine)?
    })
}
