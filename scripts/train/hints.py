"""Tells the layers while training where things stand, which they would otherwise have to discover through the answer alone.

Four guesses from the states of two middle layers: of a passage's tokens, the number of the passage and the token with which their
sentence begins; of the answer's tokens, the number of the passage that they are copied from; and of the place where the answer
begins, which of the prompt's tokens it is about to copy. The heads are left out of the exported model. Without them copying is
learned soon, but what to copy and from which passage stays a guess for long: each takes two or three steps of attention to find.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import prompt

# Numbers 0 (none) to 8; a token without a known label has this.
NUMBERS, UNKNOWN = 9, -1


class Hints(nn.Module):
    def __init__(self, shape, tokenizer):
        super().__init__()
        self.taps = (shape.layers // 2 - 1, shape.layers - 2)
        self.inside = nn.Linear(shape.width, NUMBERS)
        self.first = nn.Linear(shape.width, shape.width, bias=False)
        self.answer = nn.Linear(shape.width, NUMBERS)
        self.asks = nn.Linear(shape.width, shape.width, bias=False)
        self.offers = nn.Linear(shape.width, shape.width, bias=False)
        ids = tokenizer.get_vocab()
        self.open, self.close, self.question = ids["["], ids["]"], ids["Question"]
        self.digits = {ids[str(digit)]: digit for digit in range(10)}
        self.stops = {id for token, id in ids.items() if token.endswith(".") or "Ċ" in token}
        self.marks = {id for token, id in ids.items() if token.strip("Ġ") in ("-", "*", "|", "***")}
        self.refusals = [tokenizer.encode(text + prompt.END).ids for text in (prompt.REFUSAL, "no")]

    def labels(self, ids, classes):
        """For one row, per token: number of its passage, first token of its sentence, number of the answer's passage, and 1 for
        what is about to be copied, 2 for where the answer begins."""
        inside, first, answer, pointed = labels = np.full((4, len(ids)), UNKNOWN)
        listed, begin = ids.tolist(), int(np.argmax(classes > 0))
        self.passages(listed, begin, inside, first)
        said = listed[begin:]
        if said in self.refusals:
            answer[begin - 1] = 0
            pointed[[0, begin - 1]] = 1, 2
        start = begin - 1
        for at in np.nonzero(classes[begin + 1 :] == 2)[0] + begin + 1:
            # The token before the number is where it is said; the one behind it begins another sentence.
            number = self.digits[listed[at]]
            answer[start:at] = number
            if start == begin - 1:
                self.point(listed, begin, said[: at - 1 - begin], inside == number, pointed)
            start = at + 1
        return labels

    def point(self, listed, begin, said, is_there, pointed):
        """Marks what is copied: where the sentence's beginning stands, or, for rows, which are written otherwise, its end."""
        for shown, before, length in ((said[1:6], 1, len(said)), (said[-4:], 0, 4)):
            places = [at for at in range(3, begin) if is_there[at] and listed[at : at + len(shown)] == shown]
            if len(shown) > 1 and len(places) == 1:
                pointed[places[0] - before : places[0] - before + length] = 1
                pointed[begin - 1] = 2
                break

    def passages(self, listed, begin, inside, first):
        number = start = 0
        asked = max((at for at in range(2, begin) if listed[at] == self.question), default=begin)
        for at in range(2, asked):
            if listed[at - 2] == self.open and listed[at] == self.close and self.digits.get(listed[at - 1]) == number + 1:
                number += 1
            begins = listed[at - 1] in self.stops and listed[at] not in self.digits
            if begins or (start == at - 1 and listed[at - 1] in self.marks):
                start = at
            inside[at] = number or UNKNOWN
            first[at] = listed[start] if start else UNKNOWN

    def loss(self, states, labels, embedding):
        """`states` are those behind the tapped layers."""
        inside, first, answer, pointed = labels
        middle, late = (F.rms_norm(state, state.shape[-1:]) for state in states)
        total = guess(self.inside, middle, inside)
        total = total + guess(lambda state: F.linear(self.first(state), embedding), middle, first, share=0.15)
        total = total + guess(self.answer, late, answer)
        rows, asked = torch.nonzero(pointed == 2, as_tuple=True)
        if len(rows):
            scores = torch.einsum("rw,rlw->rl", self.asks(late[rows, asked]), self.offers(middle[rows])).float()
            scores = scores * late.shape[-1] ** -0.5
            later = torch.arange(scores.shape[1], device=scores.device)[None] >= asked[:, None]
            scores = scores.masked_fill(later, -1e4).log_softmax(-1)
            total = total - scores.masked_fill(pointed[rows] != 1, -1e4).logsumexp(-1).mean()
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
