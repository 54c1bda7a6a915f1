"""Writes what PyTorch computes with an exported file: the golden of `crates/model/tests/forward/demo.rs`.

Usage: golden.py FILE.gguf --tokenizer tokenizer.json --data FOLDER --out FOLDER. Some prompts about held-out occupations with their
tokens, the logits behind each in F32 with the numbers that the file holds, and the greedy answer's tokens: demo.json, demo.logits.
"""

import argparse
import json
from pathlib import Path

import numpy
import torch
from tokenizers import Tokenizer

import agree
import batches
import corpus
import export
import measure
import prompt
from model import SHAPES, Llama

PROMPTS = 4


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    tokenizer = Tokenizer.from_file(str(options.tokenizer))
    model = Llama(next(shape for shape in SHAPES.values() if shape.width == agree.width(options.file)))
    export.read(options.file, model, tokenizer)
    entries, logits = [], []
    for sample, tokens in measure.held_out_samples(corpus.load(options.data), tokenizer, PROMPTS, seed=23):
        ids, classes = batches.split(tokens)
        begin = torch.from_numpy(ids[: int(numpy.argmax(classes == batches.DECISION))])
        with torch.inference_mode():
            logits.append(model.logits(model(begin[None])[0, -1]).numpy())
        greedy = model.generate(begin, tokenizer.token_to_id(prompt.END), most=40)
        entries.append({"text": prompt.rendered(sample.user), "tokens": begin.tolist(), "greedy": greedy})
    (options.out / "demo.json").write_text(json.dumps({"torch": torch.__version__, "prompts": entries}, ensure_ascii=False) + "\n")
    numpy.stack(logits).astype("<f4").tofile(options.out / "demo.logits")


if __name__ == "__main__":
    main()
