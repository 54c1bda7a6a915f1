//! The engine thread: schedules, runs and streams; the only owner of model and KV.
