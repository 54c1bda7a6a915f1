"""Trains the model, from the beginning, from a checkpoint, or from an exported GGUF file.

Usage: train.py --data FOLDER --out FOLDER [--size small|large] [--tokens N] [--packed FILE.npz] [--device cuda]

OUT has tokenizer.json; last.pt is written there every few minutes, and a run that finds it goes on from it. The learning
rate rises, stays, and falls over the last fifth of `--tokens`, or, once a file OUT/decay exists, over `--decay-minutes`. Then
the run ends.
"""

import argparse
import contextlib
import random
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

import batches
import corpus
import measure
from hints import UNKNOWN, Hints
from model import SHAPES, Llama, parameters

# By class of token, as in `batches`.
WEIGHTS = {batches.PROMPT: 0.1, batches.ANSWER: 1.0, batches.DECISION: 5.0, batches.ASKED: 0.0}
# The hints' weight, and until how many tokens they are given: later they have done their work, and labels cost time on a card.
HINTS, HINTED = 0.3, 100e6
# Of the context's tokens so many take part, with a weight to match: the output layer is a fifth of the work.
SAMPLED = 0.2
WARMUP_STEPS = 60
# Muon's rate as a multiple of AdamW's.
MUON_RATE = 2.0
# From here on, this share of rows has jumps in its positions, so that short rows teach long distances.
JUMPS_FROM, JUMPING = 1.5e6, 0.3


def main():
    options = arguments()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    tokenizer = Tokenizer.from_file(str(options.out / "tokenizer.json"))
    pages = corpus.load(options.data)
    model = Llama(SHAPES[options.size]).to(options.device)
    run = Run(options, model, tokenizer)
    if not run.resume() and options.init:
        import export

        export.read(options.init, model, tokenizer)
        run.tokens = int(options.seen)
    if options.packed:
        source = batches.Packed(options.packed)
    else:
        source = batches.Live([page for page in pages if not page.held_out], tokenizer, options.seed + run.tokens)
    held_out = measure.held_out_samples(pages, tokenizer, options.checked)
    print(f"{parameters(model):,} parameters, {run.tokens:,} tokens trained on, {len(held_out)} held-out samples", flush=True)
    run.train(source, held_out)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", choices=SHAPES, default="small")
    parser.add_argument("--init", type=Path, help="a GGUF file to begin from")
    parser.add_argument("--seen", type=float, default=0, help="tokens that it was trained on, which choose the lengths to go on with")
    parser.add_argument("--packed", type=Path, help="samples packed by batches.py")
    parser.add_argument("--tokens", type=float, help="tokens in all; without it the run goes on until OUT/decay exists")
    parser.add_argument("--decay-minutes", type=float, default=12)
    parser.add_argument("--batch", type=int, default=4096, help="tokens per step")
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--optimizer", choices=["adamw", "muon"], default="muon")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--checked", type=int, default=200, help="held-out samples that are checked")
    parser.add_argument("--check-every", type=int, default=250, help="steps")
    parser.add_argument("--save-minutes", type=float, default=4)
    return parser.parse_args()


