"""The model: Llama as llama.cpp computes it (RMSNorm, rotary positions, grouped queries, SwiGLU, tied output). Only the rows of
queries and keys stand in another order than in a GGUF file: positions turn the two halves of a head here, neighbouring pairs there.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Shape:
    """Row lengths (`width`, `hidden`, heads * 64) are multiples of 256, so that each K-quant applies."""

    width: int
    layers: int
    heads: int
    kv_heads: int
    hidden: int
    vocabulary: int = 4096
    context: int = 3072
    theta: float = 10_000.0
    epsilon: float = 1e-5

    @property
    def head(self):
        return self.width // self.heads


SHAPES = {
    "small": Shape(width=256, layers=6, heads=4, kv_heads=2, hidden=768),
    "large": Shape(width=512, layers=6, heads=8, kv_heads=4, hidden=1280),
}


class Layer(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        kv = shape.kv_heads * shape.head
        self.attn_norm = nn.RMSNorm(shape.width, eps=shape.epsilon)
        self.attn_q = nn.Linear(shape.width, shape.width, bias=False)
        self.attn_k = nn.Linear(shape.width, kv, bias=False)
        self.attn_v = nn.Linear(shape.width, kv, bias=False)
        self.attn_output = nn.Linear(shape.width, shape.width, bias=False)
        self.ffn_norm = nn.RMSNorm(shape.width, eps=shape.epsilon)
        self.ffn_gate = nn.Linear(shape.width, shape.hidden, bias=False)
        self.ffn_up = nn.Linear(shape.width, shape.hidden, bias=False)
        self.ffn_down = nn.Linear(shape.hidden, shape.width, bias=False)

    def forward(self, x, rotation, mask, cache=None):
        rows, length, _ = x.shape
        normed = self.attn_norm(x)

        def heads(linear, count):
            return linear(normed).view(rows, length, count, self.shape.head).transpose(1, 2)

        q = rotate(heads(self.attn_q, self.shape.heads), rotation)
        k = rotate(heads(self.attn_k, self.shape.kv_heads), rotation)
        v = heads(self.attn_v, self.shape.kv_heads)
        if cache is not None:
            if cache:
                k, v = torch.cat([cache[0], k], 2), torch.cat([cache[1], v], 2)
            cache[:] = [k, v]
        if x.is_cuda:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.to(q.dtype), enable_gqa=True)
        else:
            y = attend(q, k, v, mask)
        x = x + self.attn_output(y.transpose(1, 2).reshape(rows, length, -1))
        normed = self.ffn_norm(x)
        return x + self.ffn_down(F.silu(self.ffn_gate(normed)) * self.ffn_up(normed))


def attend(q, k, v, mask):
    """Attention with a mask to add to the scores. On a CPU it trains twice as fast as PyTorch's own."""
    rows, heads, length, size = q.shape
    kv_heads, keys = k.shape[1:3]
    group = heads // kv_heads
    scores = q.reshape(rows, kv_heads, group * length, size) @ k.transpose(2, 3) * size**-0.5
    shares = (scores.view(rows, kv_heads, group, length, keys) + mask[:, :, None]).softmax(-1)
    y = shares.to(v.dtype).view(rows, kv_heads, group * length, keys) @ v
    return y.view(rows, heads, length, size)


def rotate(x, rotation):
    """Turns each number of a head's first half with the one at its place in the second."""
    cos, sin = rotation
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], -1).to(x.dtype)


class Llama(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.vocabulary, shape.width)
        self.blk = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.output_norm = nn.RMSNorm(shape.width, eps=shape.epsilon)
        frequencies = shape.theta ** (-torch.arange(0, shape.head, 2, dtype=torch.float64) / shape.head)
        self.register_buffer("frequencies", frequencies.float(), persistent=False)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                ends_branch = "attn_output" in name or "ffn_down" in name
                nn.init.normal_(weight, std=0.02 / (2 * shape.layers) ** 0.5 if ends_branch else 0.02)

    def forward(self, ids, positions=None, mask=None, caches=None, taps=None):
        """The last layer's normed states; `logits` makes scores of those that are wanted. `mask` is added to the scores, of shape
        [rows, 1, queries, keys]; without one, all earlier tokens are seen. With `taps`, also the states behind those layers."""
        if positions is None:
            positions = torch.arange(ids.shape[1], device=ids.device)[None]
        if mask is None:
            past = caches[0][0].shape[2] if caches and caches[0] else 0
            shape = (1, 1, ids.shape[1], past + ids.shape[1])
            mask = torch.full(shape, float("-inf"), device=ids.device).triu(past + 1)
        angles = positions[:, None, :, None].float() * self.frequencies
        rotation = (angles.cos(), angles.sin())
        x = self.token_embd(ids)
        tapped = []
        for index, layer in enumerate(self.blk):
            x = layer(x, rotation, mask, caches[index] if caches is not None else None)
            if taps and index in taps:
                tapped.append(x)
        return self.output_norm(x) if taps is None else (self.output_norm(x), tapped)

    def logits(self, states):
        return F.linear(states, self.token_embd.weight)

    @torch.inference_mode()
    def generate(self, ids, end, most=160):
        """Greedy tokens behind one prompt, without `end`."""
        caches = [[] for _ in self.blk]
        states = self(ids[None], caches=caches)
        made = []
        for position in range(len(ids), len(ids) + most):
            token = self.logits(states[0, -1]).argmax()
            if token == end:
                break
            made.append(int(token))
            states = self(token.view(1, 1), torch.tensor([[position]], device=ids.device), caches=caches)
        return made


def parameters(model):
    return sum(weight.numel() for weight in model.parameters())
