"""The least time in which a machine can answer a case of run.py: its matrix products at the peak rate of f32, or its weights read
once a pass at the peak rate of memory, whichever takes longer.

Counted is what cannot be left out: each distinct beginning of a text once, logits only where they are asked for, no padding.
Attention, norms and the cache are not counted, so a share of this roofline is never flattered.
"""

import dataclasses
import json

BYTES = {"f32": 4.0, "bf16": 2.0, "q4_1": 20 / 32}
HEAD_BYTES = {"f32": 4.0, "bf16": 2.0, "q4_1": 34 / 32}  # the file's head is Q8_0


@dataclasses.dataclass
class Machine:
    """f32 operations and bytes read, a second."""

    flops: float
    bandwidth: float

    @classmethod
    def best(cls, found):
        return cls(*map(max, zip(*found)))


@dataclasses.dataclass
class Shape:
    """Weights of all blocks, and of the head."""

    blocks: int
    head: int

    @classmethod
    def read(cls, folder):
        c = json.loads((folder / "f32/config.json").read_text())
        hidden, heads, kv = c["hidden_size"], c["num_attention_heads"], c["num_key_value_heads"]
        width = c.get("head_dim") or hidden // heads
        block = hidden * width * (2 * heads + 2 * kv) + 3 * hidden * c["intermediate_size"]
        return cls(c["num_hidden_layers"] * block, c["vocab_size"] * hidden)

    def least_pass(self, tokens, rows, form, machine):
        """Seconds of a pass over `tokens` tokens with the logits of `rows` of them."""
        operations = 2 * (self.blocks * tokens + self.head * rows)
        read = self.blocks * BYTES[form] + (self.head * HEAD_BYTES[form] if rows else 0)
        return max(operations / machine.flops, read / machine.bandwidth)

    def least_seconds(self, case, form, machine):
        if case["kind"] == "likelihood":
            tokens, rows = set(), set()
            for p, c in case["pairs"]:
                text = (*p, *c)
                hashes = [hash(text[: n + 1]) for n in range(len(text) - 1)]
                tokens.update(hashes)
                rows.update(hashes[len(p) - 1 :])
            return self.least_pass(len(tokens), len(rows), form, machine)
        batch = len(case["prompts"])
        first = self.least_pass(sum(map(len, case["prompts"])), batch, form, machine)
        return first + (case.get("new", 1) - 1) * self.least_pass(batch, batch, form, machine)
