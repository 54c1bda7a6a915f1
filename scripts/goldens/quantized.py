"""Computes small models of every quantization in llama.cpp and keeps the logits as goldens.

Usage: quantized.py FOLDER GGUF…. For each file NAME.gguf writes FOLDER/NAME.logits (little-endian F16, a row for each position of
one prompt) and into FOLDER/index.json the prompt and the files' hashes, which tie the logits to their weights.
"""

import hashlib
import json
import sys
from pathlib import Path

import llama_cpp
import numpy

POSITIONS = 24


def main():
    folder, files = Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]
    folder.mkdir(parents=True, exist_ok=True)
    index = {"llama_cpp_python": llama_cpp.__version__, "models": {}}
    for path in files:
        model = llama_cpp.Llama(str(path), n_ctx=256, n_threads=2, flash_attn=False, logits_all=True, verbose=False, type_k=0, type_v=0)
        size = model.n_vocab()
        prompt = [1] + [3 + (37 * i * i + 11 * i) % (size - 3) for i in range(1, POSITIONS)]
        model.eval(prompt)
        logits = numpy.array(model.scores[:POSITIONS, :], dtype=numpy.float16)
        (folder / f"{path.stem}.logits").write_bytes(logits.astype("<f2").tobytes())
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        index["models"][path.stem] = {"sha256": digest, "prompt": prompt}
        print(path.stem, logits.shape, float(abs(logits).max()), flush=True)
    text = json.dumps(index, separators=(",", ":")).replace('},"', '},\n"')
    (folder / "index.json").write_text(text + "\n")


main()
