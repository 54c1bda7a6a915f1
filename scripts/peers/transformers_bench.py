"""Measures transformers in bf16 on a card: the same shapes and sizes as `sconce bench table`, random weights.

Prints a Markdown table and writes JSON after each row, so that a run that is cut short leaves what it measured.
"""

import argparse
import json
import statistics
import time

import torch
import transformers

SHAPES = {
    "llama-3.1-8b": dict(
        num_hidden_layers=32, hidden_size=4096, intermediate_size=14336, num_attention_heads=32,
        num_key_value_heads=8, vocab_size=128256, max_position_embeddings=131072, rope_theta=500000.0,
    ),
    "mistral-7b": dict(
        num_hidden_layers=32, hidden_size=4096, intermediate_size=14336, num_attention_heads=32,
        num_key_value_heads=8, vocab_size=32768, max_position_embeddings=32768, rope_theta=1000000.0,
    ),
    "tiny": dict(
        num_hidden_layers=2, hidden_size=256, intermediate_size=512, num_attention_heads=4,
        num_key_value_heads=2, vocab_size=1024, max_position_embeddings=2048, rope_theta=10000.0,
    ),
}


def build(shape, device):
    config = transformers.LlamaConfig(**SHAPES[shape], attn_implementation="sdpa", tie_word_embeddings=False)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            return transformers.LlamaForCausalLM(config).eval()
    finally:
        torch.set_default_dtype(before)


def wait(device):
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def random_ids(model, rows, length, device):
    return torch.randint(0, model.config.vocab_size, (rows, length), device=device)


@torch.inference_mode()
def generate_seconds(model, ids, tokens, device):
    """Seconds to exactly so many greedy tokens for each row."""
    wait(device)
    began = time.perf_counter()
    model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False,
        pad_token_id=0,
    )
    wait(device)
    return time.perf_counter() - began


def measure_streams(model, streams, input_tokens, output_tokens, device):
    ids = random_ids(model, streams, input_tokens, device)
    first = generate_seconds(model, ids, 1, device)
    whole = generate_seconds(model, ids, output_tokens, device)
    decode = streams * (output_tokens - 1) / max(whole - first, 1e-9)
    return dict(
        work=f"{streams} streams, {input_tokens} in, {output_tokens} out",
        tokens_per_second=decode, first_token_seconds=first, wall_seconds=whole,
    )


def measure_prompt(model, length, device):
    seconds = [generate_seconds(model, random_ids(model, 1, length, device), 1, device) for _ in range(3)]
    median = statistics.median(seconds)
    return dict(work=f"prompt of {length}", tokens_per_second=length / median, first_token_seconds=median)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="llama-3.1-8b")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--time-limit", type=float, default=120, help="seconds after which no more rows are begun")
    parser.add_argument("--quick", action="store_true", help="tiny sizes")
    parser.add_argument("--out", help="JSON file")
    options = parser.parse_args()
    began = time.perf_counter()
    model = build(options.shape, options.device)
    about = dict(
        transformers=transformers.__version__, torch=torch.__version__, shape=options.shape, dtype="bfloat16",
        attention="sdpa",
        device=torch.cuda.get_device_name() if options.device.startswith("cuda") else options.device,
    )
    print(json.dumps(about))
    print("\n| work | tokens/s | first token, ms | wall, s |\n| --- | ---: | ---: | ---: |")
    input_tokens, output_tokens = (16, 8) if options.quick else (512, 128)
    generate_seconds(model, random_ids(model, 1, input_tokens, options.device), 4, options.device)
    device = options.device
    prompts = [16] if options.quick else [512, 4096, 16384]
    streams = [1, 2] if options.quick else [1, 8, 64, 128, 32]
    work = [lambda n=n: measure_prompt(model, n, device) for n in prompts[:2]]
    work += [lambda n=n: measure_streams(model, n, input_tokens, output_tokens, device) for n in streams]
    work += [lambda n=n: measure_prompt(model, n, device) for n in prompts[2:]]
    rows = []
    for step in work:
        if time.perf_counter() - began > options.time_limit:
            print("| what is left | skipped: the time is over | | |")
            break
        try:
            row = step()
        except torch.OutOfMemoryError as error:
            row = dict(work="a row", skipped=str(error).splitlines()[0])
            torch.cuda.empty_cache()
        rows.append(row)
        rate, first = row.get("tokens_per_second", 0.0), row.get("first_token_seconds", 0.0)
        print(f"| {row['work']} | {rate:.1f} | {first * 1e3:.1f} | {row.get('wall_seconds', 0.0):.2f} |", flush=True)
        if options.out:
            with open(options.out, "w", encoding="utf-8") as file:
                json.dump(dict(about=about, rows=rows), file, indent=2)


if __name__ == "__main__":
    main()
