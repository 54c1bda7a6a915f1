//! Each kernel on the CPU against its scalar reference, and what only the CPU promises, in one binary.

mod attention;
mod checks;
mod matmul;
mod rope;
mod rows;
