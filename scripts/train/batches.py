"""Samples become tokens with a class each, and batches of like length; also packs samples into a file beforehand.

Usage: batches.py --data FOLDER --tokenizer tokenizer.json --out FILE.npz --tokens N [--processes P]. A row is a sample with its
questions one after the other, an array of uint16: the token, with its class in the two upper bits.
"""

import argparse
import multiprocessing
import random
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

import corpus
import prompt
import tasks

CLASS_BIT = 14
# The classes of tokens: the prompt's; an answer's; where an answer decides (the passage to copy from, and where in it to begin); the
# first token of a question.
PROMPT, ANSWER, DECISION, ASKED = range(4)
# Questions of a row at most; of those about real pages, the share about the sample corpus, which is small and tried first.
QUESTIONS, SAMPLES = 6, 0.15
# Up to how many tokens trained on; characters of the passages at most; share of nonsense.
PHASES = [(0.8e6, 260, 0.5), (2.5e6, 420, 0.25), (5e6, 600, 0.12), (14e6, 800, 0.05)]
# Afterwards: shares and characters.
LENGTHS = [(0.4, 1000), (0.4, 3000), (0.2, 5500)]
LAST_NONSENSE = 0.04


def encode(sample, tokenizer):
    """The row of a sample: its passages, then each question with its answer."""
    ids = tokenizer.encode(prompt.BEGIN + prompt.USER + sample.context, add_special_tokens=False).ids
    classes = [PROMPT] * len(ids)
    for one in [sample, *sample.more]:
        asked = tokenizer.encode(one.asked + prompt.END + prompt.ASSISTANT, add_special_tokens=False).ids
        answer = tokenizer.encode(prompt.planned(one.answer) + prompt.END, add_special_tokens=False)
        ids += asked + answer.ids
        classes += [ASKED] + [PROMPT] * (len(asked) - 1)
        plans = [token in prompt.PLANS for token in answer.tokens]
        classes += [DECISION if is_plan or is_behind else ANSWER for is_plan, is_behind in zip(plans, [True, *plans])]
    return np.array(ids, np.uint16) | np.array(classes, np.uint16) << CLASS_BIT


def split(tokens):
    return (tokens & ((1 << CLASS_BIT) - 1)).astype(np.int64), tokens >> CLASS_BIT


def places(classes):
    """To which question each token belongs, 0 for the passages, and its position: that of the question if it stood alone."""
    questions = np.cumsum(classes == ASKED)
    begins = np.nonzero(classes == ASKED)[0]
    positions = np.arange(len(classes))
    for begin in begins[1:]:
        positions[begin:] = positions[begin:] - positions[begin] + begins[0]
    return questions, positions


def phase(seen, rng: random.Random):
    """Budget and share of nonsense after so many tokens."""
    for until, most, nonsense in PHASES:
        if seen < until:
            return int(most * rng.uniform(0.4, 1)), nonsense
    draw = rng.random()
    for share, most in LENGTHS:
        if draw < share:
            break
        draw -= share
    return int(most * rng.uniform(0.3, 1)), LAST_NONSENSE


class Live:
    """Samples made while training."""

    def __init__(self, pages, tokenizer, seed):
        self.maker = tasks.Maker(pages, seed, QUESTIONS, SAMPLES)
        self.tokenizer = tokenizer
        self.rng = random.Random(seed + 1)

    def next(self, seen):
        while True:
            budget, nonsense = phase(seen, self.rng)
            sample = self.maker.sample(budget, nonsense)
            if sample:
                tokens = encode(sample, self.tokenizer)
                if len(tokens) <= 2500:
                    return tokens


class Packed:
    """Samples of a file, in its order, again and again."""

    def __init__(self, path):
        with np.load(path) as file:
            self.tokens, self.ends = file["tokens"], file["ends"]
        self.at = 0

    def next(self, seen):
        index = self.at % len(self.ends)
        self.at += 1
        start = self.ends[index - 1] if index else 0
        return self.tokens[start : self.ends[index]]


def padded(length):
    """Few different lengths: each new shape costs compiled kernels."""
    step = 16 if length <= 256 else 64
    return length + -length % step


def batches(source, seen, size, rng, pool=320):
    """Batches of rows of like length, of about `size` tokens with their padding; `seen` tells the tokens trained on so far."""
    rows = []
    while True:
        rows = sorted(rows + [source.next(seen()) for _ in range(pool)], key=len, reverse=True)
        made = []
        while rows and len(rows) >= (count := max(1, size // padded(len(rows[0]) - 1))):
            made.append(rows[:count])
            rows = rows[count:]
        rng.shuffle(made)
        yield from made


def pack_some(options):
    data, tokenizer, count, seed, begin = options
    pages = [page for page in corpus.load(data) if not page.held_out]
    source = Live(pages, Tokenizer.from_file(str(tokenizer)), seed)
    rows, total = [], 0
    while total < count:
        rows.append(source.next(begin))
        total += len(rows[-1])
    return np.concatenate(rows), np.array([len(row) for row in rows])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tokens", type=float, default=200e6)
    parser.add_argument("--processes", type=int, default=multiprocessing.cpu_count())
    options = parser.parse_args()
    # Short ones first, as when they are made while training; then the mixture, in as many pieces as it takes.
    begins = [0, *(until for until, _, _ in PHASES)]
    counts = [after - before for before, after in zip(begins, begins[1:])]
    jobs = [
        (options.data, options.tokenizer, count, 1000 + index, begin) for index, (begin, count) in enumerate(zip(begins, counts))
    ]
    pieces = options.processes * 2
    rest = (options.tokens - sum(counts)) / pieces
    jobs += [(options.data, options.tokenizer, rest, 2000 + index, begins[-1]) for index in range(pieces)]
    with multiprocessing.Pool(options.processes) as pool:
        done = pool.map(pack_some, jobs, chunksize=1)
    ends = np.cumsum(np.concatenate([lengths for _, lengths in done]))
    np.savez(options.out, tokens=np.concatenate([tokens for tokens, _ in done]), ends=ends)
    print(f"{ends[-1]:,} tokens in {len(ends):,} samples")


if __name__ == "__main__":
    main()
