//! Compute kernels behind safe functions, each with a scalar reference.
