"""Tells the layers while training where things stand, which they would otherwise have to discover through the answer alone.

Three guesses from the states of two middle layers: of a passage's tokens, the number of the passage and the token with which their
sentence begins; and of the place where an answer begins, which of the prompt's tokens it is about to copy. The heads are left out
of the exported model. Without them copying is learned soon, but what to copy and from which passage stays a guess for long: each
takes two or three steps of attention to find.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import batches
import prompt

# Numbers 0 (none) to 8; a token without a known label has this.
NUMBERS, UNKNOWN = 9, -1


class Hints(nn.Module):
    def __init__(self, shape, tokenizer):
        super().__init__()
        self.taps = (shape.layers // 2 - 1, shape.layers - 2)
        self.inside = nn.Linear(shape.width, NUMBERS)
        self.first = nn.Linear(shape.width, shape.width, bias=False)
        self.asks = nn.Linear(shape.width, shape.width, bias=False)
        self.offers = nn.Linear(shape.width, shape.width, bias=False)
        ids = tokenizer.get_vocab()
        self.open, self.open_behind, self.close = ids["["], ids["Ġ["], ids["]"]
        self.digits = {ids[str(digit)]: digit for digit in range(10)}
        self.stops = {id for token, id in ids.items() if token.endswith(".") or "Ċ" in token}
        self.marks = {id for token, id in ids.items() if token.strip("Ġ") in ("-", "*", "|", "***")}
        self.plans = {ids[token]: number for number, token in enumerate(prompt.PLANS)}
        self.no = ids["no"]

    def labels(self, ids, classes):
        """For one row: per token, the number of its passage and the first token of its sentence; and what is copied, as pairs of
        where an answer begins and where what it copies begins and ends."""
        inside, first = labels = np.full((2, len(ids)), UNKNOWN)
        listed, begins = ids.tolist(), np.nonzero(classes == batches.ASKED)[0].tolist()
        self.passages(listed, begins[0], inside, first)
        pointed = []
        for begin, end in zip(begins, [*begins[1:], len(ids)]):
            answer = begin + int(np.argmax(classes[begin:end] == batches.DECISION))
            if number := self.plans.get(listed[answer]):
                is_bracket = (at for at in range(answer, end) if listed[at] == self.open or listed[at] == self.open_behind)
                span = self.copied(listed, begins[0], listed[answer + 1 : next(is_bracket, end)], inside == number)
            else:
                span = (0, 1) if number == 0 or listed[answer] == self.no else None
            if span:
                pointed.append((answer - 1, *span))
        return labels, pointed

    def copied(self, listed, end, said, is_there):
        """What is copied: where the sentence's beginning stands, or, for lists and rows, which are written otherwise, a piece of it."""
        for shown, before, length in ((said[1:6], 1, len(said)), (said[:3], 0, 3), (said[-4:], 0, 4)):
            places = [at for at in range(3, end) if is_there[at] and listed[at : at + len(shown)] == shown]
            if len(shown) > 1 and len(places) == 1:
                return places[0] - before, min(end, places[0] - before + length)
        return None

    def passages(self, listed, end, inside, first):
        number = start = 0
        for at in range(2, end):
            if listed[at - 2] == self.open and listed[at] == self.close and self.digits.get(listed[at - 1]) == number + 1:
                number += 1
            begins = listed[at - 1] in self.stops and listed[at] not in self.digits
            if begins or (start == at - 1 and listed[at - 1] in self.marks):
                start = at
            inside[at] = number or UNKNOWN
            first[at] = listed[start] if start else UNKNOWN

    def loss(self, states, labels, pointed, embedding):
        """`states` are those behind the tapped layers; `pointed` has row, place, begin and end per answer."""
        inside, first = labels
        middle, late = (F.rms_norm(state, state.shape[-1:]) for state in states)
        total = guess(self.inside, middle, inside)
        total = total + guess(lambda state: F.linear(self.first(state), embedding), middle, first, share=0.15)
        if len(pointed):
            rows, places, begins, ends, contexts = pointed.unbind(1)
            offers = self.offers(middle)
            scores = torch.stack([offers[row] @ asks for row, asks in zip(rows.tolist(), self.asks(late[rows, places]))]).float()
            scores = scores * late.shape[-1] ** -0.5
            at = torch.arange(scores.shape[1], device=scores.device)[None]
            scores = scores.masked_fill(at >= contexts[:, None], -1e4).log_softmax(-1)
            is_copied = (at >= begins[:, None]) & (at < ends[:, None])
            total = total - scores.masked_fill(~is_copied, -1e4).logsumexp(-1).mean()
        return total


def guess(head, state, label, share=1.0):
    """Mean loss of a head's guesses over a share of the tokens with a label, filled up to few different shapes."""
    label = label.flatten()
    known = label != UNKNOWN
    if share < 1:
        known &= torch.rand(label.shape, device=label.device) < share
    known = torch.nonzero(known)[:, 0]
    filling = -len(known) % 256
    picked = F.pad(label[known], (0, filling), value=UNKNOWN)
    scores = head(state.flatten(0, 1)[F.pad(known, (0, filling))]).float()
    return F.cross_entropy(scores, picked, ignore_index=UNKNOWN, reduction="sum") / max(1, len(known))
