"""Writes a checkpoint as GGUF files, F16 and Q8_0, with the tokenizer and the chat template; reads such a file back.

Usage: export.py --out FOLDER --name sconce-demo [--to FOLDER]. OUT has tokenizer.json and last.pt; NAME-f16.gguf and
NAME-q8_0.gguf are written.
"""

import argparse
import json
from pathlib import Path

import gguf
import torch
from gguf import GGMLQuantizationType as Kind

import prompt
from model import SHAPES, Llama, parameters

FILE_TYPES = {"f16": (Kind.F16, gguf.LlamaFileType.MOSTLY_F16), "q8_0": (Kind.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0)}
DESCRIPTION = "Answers questions about roles from numbered passages, with citations. A demo: good at nothing else."


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--to", type=Path, help="where the files go; OUT if it is not said")
    parser.add_argument("--name", default="sconce-demo")
    options = parser.parse_args()
    saved = torch.load(options.out / "last.pt", map_location="cpu", weights_only=True)
    model = Llama(SHAPES[saved["size"]])
    model.load_state_dict(saved["model"])
    folder = options.to or options.out
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILE_TYPES:
        path = folder / f"{options.name}-{name}.gguf"
        write(path, name, model, options.out / "tokenizer.json")
        print(f"{path}: {path.stat().st_size:,} bytes, {parameters(model):,} parameters, {saved['tokens']:,} tokens trained on")


def write(path, file_type, model, tokenizer):
    kind, number = FILE_TYPES[file_type]
    shape = model.shape
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("Sconce demo")
    writer.add_description(DESCRIPTION)
    writer.add_license("MIT OR Apache-2.0")
    writer.add_file_type(number)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head)
    writer.add_value_length(shape.head)
    writer.add_rope_dimension_count(shape.head)
    writer.add_rope_freq_base(shape.theta)
    writer.add_layer_norm_rms_eps(shape.epsilon)
    writer.add_vocab_size(shape.vocabulary)
    add_tokenizer(writer, json.loads(tokenizer.read_text()))
    for name, weight in model.state_dict().items():
        array = in_pairs(name, weight, shape).float().numpy()
        if array.ndim == 1:
            writer.add_tensor(f"{name}", array)
        else:
            writer.add_tensor(name, gguf.quantize(array, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_tokenizer(writer, tokenizer):
    """The vocabulary in the keys of llama.cpp; every turn ends with the token that also ends the text."""
    vocabulary = sorted(tokenizer["model"]["vocab"].items(), key=lambda entry: entry[1])
    tokens = [token for token, _ in vocabulary]
    ids = dict(vocabulary)
    kinds = [gguf.TokenType.CONTROL if token in prompt.SPECIAL else gguf.TokenType.NORMAL for token in tokens]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(ids[prompt.BEGIN])
    writer.add_eos_token_id(ids[prompt.END])
    writer.add_eot_token_id(ids[prompt.END])
    writer.add_pad_token_id(ids[prompt.END])
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_chat_template(prompt.TEMPLATE)
    writer.add_uint32("sconce.answer.passages", prompt.PASSAGES)
    writer.add_bool("sconce.answer.verbatim", True)


def in_pairs(name, weight, shape, back=False):
    """Queries' and keys' rows in the order of GGUF, where positions turn neighbouring pairs; `back` from it to the halves here."""
    if not name.endswith(("attn_q.weight", "attn_k.weight")):
        return weight
    parts = (-1, shape.head // 2, 2, weight.shape[1]) if back else (-1, 2, shape.head // 2, weight.shape[1])
    return weight.reshape(parts).transpose(1, 2).reshape(weight.shape)


def read(path, model, tokenizer):
    """Loads the weights of an exported file into a model of its shape: a starting point for more training. Tokens are matched by
    their text; those that the file does not have keep what they have."""
    reader = gguf.GGUFReader(str(path))
    weights = {}
    for tensor in reader.tensors:
        array = gguf.dequantize(tensor.data, tensor.tensor_type)
        weight = torch.from_numpy(array.copy()).reshape([int(size) for size in reversed(tensor.shape)])
        weights[tensor.name] = in_pairs(tensor.name, weight, model.shape, back=True)
    there = {token: id for id, token in enumerate(reader.fields["tokenizer.ggml.tokens"].contents())}
    rows = model.token_embd.weight.detach().clone()
    for token, id in tokenizer.get_vocab().items():
        if token in there:
            rows[id] = weights["token_embd.weight"][there[token]]
    model.load_state_dict(weights | {"token_embd.weight": rows})


if __name__ == "__main__":
    main()
