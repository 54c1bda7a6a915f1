//! Paged KV cache bookkeeping: blocks, tables, prefix cache, quotas; no tensors.
