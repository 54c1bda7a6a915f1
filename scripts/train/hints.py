"""Tells the layers while training where things stand: which passage a token is part of, and which one an answer is taken from.

Two linear heads read middle layers and guess those numbers; they are left out of the exported model. Without them, copying is
learned soon, but the number behind a sentence stays a guess for long: it takes three steps of attention to find.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import prompt

# Numbers 0 (none) to 8; a token without a known number has this.
NUMBERS, UNKNOWN = 9, -1


class Hints(nn.Module):
    def __init__(self, shape, tokenizer):
        super().__init__()
        # After these layers: a passage's tokens know its number, an answer's tokens the number of what they were copied from.
        self.taps = (shape.layers // 2 - 1, shape.layers - 2)
        self.heads = nn.ModuleList(nn.Linear(shape.width, NUMBERS) for _ in self.taps)
        ids = tokenizer.get_vocab()
        self.open, self.close, self.question, self.assistant = ids["["], ids["]"], ids["Question"], ids[prompt.ASSISTANT]
        self.digits = {ids[str(digit)]: digit for digit in range(10)}
        self.refusal = tokenizer.encode(prompt.REFUSAL + prompt.END).ids
        self.no = tokenizer.encode("no" + prompt.END).ids

    def labels(self, ids, classes):
        """For one row: numbers of the prompt's tokens, and of the answer's from where it begins."""
        inside, answer = np.full(len(ids), UNKNOWN), np.full(len(ids), UNKNOWN)
        listed, begin = ids.tolist(), int(np.argmax(classes > 0))
        number, first = 0, 0
        for at in range(2, begin):
            if listed[at - 2] == self.open and listed[at] == self.close and self.digits.get(listed[at - 1]) == number + 1:
                inside[first:at] = number or UNKNOWN
                number, first = number + 1, at
        asked = max((at for at in range(first, begin) if listed[at] == self.question), default=first)
        inside[first:asked] = number or UNKNOWN
        said = listed[begin:]
        if said in (self.refusal, self.no):
            answer[begin - 1] = 0
        start = begin - 1
        for at in np.nonzero(classes[begin + 1 :] == 2)[0] + begin + 1:
            # The token before the number is where it is said; the one behind it begins another sentence.
            answer[start:at] = self.digits[listed[at]]
            start = at + 1
        return inside, answer

    def loss(self, states, labels):
        """`states` are those behind the tapped layers."""
        total = 0.0
        for head, state, label in zip(self.heads, states, labels):
            known = torch.nonzero(label.flatten() != UNKNOWN)[:, 0]
            filling = -len(known) % 256
            picked = F.pad(label.flatten()[known], (0, filling), value=UNKNOWN)
            state = F.rms_norm(state.flatten(0, 1)[F.pad(known, (0, filling))], (state.shape[-1],))
            total = total + F.cross_entropy(head(state).float(), picked, ignore_index=UNKNOWN)
        return total
