"""Compares what a running server, PyTorch and llama.cpp answer to the same prompts, greedily, with one exported file.

Usage: agree.py FILE.gguf --data FOLDER [--url http://127.0.0.1:8080] [--count 20]. The server serves FILE. PyTorch computes in F32
with the numbers that the file holds; llama.cpp is asked where llama-cpp-python is installed. Prints a Markdown table.
"""

import argparse
from pathlib import Path

import gguf
import torch
from tokenizers import Tokenizer

import corpus
import evaluate
import export
import measure
import prompt
from model import SHAPES, Llama


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True, help="the tokenizer.json that it was exported with")
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--key", default="none")
    parser.add_argument("--model", help="the server's first if it is not said")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--budget", type=int, default=900, help="characters of the passages at most")
    options = parser.parse_args()
    tokenizer = Tokenizer.from_file(str(options.tokenizer))
    samples = [
        sample
        for sample, _ in measure.held_out_samples(corpus.load(options.data), tokenizer, 3 * options.count, options.budget, seed=17)
        if sample.task not in measure.JUDGEMENTS
    ][: options.count]
    answers = {"PyTorch": by_torch(options.file, tokenizer, samples), "server": by_server(options, samples)}
    if (texts := by_llama_cpp(options.file, samples)) is not None:
        answers["llama.cpp"] = texts
    print(f"{options.file.name}, {len(samples)} prompts\n\n| greedy answers the same | of |\n| --- | ---: |")
    names = list(answers)
    for index, one in enumerate(names):
        for other in names[index + 1 :]:
            same = sum(a == b for a, b in zip(answers[one], answers[other]))
            print(f"| {one} and {other}: {same} | {len(samples)} |")


def by_torch(path, tokenizer, samples):
    shape = next(shape for shape in SHAPES.values() if shape.width == width(path))
    model = Llama(shape)
    export.read(path, model, tokenizer)
    end = tokenizer.token_to_id(prompt.END)
    ids = (tokenizer.encode(prompt.rendered(sample.user), add_special_tokens=False).ids for sample in samples)
    return [tokenizer.decode(model.generate(torch.tensor(tokens), end)) for tokens in ids]


def width(path):
    return int(gguf.GGUFReader(str(path)).fields["llama.embedding_length"].contents())


def by_server(options, samples):
    server = evaluate.Server(options)
    return [server.ask(sample)["message"]["content"] for sample in samples]


def by_llama_cpp(path, samples):
    try:
        import llama_cpp
    except ImportError:
        return None
    model = llama_cpp.Llama(str(path), n_ctx=3072, n_threads=2, verbose=False)
    texts = []
    for sample in samples:
        tokens = model.tokenize(prompt.rendered(sample.user).encode(), add_bos=False, special=True)
        texts.append(model.create_completion(tokens, max_tokens=160, temperature=0)["choices"][0]["text"])
    return texts


if __name__ == "__main__":
    main()
