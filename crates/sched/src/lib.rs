//! Continuous-batching scheduler: sequences, priorities, step plans; no tensors, no clock.
