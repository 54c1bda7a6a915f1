//! Each kernel against its scalar reference over odd sizes, in one binary.

mod attention;
mod checks;
mod matmul;
mod random;
mod rows;
