"""Decoders of one or two blocks written out in plain torch, each for some of the parts that are differentiated by hand:
blocks.json. Weights and tokens by formula, f64.
"""

import math

import torch
import torch.nn.functional as F

from formula import draw, nine, seed_of, slopes, told, weights, write

BASE = dict(vocab=23, hidden=24, wide=20, heads=4, kv_heads=2, head=6, positions=400, layers=1, norm="rms", eps=1e-5,
            order="before", qk_norm=False, activation="silu", mlp="gated", bias=False, scale=6**-0.5, cap=None, logit_cap=None,
            embedding_scale=1.0, learned_positions=False, token_types=0, causal=True, tied=False, window=None, theta=100.0,
            rotated=6, divisors=None, amplitude=1.0, experts=0, chosen=0, lengths=[9, 5, 14], temperature=None)
CASES = {
    # More targets than logits are made for at once.
    "head": dict(layers=0, vocab=301, logit_cap=4.0, lengths=[300]),
    "head_tied": dict(layers=0, tied=True, embedding_scale=3.0, norm="layer"),
    "rms_norm": dict(eps=0.3),
    "layer_norm": dict(norm="layer", eps=0.3, bias=True),
    "rope_none": dict(rotated=0),
    "rope_partial": dict(rotated=4, theta=7.0),
    "rope_stretched": dict(divisors=[1.0, 3.0, 0.5], amplitude=1.3),
    "attention_all_heads": dict(kv_heads=4, layers=2),
    "attention_one_key": dict(kv_heads=1, layers=2),
    "attention_window": dict(window=3, layers=2),
    "attention_cap": dict(cap=1.5, scale=0.9),
    "attention_both_ways": dict(causal=False, window=None, layers=2, order="after", norm="layer", bias=True, token_types=2,
                                learned_positions=True, rotated=0, mlp="plain", activation="gelu", tied=True),
    "attention_normed": dict(qk_norm=True, layers=2),
    "silu_plain": dict(mlp="plain"),
    "gelu": dict(activation="gelu"),
    "gelu_tanh": dict(activation="gelu_tanh"),
    "relu": dict(mlp="plain", activation="relu", bias=True),
    "experts": dict(mlp="experts", experts=4, chosen=2, layers=2),
    "around": dict(order="around", layers=2),
    "after": dict(order="after", layers=2),
    "parallel": dict(order="parallel", layers=2, norm="layer"),
    "distilled": dict(temperature=1.0),
    "distilled_warm": dict(temperature=2.5, logit_cap=6.0),
    "distilled_head": dict(layers=0, vocab=301, temperature=2.0, lengths=[300]),
}
ACT = {"silu": F.silu, "gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"), "relu": F.relu}


def shapes(c):
    """The weights in the order of a pass."""
    hidden, q, kv = c["hidden"], c["heads"] * c["head"], c["kv_heads"] * c["head"]
    out = {"embedding": (c["vocab"], hidden)}

    def norm(name, size):
        out[name] = (size,)
        if c["norm"] == "layer":
            out[name + " bias"] = (size,)

    def linear(name, rows, cols, bias=c["bias"]):
        out[name] = (rows, cols)
        if bias:
            out[name + " bias"] = (rows,)

    if c["learned_positions"]:
        out["positions"] = (c["positions"], hidden)
    if c["token_types"]:
        out["token type"] = (hidden,)
    if c["order"] == "after":
        norm("embedding norm", hidden)
    for i in range(c["layers"]):
        if c["order"] != "after":
            norm(f"{i} attention norm", hidden)
        for name, rows in [("q", q), ("k", kv), ("v", kv)]:
            linear(f"{i} {name}", rows, hidden)
        if c["qk_norm"]:
            norm(f"{i} q norm", c["head"])
            norm(f"{i} k norm", c["head"])
        linear(f"{i} o", hidden, q)
        if c["order"] in ("around", "after"):
            norm(f"{i} attention out norm", hidden)
        if c["order"] in ("around", "before"):
            norm(f"{i} mlp norm", hidden)
        if c["mlp"] == "experts":
            linear(f"{i} router", c["experts"], hidden, False)
        for e in range(max(1, c["experts"])):
            stem = f"{i} {e} " if c["experts"] else f"{i} "
            if c["mlp"] != "plain":
                linear(stem + "gate", c["wide"], hidden)
            linear(stem + "up", c["wide"], hidden)
            linear(stem + "down", hidden, c["wide"])
        if c["order"] in ("around", "after"):
            norm(f"{i} mlp out norm", hidden)
    if c["order"] != "after":
        norm("norm", hidden)
    if not c["tied"]:
        out["head"] = (c["vocab"], hidden)
    return out


def make_weights(c, of):
    """Norms about one, all others about zero."""
    about = lambda name: (0.3, 1.0) if "norm" in name and "bias" not in name else (0.6, 0.0)
    return {name: weights(of + name, shape, *about(name)).double().requires_grad_() for name, shape in shapes(c).items()}


def tokens_of(c):
    return [[int(x) % c["vocab"] for x in draw(seed_of(f"tokens {i}"), length)] for i, length in enumerate(c["lengths"])]


