//! Each kernel against its scalar reference over odd sizes, in one binary.

mod attention;
mod matmul;
mod random;
mod rows;
