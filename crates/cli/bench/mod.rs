//! `sconce bench`: a model in this process, or any server over HTTP.

pub(crate) mod model;
pub(crate) mod serve;
