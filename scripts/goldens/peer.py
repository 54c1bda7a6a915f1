"""Computes the goldens' models in llama.cpp and compares with the logits that transformers gave.

Usage: peer.py GGUF_FOLDER GOLDENS_FOLDER WRITER. The first holds models as F32, written by `models.py FOLDER --f32` or exported from
its folders, the second index.json and the logits. Prints a table in Markdown that says who wrote the files. llama.cpp has no sliding window for `llama` and switches that of `phi3` off, so a model with
a window is compared on prompts within it.
"""

import json
import struct
import sys
from pathlib import Path

import llama_cpp
import numpy

WINDOWS = {"mistral": 64, "mistral-window-yarn": 50, "phi3-window-longrope": 48}


def last_logits(path, context, tokens):
    model = llama_cpp.Llama(str(path), n_ctx=context, n_batch=1024, n_ubatch=1024, n_threads=2, flash_attn=False, verbose=False,
                            type_k=0, type_v=0)
    model.eval(tokens)
    return numpy.array(llama_cpp.llama_get_logits_ith(model.ctx, -1)[: model.n_vocab()], dtype=numpy.float32)


def main():
    files, goldens = Path(sys.argv[1]), Path(sys.argv[2])
    index = json.loads((goldens / "index.json").read_text())
    lengths, prompt = index["lengths"], index["prompt"]
    print(f"llama.cpp by llama-cpp-python {llama_cpp.__version__} against transformers {index['versions']['transformers']},")
    print(f"max|difference| / max|logit|, weights, activations and cache in F32, files written by {sys.argv[3]}\n")
    print("| model | " + " | ".join(f"{length} tokens" for length in lengths) + " |")
    print("| --- |" + " ---: |" * len(lengths))
    for model in index["models"]:
        name = model["name"]
        if not (files / f"{name}.gguf").exists():
            continue
        data = (goldens / f"{name}.logits").read_bytes()
        size = len(data) // 4 // len(lengths)
        cells = []
        for at, length in enumerate(lengths):
            if length > WINDOWS.get(name, length):
                cells.append("beyond its window")
                continue
            expected = numpy.array(struct.unpack_from(f"<{size}f", data, at * size * 4), dtype=numpy.float32)
            short = model["short_context"]
            context = short if short and length <= short else 1024
            found = last_logits(files / f"{name}.gguf", context, prompt[:length])
            cells.append(f"{abs(found - expected).max() / abs(expected).max():.1e}")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


main()
