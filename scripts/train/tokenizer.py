"""Trains the tokenizer: byte-level BPE of 4,096 tokens in GPT-2's byte alphabet, a token for each digit.

Usage: tokenizer.py --data FOLDER --out tokenizer.json. It reads the training pages only, and generated questions and answers.
The cuts into words are those that GGUF calls "llama-bpe"; since digits are learned alone, its groups of three fall apart again.
"""

import argparse
import itertools
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

import corpus
import prompt

SIZE = 4096
PATTERN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def train(texts):
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(PATTERN), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in prompt.SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def texts(pages):
    """What it learns from: pages, and what the tasks say around them."""
    import tasks

    for page in pages:
        for chunk in page.chunks:
            yield f"{page.title} › {chunk.section}\n{chunk.text}\n\n"
    maker = tasks.Maker(pages, seed=1)
    for sample in itertools.islice(maker.samples(900), 6000):
        yield f"Question: {sample.user.rsplit('Question: ', 1)[-1]}\n"
        yield sample.answer
    yield "yes no " * 2000


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    pages = [page for page in corpus.load(options.data) if not page.held_out]
    tokenizer = train(texts(pages))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(options.out))
    sample = "".join(chunk.text for page in pages[:40] for chunk in page.chunks)
    print(f"{tokenizer.get_vocab_size()} tokens, {len(sample) / len(tokenizer.encode(sample).ids):.2f} characters each")


if __name__ == "__main__":
    main()