class Run:
    """A model with its optimizers and how far it has come."""

    def __init__(self, options, model, tokenizer):
        self.options, self.model, self.tokenizer = options, model, tokenizer
        self.tokens = self.steps = 0
        self.decay_began = None
        self.forward = torch.compile(model, dynamic=True) if options.compile else model
        fused = {"fused": True, "betas": (0.9, 0.98)}
        self.hints = Hints(model.shape, tokenizer).to(options.device)
        inner = [weight for name, weight in model.named_parameters() if name.startswith("blk") and weight.dim() == 2]
        outer = [weight for name, weight in model.named_parameters() if not name.startswith("blk") or weight.dim() == 1]
        if options.optimizer == "muon":
            self.optimizers = [
                torch.optim.Muon(inner, lr=MUON_RATE * options.rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
                torch.optim.AdamW(outer, lr=options.rate, weight_decay=0.0, **fused),
            ]
        else:
            groups = [{"params": inner, "weight_decay": 0.05}, {"params": outer, "weight_decay": 0.0}]
            self.optimizers = [torch.optim.AdamW(groups, lr=options.rate, **fused)]
        self.optimizers.append(torch.optim.AdamW(self.hints.parameters(), lr=options.rate, **fused))

    def resume(self):
        path = self.options.out / "last.pt"
        if not path.exists():
            return False
        saved = torch.load(path, map_location=self.options.device, weights_only=True)
        self.model.load_state_dict(saved["model"])
        for optimizer, state in zip(self.optimizers, saved["optimizers"]):
            optimizer.load_state_dict(state)
        if "hints" in saved:
            self.hints.load_state_dict(saved["hints"])
        self.tokens, self.steps = saved["tokens"], saved["steps"]
        return True

    def save(self):
        path = self.options.out / "last.pt"
        states = [optimizer.state_dict() for optimizer in self.optimizers]
        saved = {
            "model": self.model.state_dict(),
            "hints": self.hints.state_dict(),
            "optimizers": states,
            "tokens": self.tokens,
            "steps": self.steps,
            "size": self.options.size,
        }
        torch.save(saved, path.with_suffix(".part"))
        path.with_suffix(".part").rename(path)

    def rate(self):
        """The share of the learning rate at this step; None when the run is over."""
        share = min(1.0, (self.steps + 1) / WARMUP_STEPS)
        if self.options.tokens:
            left = 1 - self.tokens / self.options.tokens
            return None if left <= 0 else share * min(1.0, left / 0.2)
        if self.decay_began is None and (self.options.out / "decay").exists():
            self.decay_began = time.time()
        if self.decay_began:
            left = 1 - (time.time() - self.decay_began) / 60 / self.options.decay_minutes
            return None if left <= 0 else share * left
        return share

    def train(self, source, held_out):
        options, rng = self.options, random.Random(self.steps)
        saved = began = time.time()
        counted, losses = 0, []
        for batch in batches.batches(source, lambda: self.tokens, options.batch, rng):
            rate = self.rate()
            if rate is None:
                break
            for optimizer in self.optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = options.rate * rate * (MUON_RATE if isinstance(optimizer, torch.optim.Muon) else 1)
            losses.append(self.step(batch))
            self.steps += 1
            trained = sum(len(row) for row in batch)
            self.tokens += trained
            counted += trained
            if self.steps % 25 == 0:
                loss, right, hinted = np.mean([loss.tolist() for loss in losses], 0)
                speed = counted / (time.time() - began)
                progress = f"step {self.steps} tokens {self.tokens / 1e6:.2f}M rate {rate:.2f} {speed:.0f} tok/s"
                print(f"{progress} loss {loss:.3f} answer tokens {right:.3f} hints {hinted:.3f}", flush=True)
                began, counted, losses = time.time(), 0, []
            if self.steps % options.check_every == 0:
                print(f"  held out: {measure.teacher_forced(self.model, held_out)}", flush=True)
                began, counted = time.time(), 0
            if time.time() - saved > options.save_minutes * 60:
                self.save()
                saved = time.time()
        self.save()
        print(f"done: {measure.teacher_forced(self.model, held_out)}", flush=True)

    def step(self, rows):
        """One step over these rows: the loss, the share of the answers' tokens that were right, the hints' loss."""
        ids, classes, questions, positions, labels, pointed = self.tensors(rows)
        mask = seen(questions[:, :-1])
        classes = classes[:, 1:].flatten()
        drawn = torch.rand(classes.shape, device=ids.device) < SAMPLED
        is_answer = (classes == batches.ANSWER) | (classes == batches.DECISION)
        taken = torch.nonzero(is_answer | (drawn & (classes == batches.PROMPT)))[:, 0]
        # Filled up with a token of no weight: few different shapes, as in `batches.padded`.
        filling = -len(taken) % 256
        table = torch.tensor([weight / (SAMPLED if kind == batches.PROMPT else 1) for kind, weight in WEIGHTS.items()])
        weights = F.pad(table.to(ids.device)[classes[taken]], (0, filling))
        taken = F.pad(taken, (0, filling))
        with torch.autocast(ids.device.type, torch.bfloat16):
            states, tapped = self.forward(ids[:, :-1], positions[:, :-1], mask, taps=self.hints.taps)
            scores = self.model.logits(states.flatten(0, 1)[taken]).float()
            hinted = torch.zeros((), device=ids.device)
            if self.tokens < HINTED:
                hinted = self.hints.loss(tapped, labels[:, :, :-1], pointed, self.model.token_embd.weight)
        wanted = ids[:, 1:].flatten()[taken]
        loss = (F.cross_entropy(scores, wanted, reduction="none") * weights).sum() / weights.sum()
        (loss + HINTS * hinted).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        right = (scores.argmax(-1) == wanted)[weights >= WEIGHTS[batches.ANSWER]].float().mean()
        return torch.stack([loss.detach(), right.detach(), hinted.detach()])

    def tensors(self, rows):
        """Tokens, classes (behind a row's end one without weight), the question that they belong to, positions and the hints'
        labels, all rows as long as the longest."""
        length = batches.padded(max(len(row) for row in rows) - 1) + 1
        shape = (len(rows), length)
        ids, classes, questions = np.zeros(shape, np.int64), np.full(shape, batches.ASKED), np.zeros(shape, np.int64)
        positions = np.tile(np.arange(length), (len(rows), 1))
        labels, pointed = np.full((2, *shape), UNKNOWN), []
        for index, row in enumerate(rows):
            here = slice(0, len(row))
            ids[index, here], classes[index, here] = batches.split(row)
            questions[index, here], positions[index, here] = batches.places(classes[index, here])
            if self.tokens < HINTED:
                labels[:, index, here], found = self.hints.labels(ids[index, here], classes[index, here])
                context = int(np.argmax(questions[index] > 0))
                pointed += [(index, *pointers, context) for pointers in found]
            free = self.model.shape.context - length
            if self.tokens > JUMPS_FROM and free > 0 and random.random() < JUMPING:
                for _ in range(2):
                    begin = random.randrange(1, positions[index].max())
                    positions[index] += (positions[index] >= begin) * random.randrange(free // 2 + 1)
        arrays = (ids, classes, questions, positions, labels, np.array(pointed, np.int64).reshape(-1, 5))
        return [torch.from_numpy(array).to(self.options.device, non_blocking=True) for array in arrays]


def seen(questions):
    """The mask of attention: a token sees those before it that belong to its own question or to the passages."""
    length = questions.shape[1]
    own = (questions[:, None, :] == questions[:, :, None]) | (questions[:, None, :] == 0)
    mask = torch.where(own.tril(), 0.0, float("-inf"))[:, None]
    return mask.to(torch.bfloat16)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
