"""Losses of a small decoder over training steps, by transformers, peft and torch.optim: curves.json.

4 layers, 128 wide, weights and data by formula, AdamW; all weights, or adapters of frozen ones.
"""

import peft
import torch
import transformers as t

from formula import draw, nine, seed_of, weights, write

WIDTH, VOCABULARY, USED, BATCH = 128, 512, 61, 16
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
CONFIG = dict(
    vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=344, num_hidden_layers=4, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=64, rms_norm_eps=1e-5, tie_word_embeddings=True,
    rope_parameters=dict(rope_type="default", rope_theta=10_000.0), attention_dropout=0.0,
)


def sequence(i):
    """Tokens that follow from those before but for two bits of noise, and how many of them are given."""
    d = [int(x) for x in draw(seed_of(f"sequence {i}"), 36)]
    length, given, kind = 9 + d[0] % 24, 1 + d[1] % 4, d[2] % 2
    tokens = [d[3] % USED]
    for j in range(1, length):
        tokens.append((3 * tokens[-1] + 11 * kind + d[3 + j] % 4) % USED)
    return tokens, given


def batch(step):
    """Padded rows; targets, -100 where nothing is learned."""
    rows = [sequence(BATCH * step + j) for j in range(BATCH)]
    longest = max(len(tokens) for tokens, _ in rows)
    inputs, targets = torch.zeros(2, BATCH, longest - 1, dtype=torch.long)
    targets.fill_(-100)
    for row, (tokens, given) in enumerate(rows):
        inputs[row, : len(tokens) - 1] = torch.tensor(tokens[:-1])
        targets[row, given - 1 : len(tokens) - 1] = torch.tensor(tokens[given:])
    return inputs, targets


def decoder(dtype):
    config = t.LlamaConfig(**CONFIG)
    config._attn_implementation = "eager"
    model = t.LlamaForCausalLM(config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            norm = p.dim() == 1
            p.copy_(weights(name, p.shape, 0.1 if norm else 0.15, 1.0 if norm else 0.0))
    return model.to(dtype).eval()


def low_rank(targets, dora):
    def adapt(model):
        settings = peft.LoraConfig(r=8, lora_alpha=16, lora_dropout=0.0, target_modules=targets, use_dora=dora)
        model = peft.get_peft_model(model, settings, autocast_adapter_dtype=False)
        with torch.no_grad():
            for name, p in model.named_parameters():
                if ".lora_A." in name:
                    name = name.replace("base_model.model.", "").replace("lora_A.default.weight", "weight")
                    p.copy_(weights(f"A of {name}", p.shape, 0.1))
        assert all(p.dtype == model.dtype for p in model.parameters())
        return model

    return adapt


class Singular(torch.nn.Module):
    """U · diag(s · z) · Vᵀ in place of a weight."""

    def __init__(self, weight):
        super().__init__()
        u, s, vt = torch.linalg.svd(weight.detach().double(), full_matrices=False)
        for name, value in [("u", u), ("s", s), ("vt", vt)]:
            self.register_buffer(name, value.to(weight.dtype))
        self.z = torch.nn.Parameter(torch.ones_like(self.s))

    def forward(self, x):
        return x @ ((self.u * (self.s * self.z)) @ self.vt).T


def singular(model):
    for p in model.parameters():
        p.requires_grad_(False)
    for block in model.model.layers:
        for part in [block.self_attn, block.mlp]:
            for name, child in list(part.named_children()):
                if name in LINEAR:
                    setattr(part, name, Singular(child.weight))
    return model


RUNS = {
    "full": dict(adapt=lambda model: model, steps=100, rate=1e-3, weight_decay=0.01, clip=None),
    "clipped": dict(adapt=lambda model: model, steps=20, rate=1e-3, weight_decay=0.01, clip=0.5),
    "lora_qv": dict(adapt=low_rank(["q_proj", "v_proj"], False), steps=20, rate=1e-2, weight_decay=0.0, clip=None),
    "lora": dict(adapt=low_rank(LINEAR, False), steps=20, rate=5e-3, weight_decay=0.0, clip=None),
    "dora": dict(adapt=low_rank(LINEAR, True), steps=20, rate=5e-3, weight_decay=0.0, clip=None),
    "singular": dict(adapt=singular, steps=20, rate=5e-2, weight_decay=0.0, clip=None),
}


def curve(dtype, adapt, steps, rate, weight_decay, clip):
    model = adapt(decoder(dtype))
    learned = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=rate, weight_decay=weight_decay)
    losses = []
    for step in range(steps):
        inputs, targets = batch(step)
        # Padding lies behind, where a causal decoder does not see it.
        logits = model(input_ids=inputs, use_cache=False).logits
        assert logits.dtype == dtype
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(learned, clip)
        optimizer.step()
        losses.append(loss.item())
    return losses, sum(p.numel() for p in learned)


def make():
    entries = {}
    for name, run in RUNS.items():
        exact, count = curve(torch.float64, **run)
        rounded, _ = curve(torch.float32, **run)
        noise = max(abs(a / b - 1) for a, b in zip(rounded, exact))
        settings = {key: value for key, value in run.items() if key != "adapt"}
        entries[name] = {**settings, "learned": count, "noise": nine(noise), "losses": [nine(x) for x in exact]}
        print(name, count, f"{exact[0]:.4f} -> {exact[-1]:.4f}, f32 is off by {noise:.1e}", flush=True)
    write("curves.json", entries)


if __name__ == "__main__":
    make()
