"""Measures a model in PyTorch on questions about occupations that it was not trained on.

Usage: measure.py --data FOLDER --out FOLDER [--count N] [--budget CHARACTERS]. OUT has tokenizer.json and last.pt. Answers are
generated greedily; the table is Markdown.
"""

import argparse
import re
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

import batches
import corpus
import prompt
import tasks
from model import SHAPES, Llama

JUDGEMENTS = ["answerable", "relevant"]
TASKS = ["answer", "compare", "refuse", *JUDGEMENTS]
FIGURE = re.compile(r"\d[\d,.]*\d|\d")


def held_out_samples(pages, tokenizer, count, budget=800, seed=5):
    """Samples over the pages kept out, none of them invented, with their tokens."""
    maker = tasks.Maker([page for page in pages if page.held_out], seed)
    found = []
    while len(found) < count:
        sample = maker.sample(budget, invented=0.0)
        if sample.task != "talk":
            found.append((sample, batches.encode(sample, tokenizer)))
    return found


@torch.inference_mode()
def teacher_forced(model, samples):
    """Whether each answer's tokens are all the likeliest ones: what greedy generation would give, for less. As a line."""
    exact, cited, copied = {task: [] for task in TASKS}, [], []
    device = next(model.parameters()).device
    for start in range(0, len(samples), 16):
        part = samples[start : start + 16]
        length = max(len(tokens) for _, tokens in part)
        ids = torch.zeros(len(part), length, dtype=torch.long)
        for row, (_, tokens) in enumerate(part):
            ids[row, : len(tokens)] = torch.from_numpy(batches.split(tokens)[0])
        with torch.autocast(device.type, torch.bfloat16):
            states = model(ids.to(device))
        for row, (sample, tokens) in enumerate(part):
            wanted, classes = (torch.from_numpy(array[1:].astype("int64")) for array in batches.split(tokens))
            at = (classes == batches.ANSWER) | (classes == batches.DECISION)
            right = (model.logits(states[row, : len(tokens) - 1][at.to(device)].float()).argmax(-1).cpu() == wanted[at]).tolist()
            exact[sample.task].append(all(right))
            if sample.task == "answer":
                copied += right
                cited.append(right[0])
    shares = [f"{task} {share(found)}" for task, found in exact.items()]
    return f"exact {', '.join(shares)}; citations {share(cited)}, copied tokens {share(copied)}"


def share(found):
    return f"{sum(found) / max(1, len(found)):.3f} of {len(found)}"


def plain(text):
    return re.sub(r"\s*\[[\d, ]+\]", "", text).strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--budget", type=int, default=900)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--show", type=int, default=5, help="wrong answers to print")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    tokenizer = Tokenizer.from_file(str(options.out / "tokenizer.json"))
    saved = torch.load(options.out / "last.pt", map_location="cpu", weights_only=True)
    model = Llama(SHAPES[saved["size"]])
    model.load_state_dict(saved["model"])
    samples = held_out_samples(corpus.load(options.data), tokenizer, options.count, options.budget, seed=11)
    print(f"{saved['tokens']:,} tokens trained on\n\n{generated(model, tokenizer, samples, options.show)}")


def generated(model, tokenizer, samples, show):
    end = tokenizer.token_to_id(prompt.END)
    table = Table(show)
    for sample, tokens in samples:
        ids, classes = batches.split(tokens)
        begin = torch.from_numpy(ids[: int(np.argmax(classes == batches.DECISION))])
        if sample.task in JUDGEMENTS:
            table.judged(sample, yes_share(model, tokenizer, begin))
        else:
            table.answered(sample, tokenizer.decode(model.generate(begin, end)))
    return table.markdown()


class Table:
    """Counts what is right; the first `show` wrong answers are printed."""

    def __init__(self, show=0):
        self.show = show
        self.counts = {}
        self.judgements = {task: [] for task in JUDGEMENTS}

    def count(self, name, is_right):
        self.counts.setdefault(name, []).append(is_right)

    def judged(self, sample, yes):
        self.judgements[sample.task].append((yes, sample.answer == "yes"))

    def answered(self, sample, text):
        told = text.strip() != prompt.REFUSAL
        if text.strip() != sample.answer and self.show > 0:
            self.show -= 1
            print(f"--- {sample.kind} {sample.user}\nwanted: {sample.answer}\ngot:    {text}\n")
        if sample.task == "refuse":
            return self.count("unanswerable refused", not told)
        self.count("answerable refused (fewer is better)", not told)
        self.count(f"{sample.task}: exact", text.strip() == sample.answer)
        self.count(f"{sample.task}: right passages cited", cited_in(text) == set(sample.gold))
        if told:
            for sentence in filter(None, re.split(r"(?<=\])\. ?", text.strip())):
                self.count("sentences verbatim in the passage cited", is_verbatim(sentence, sample.user))
            if FIGURE.search(plain(sample.answer)):
                self.count("figures exact", FIGURE.findall(plain(sample.answer)) == FIGURE.findall(plain(text)))

    def markdown(self):
        lines = ["| on held-out occupations | share | of |", "| --- | ---: | ---: |"]
        lines += [f"| {name} | {sum(found) / len(found):.3f} | {len(found)} |" for name, found in sorted(self.counts.items())]
        lines += [f"| AUROC of P({name}) | {auroc(found):.3f} | {len(found)} |" for name, found in self.judgements.items()]
        return "\n".join(lines)


def cited_in(text):
    return {int(number) for number in re.findall(r"\[(\d+)\]", text)}


def is_verbatim(sentence, user):
    """Whether each piece of a cited sentence stands in the passage that it names."""
    number = re.search(r"\[(\d+)\]?$", sentence)
    passage = re.search(rf"^\[{number[1]}\] (.*?)(?=^\[\d+\] |\Z)", user, re.M | re.S) if number else None
    return bool(passage) and all(
        piece.strip() in " ".join(passage[1].split("\n")) for piece in re.split(r"[;:] ", plain(sentence))
    )


@torch.inference_mode()
def yes_share(model, tokenizer, begin):
    scores = model.logits(model(begin[None])[0, -1])
    yes, no = (scores[tokenizer.token_to_id(word)] for word in ("yes", "no"))
    return float(torch.softmax(torch.stack([yes, no]), 0)[0])


def auroc(found):
    """The chance that a true case has a higher score than a false one."""
    true, false = [score for score, good in found if good], [score for score, good in found if not good]
    pairs = [(a > b) + 0.5 * (a == b) for a in true for b in false]
    return sum(pairs) / max(1, len(pairs))


if __name__ == "__main__":
    main()
