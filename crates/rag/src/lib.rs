//! Role documents: parse, chunk, store, retrieve, answer with checked citations.
