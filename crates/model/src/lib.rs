//! GGUF validation and loading, the Llama forward over mixed batches, sampling, synthetic models.
