//! Tests of the model from outside, in one binary: goldens, a naive reference, bitwise invariance, and hostile files.

mod bad_batches;
mod bad_files;
mod bad_models;
mod batches;
mod builder;
mod demo;
mod goldens;
mod invariance;
mod naive;
mod quantized;
mod random;
mod reference;
mod stages;
mod stories;
mod tiny;