class Decoder:
    def __init__(self, c, w):
        self.c, self.w = c, w

    def norm(self, name, x):
        weight, eps = self.w[name], self.c["eps"]
        if self.c["norm"] == "layer":
            return F.layer_norm(x, x.shape[-1:], weight, self.w[name + " bias"], eps)
        return F.rms_norm(x, x.shape[-1:], weight, eps)

    def linear(self, name, x):
        return F.linear(x, self.w[name], self.w.get(name + " bias"))

    def rotate(self, x):
        """x: heads × positions × head."""
        width = self.c["rotated"]
        if width == 0:
            return x
        frequencies = [self.c["theta"] ** (-2 * i / width) for i in range(width // 2)]
        if self.c["divisors"]:
            frequencies = [f / d for f, d in zip(frequencies, self.c["divisors"])]
        # Our frequencies are f32.
        angles = torch.arange(x.shape[1], dtype=torch.float64)[:, None] * torch.tensor(frequencies).to(torch.float64)
        cos, sin = self.c["amplitude"] * angles.cos(), self.c["amplitude"] * angles.sin()
        a, b, rest = x[..., : width // 2], x[..., width // 2 : width], x[..., width:]
        return torch.cat([a * cos - b * sin, b * cos + a * sin, rest], -1)

    def attention(self, i, x):
        c, n = self.c, x.shape[0]
        heads = lambda name: self.linear(f"{i} {name}", x).view(n, -1, c["head"]).transpose(0, 1)
        q, k, v = heads("q"), heads("k"), heads("v")
        if c["qk_norm"]:
            q, k = self.norm(f"{i} q norm", q), self.norm(f"{i} k norm", k)
        group = c["heads"] // c["kv_heads"]
        q, k = self.rotate(q), self.rotate(k).repeat_interleave(group, 0)
        scores = q @ k.transpose(1, 2) * c["scale"]
        if c["cap"]:
            scores = c["cap"] * torch.tanh(scores / c["cap"])
        back = torch.arange(n)[:, None] - torch.arange(n)
        seen = (back >= 0) if c["causal"] else torch.ones(n, n, dtype=torch.bool)
        if c["window"]:
            seen &= back < c["window"]
        scores = scores.masked_fill(~seen, -math.inf)
        out = scores.softmax(-1) @ v.repeat_interleave(group, 0)
        return self.linear(f"{i} o", out.transpose(0, 1).reshape(n, -1))

    def feed_forward(self, stem, x):
        up, act = self.linear(stem + "up", x), ACT[self.c["activation"]]
        inner = act(up) if self.c["mlp"] == "plain" else act(self.linear(stem + "gate", x)) * up
        return self.linear(stem + "down", inner)

    def mlp(self, i, x):
        c = self.c
        if c["mlp"] != "experts":
            return self.feed_forward(f"{i} ", x)
        best, chosen = self.linear(f"{i} router", x).softmax(-1).topk(c["chosen"])
        shares = torch.zeros(len(x), c["experts"], dtype=x.dtype).scatter(1, chosen, best / best.sum(-1, keepdim=True))
        return sum(shares[:, e : e + 1] * self.feed_forward(f"{i} {e} ", x) for e in range(c["experts"]))

    def logits(self, tokens):
        c = self.c
        x = self.w["embedding"][tokens] * c["embedding_scale"]
        if c["learned_positions"]:
            x = x + self.w["positions"][: len(tokens)]
        if c["token_types"]:
            x = x + self.w["token type"]
        if c["order"] == "after":
            x = self.norm("embedding norm", x)
        for i in range(c["layers"]):
            match c["order"]:
                case "before":
                    x = x + self.attention(i, self.norm(f"{i} attention norm", x))
                    x = x + self.mlp(i, self.norm(f"{i} mlp norm", x))
                case "around":
                    x = x + self.norm(f"{i} attention out norm", self.attention(i, self.norm(f"{i} attention norm", x)))
                    x = x + self.norm(f"{i} mlp out norm", self.mlp(i, self.norm(f"{i} mlp norm", x)))
                case "after":
                    x = self.norm(f"{i} attention out norm", x + self.attention(i, x))
                    x = self.norm(f"{i} mlp out norm", x + self.mlp(i, x))
                case "parallel":
                    n = self.norm(f"{i} attention norm", x)
                    x = x + self.attention(i, n) + self.mlp(i, n)
        if c["order"] != "after":
            x = self.norm("norm", x)
        logits = x @ (self.w["embedding"] if c["tied"] else self.w["head"]).T
        return c["logit_cap"] * torch.tanh(logits / c["logit_cap"]) if c["logit_cap"] else logits


def values(c, student, teacher, tokens):
    """Of each token but the first: its log-probability, or -T² KL(teacher || student)."""
    rows, following = torch.tensor(tokens[:-1]), torch.tensor(tokens[1:])
    logits = student.logits(rows)
    if c["temperature"] is None:
        return logits.log_softmax(-1).gather(1, following[:, None])[:, 0]
    t = c["temperature"]
    ours, theirs = (logits / t).log_softmax(-1), (teacher.logits(rows).detach() / t).log_softmax(-1)
    return -t * t * F.kl_div(ours, theirs, reduction="none", log_target=True).sum(-1)


def make():
    entries = {}
    for name, changes in CASES.items():
        c = BASE | changes
        student, teacher = Decoder(c, make_weights(c, "")), Decoder(c, make_weights(c, "teacher's "))
        found = torch.cat([values(c, student, teacher, tokens) for tokens in tokens_of(c)])
        assert found.dtype == torch.float64
        (found * torch.tensor(slopes(len(found)), dtype=torch.float64)).sum().backward()
        gradients = {weight: told(weight, w.grad) for weight, w in student.w.items()}
        assert all(told["norm"] > 0 for told in gradients.values())
        entries[name] = {**c, "values": [nine(x) for x in found], "gradients": gradients}
        print(name, len(found), f"{float(found.detach().mean()):.3f}", min(told["norm"] for told in gradients.values()))
    write("blocks.json", entries)


if __name__ == "__main__":
    make()
