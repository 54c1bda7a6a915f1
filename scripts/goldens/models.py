"""Makes the goldens of `crates/model/tests/forward/goldens.rs`: tiny random models of each architecture, built and computed by transformers.

Each model is written as GGUF by the `gguf` package (in bf16, which its weights are exact in), and beside it the logits that
transformers gives in F32 with eager attention for prompts of several lengths, and the tokens that it continues some of them with.
Nothing of Sconce takes part. Usage: models.py FOLDER [--f32], the latter for files that llama.cpp computes in F32 as well; folders
get a vocabulary then, because llama.cpp opens no file without one.
"""

import importlib.metadata
import json
import math
import struct
import sys
from pathlib import Path

import gguf
import numpy
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

LENGTHS = [1, 2, 31, 33, 64, 65, 200, 600]
GREEDY_AFTER = [33, 200]
GREEDY_TOKENS = 16
VOCABULARY = 256
COMMON = {
    "vocab_size": VOCABULARY, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 1024, "rms_norm_eps": 1e-5, "initializer_range": 0.12,
    "tie_word_embeddings": False, "attn_implementation": "eager", "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 256, "rope_theta": 10000.0}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 128, "rope_theta": 10000.0}
LINEAR = {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}
# Eight pairs: a head of 16.
LONGROPE = {"rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 256,
            "short_factor": [1.0, 1.02, 1.05, 1.1, 1.2, 1.3, 1.4, 1.5], "long_factor": [1.0, 1.1, 1.5, 2.0, 4.0, 8.0, 16.0, 32.0]}

# Name, configuration class, architecture in GGUF, what differs from COMMON.
MODELS = [
    ("llama", "LlamaConfig", "llama", {}),
    ("llama-tied", "LlamaConfig", "llama", {"tie_word_embeddings": True, "num_key_value_heads": 1}),
    ("llama3", "LlamaConfig", "llama", {"rope_parameters": LLAMA3}),
    ("llama-linear", "LlamaConfig", "llama", {"rope_parameters": LINEAR}),
    ("llama-yarn", "LlamaConfig", "llama", {"rope_parameters": YARN}),
    ("mistral", "MistralConfig", "llama", {"sliding_window": 64}),
    ("nemo", "MistralConfig", "llama", {"sliding_window": None, "head_dim": 32}),
    ("mistral-window-yarn", "MistralConfig", "llama", {"sliding_window": 50, "rope_parameters": YARN}),
    ("mistral3", "Ministral3Config", "mistral3",
     {"sliding_window": None, "head_dim": 16, "rope_parameters": {**YARN, "llama_4_scaling_beta": 0.0, "mscale": 1.0, "mscale_all_dim": 1.0}}),
    # Queries grow beyond every 256 positions.
    ("ministral3", "Ministral3Config", "mistral3",
     {"sliding_window": None, "head_dim": 16, "rope_parameters": {**YARN, "llama_4_scaling_beta": 0.3, "mscale": 1.0, "mscale_all_dim": 1.0}}),
    ("qwen2", "Qwen2Config", "qwen2", {}),
    ("qwen2-yarn", "Qwen2Config", "qwen2", {"rope_parameters": YARN}),
    ("qwen3", "Qwen3Config", "qwen3", {"head_dim": 32}),
    ("phi3", "Phi3Config", "phi3", {"sliding_window": None}),
    ("phi3-window-longrope", "Phi3Config", "phi3", {"sliding_window": 48, "original_max_position_embeddings": 256, "rope_parameters": LONGROPE}),
    ("phi3-partial", "Phi3Config", "phi3",
     {"sliding_window": None, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}}),
]


def build(name, config_class, changes):
    torch.manual_seed(sum(map(ord, name)))
    config = getattr(transformers, config_class)(**{**COMMON, **changes})
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if parameter.dim() == 1:
                # Norms lie around one; biases, which begin as zeros, become random as well.
                base = 0.0 if key.endswith(".bias") else 1.0
                parameter.copy_(base + 0.3 * torch.randn(parameter.shape, generator=generator))
            parameter.copy_(parameter.to(torch.bfloat16).to(torch.float32))
    model.eval()
    return model, config


def prompt(length):
    """Tokens from a small linear congruence, the same for every model."""
    state, tokens = 12345, []
    for _ in range(length):
        state = (state * 1103515245 + 12345) % (1 << 31)
        tokens.append(3 + (state >> 8) % (VOCABULARY - 3))
    return tokens


def neighbours(weight, heads):
    """Orders the rows of query or key so that the pairs that turn together are neighbours, as GGUF's llama has them."""
    rows = weight.shape[0]
    split = weight.reshape(heads, 2, rows // heads // 2, *weight.shape[1:])
    return split.swapaxes(1, 2).reshape(weight.shape)


NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "self_attn.qkv_proj": "attn_qkv", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.gate_up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}


def tensor_name(key):
    fixed = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight"}
    if key in fixed:
        return fixed[key]
    _, _, layer, rest = key.split(".", 3)
    part, kind = rest.rsplit(".", 1)
    return f"blk.{layer}.{NAMES[part]}.{kind}"


