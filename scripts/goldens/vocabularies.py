"""Trains tiny tokenizers of each kind with the `tokenizers` library and keeps the ids that it gives for hard texts.

Usage: vocabularies.py FOLDER. Writes FOLDER/NAME.json (a tokenizer.json), NAME.config.json (its tokenizer_config.json) and ids.json.
"""

import json
import sys
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?"
    r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SUFFIX = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
GPT4O = TEKKEN.replace(r"\p{Lo}\p{M}]+|[^", rf"\p{{Lo}}\p{{M}}]+{SUFFIX}|[^").replace(r"\p{M}]*|\p{N}|", rf"\p{{M}}]*{SUFFIX}|\p{{N}}{{1,3}}|")
PATTERNS = {"llama3": LLAMA3, "dbrx": LLAMA3, "qwen2": LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}"), "tekken": TEKKEN, "gpt4o": GPT4O}
CORPUS = [
    "The carpenter's work isn't done: he'll measure, they've sawn 1234 boards, and I'm paid $56,780 a year.",
    "An architect designs buildings. Architects' offices are quiet; the drawings are not.\n\nThey draw    a lot.",
    "Größe, naïve café, señor, Łódź, и снова, 東京の建築家, 한국어, emoji 🙂🙂, tabs\tand\r\nlines.",
    "helloWorld ABCdef HTTPServer snake_case kebab-case path/to/file x = y + z; if (a) { return b; }",
] * 4
TEXTS = [
    "", " ", "  ", "   a", "a   ", "\n", "\n\n", " \n \n", "\t", "a\r\nb", "The carpenter's work", "isn't I'M THEY'VE he'LL",
    "1", "12", "123", "1234", "1234567", "3.14159", "$56,780", "½ ² ٣", "helloWorld ABCdef", "HTTPServer", "path/to//file\n",
    "café naïve", "Größe", "Łódź", "и снова", "東京の建築家", "한국어", "🙂", "🙂🙂 👩‍🔬", "e\u0301", "\u00a0x\u00a0", "\u200b", "\u2028",
    "a\u3000b", "<s>", "<|tool|>", "x<|tool|>y", "<|tool|><|tool|>", "a <|tool|> b", "</s>", "zzzzzzzzzzzzzzzz", "....", "!?!?",
    "\x00\x01", "\\n", "tabs\tand spaces  \t ", "x = y + z;", "' 's 't", "a'b", "１２３", "ﬁ", "ß", "\ufeffbom", "𝕏", "ＡＢ", "end\n",
    "Cafe\u0301 A\u030a \u212b \u1100\u1161\u11a8", "x <|end|>  y", "<|end|>\n\nz", " <mask> m", "a <mask>\tb", "<|end|> <|end|>", "\n<|end|>\n",
    "<s> a", "<s>a", "</s> a", "I'Mx WE'RE don't HTTPServer's", " leading", "trailing ", "two  spaces", "The carpenter's work isn't done: he'll measure, they've sawn 1234 boards.",
]


def byte_level(pattern, ignore_merges=False):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None)
    split = [pre_tokenizers.Split(Regex(pattern), "isolated")] if pattern else []
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(split + [level]) if split else level
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def smollm():
    tokenizer = byte_level(None)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    return tokenizer


def sentence_piece():
    """Llama 2's: a space in front, spaces as U+2581, characters joined by merges, bytes for what has no token."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(vocab_size=460, special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)],
                                  show_progress=False)
    # Merges are learned inside words, as SentencePiece learns them.
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("▁*[^▁]+|▁+"), "isolated")
    tokenizer.train_from_iterator(CORPUS, trainer)
    data = json.loads(tokenizer.to_str())
    data["pre_tokenizer"] = None
    data["added_tokens"] = [token for token in data["added_tokens"] if not token["content"].startswith("<0x")]
    return Tokenizer.from_str(json.dumps(data))


def metaspace():
    """Mistral's later files: the space is put before the text alone, and by a pre-tokenizer."""
    data = json.loads(sentence_piece().to_str())
    data["normalizer"] = None
    data["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
    return Tokenizer.from_str(json.dumps(data))


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    made = {"gpt2": byte_level(None), "smollm": smollm(), "llama2": sentence_piece(), "phi3": sentence_piece(), "mistral": metaspace()}
    made |= {name: byte_level(pattern, name == "llama3") for name, pattern in PATTERNS.items()}
    made["qwen2"].normalizer = normalizers.NFC()
    ids = {}
    for name, tokenizer in sorted(made.items()):
        tokenizer.add_tokens([AddedToken("<|tool|>", special=False, normalized=False)])
        # Phi 3's special tokens take the white space behind them along; masks of other families take what is before them.
        tokenizer.add_special_tokens([AddedToken("<|end|>", rstrip=name == "phi3", normalized=False)])
        tokenizer.add_tokens([AddedToken("<mask>", lstrip=name in ["phi3", "gpt4o"], special=False, normalized=False)])
        bos = tokenizer.token_to_id("<s>")
        if name in ["llama2", "llama3", "mistral"]:
            tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", bos)])
        tokenizer.save(str(folder / f"{name}.json"), pretty=False)
        config = {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "chat_template": "{{ messages }}"}
        (folder / f"{name}.config.json").write_text(json.dumps(config) + "\n")
        ids[name] = [tokenizer.encode(text).ids for text in TEXTS]
    text = json.dumps({"texts": TEXTS, "ids": ids}, separators=(",", ":"))
    (folder / "ids.json").write_text(text.replace('],"', '],\n"') + "\n")


main()
