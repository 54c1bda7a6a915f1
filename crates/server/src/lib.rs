//! HTTP: the OpenAI-compatible surface over engine and documents.