def write_rope(writer, architecture, config, head_dim):
    rope = config.rope_parameters
    kind = rope.get("rope_type", "default")
    writer.add_rope_freq_base(rope["rope_theta"])
    partial = rope.get("partial_rotary_factor", 1.0)
    dimensions = int(head_dim * partial)
    writer.add_rope_dimension_count(dimensions)
    if kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    elif kind == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        if "mscale_all_dim" in rope:
            writer.add_rope_scaling_yarn_log_mul(rope["mscale_all_dim"])
        if rope.get("llama_4_scaling_beta"):
            writer.add_attn_temperature_scale(rope["llama_4_scaling_beta"])
    elif kind == "llama3":
        # Llama 3.1's factors: long waves are divided, short ones are not, and between them the two are mixed.
        waves = 2 * math.pi * rope["rope_theta"] ** (numpy.arange(0, dimensions, 2) / dimensions)
        original, low, high = rope["original_max_position_embeddings"], rope["low_freq_factor"], rope["high_freq_factor"]
        smooth = (original / waves - low) / (high - low)
        mixed = 1 / ((1 - smooth) / rope["factor"] + smooth)
        factors = numpy.where(waves < original / high, 1.0, numpy.where(waves > original / low, rope["factor"], mixed))
        writer.add_tensor("rope_freqs.weight", factors.astype(numpy.float32))
    elif kind == "longrope":
        scale = config.max_position_embeddings / rope["original_max_position_embeddings"]
        # As llama.cpp's converter has it: the tables without a name of the scaling.
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(scale) / math.log(rope["original_max_position_embeddings"])))
        for table in ["long", "short"]:
            writer.add_tensor(f"rope_factors_{table}.weight", numpy.array(rope[f"{table}_factor"], dtype=numpy.float32))
    else:
        assert kind == "default", kind


def write_gguf(path, model, config, architecture, in_f32):
    writer = gguf.GGUFWriter(str(path), architecture)
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if getattr(config, "sliding_window", None) and architecture != "qwen2":
        writer.add_sliding_window(config.sliding_window)
    write_rope(writer, architecture, config, head_dim)
    if in_f32:
        # llama.cpp wants a vocabulary: bytes, and three special tokens.
        tokens = [b"<unk>", b"<s>", b"</s>"] + [f"token{i}".encode() for i in range(3, VOCABULARY)]
        writer.add_tokenizer_model("llama")
        writer.add_token_list(tokens)
        writer.add_token_scores([0.0] * VOCABULARY)
        writer.add_token_types([2, 3, 3] + [1] * (VOCABULARY - 3))
    for key, parameter in model.state_dict().items():
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        weight = parameter.numpy()
        if architecture in ["llama", "mistral3"] and "q_proj" in key:
            weight = neighbours(weight, config.num_attention_heads)
        if architecture in ["llama", "mistral3"] and "k_proj" in key:
            weight = neighbours(weight, config.num_key_value_heads)
        weight = numpy.ascontiguousarray(weight)
        if weight.ndim == 1 or in_f32:
            writer.add_tensor(tensor_name(key), weight)
        else:
            bits = (weight.view(numpy.uint32) >> 16).astype(numpy.uint16)
            writer.add_tensor(tensor_name(key), bits.view(numpy.uint8).reshape(weight.shape[0], -1),
                              raw_dtype=gguf.GGMLQuantizationType.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_vocabulary(path):
    """A token for each byte and no merges: nothing is tokenized with it."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    assert len(alphabet) == VOCABULARY
    tokenizer = Tokenizer(models.BPE(vocab={symbol: token for token, symbol in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(path))


def main():
    folder, in_f32 = Path(sys.argv[1]), "--f32" in sys.argv
    folder.mkdir(parents=True, exist_ok=True)
    index = {"versions": {"transformers": transformers.__version__, "torch": torch.__version__, "gguf": importlib.metadata.version("gguf")},
             "lengths": LENGTHS, "prompt": prompt(max(LENGTHS)), "models": []}
    for name, config_class, architecture, changes in MODELS:
        model, config = build(name, config_class, changes)
        logits, greedy = [], []
        with torch.no_grad():
            for length in LENGTHS:
                logits.append(model(torch.tensor([prompt(length)]), use_cache=False).logits[0, -1].numpy())
            for length in GREEDY_AFTER:
                tokens = prompt(length)
                for _ in range(GREEDY_TOKENS):
                    tokens.append(int(model(torch.tensor([tokens]), use_cache=False).logits[0, -1].argmax()))
                greedy.append({"after": length, "tokens": tokens[length:]})
        # A model with two tables of factors is served with one: which depends on the context that it is served with.
        split = config.rope_parameters.get("original_max_position_embeddings") if config.rope_parameters.get("rope_type") == "longrope" else None
        write_gguf(folder / f"{name}.gguf", model, config, architecture, in_f32)
        (folder / f"{name}.logits").write_bytes(b"".join(struct.pack(f"<{VOCABULARY}f", *row) for row in logits))
        # And as transformers saves it: what a converter could lose is read from there.
        model.to(torch.bfloat16).save_pretrained(folder / name)
        (folder / name / "generation_config.json").unlink(missing_ok=True)
        if in_f32:
            write_vocabulary(folder / name / "tokenizer.json")
        index["models"].append({"name": name, "short_context": split, "greedy": greedy})
        print(name, "largest logit", max(abs(row).max() for row in logits))
    text = json.dumps(index, separators=(",", ":")).replace('{"name"', '\n{"name"')
    (folder / "index.json").write_text(text + "\n")


main()
