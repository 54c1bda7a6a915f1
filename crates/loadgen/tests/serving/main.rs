//! Whole runs against a server in this process that behaves, or misbehaves, as it is told.

mod fake_server;
mod measures;
mod misbehaviour;
