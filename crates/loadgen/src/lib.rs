//! A load generator for any OpenAI-compatible server: closed and open loops, TTFT, ITL, goodput.
