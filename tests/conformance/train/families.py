"""Gradients of every tensor of the small models of all families, by transformers: families.json."""

import torch
import transformers as t

from formula import HERE, nine, slopes, told, write

MODELS = HERE.parent / "families"
# Three sequences, and which of their tokens are learned: an answer, everything, pieces.
LENGTHS = (23, 12, 31)
MASKS = [
    [i >= 9 for i in range(23)],
    [i >= 1 for i in range(12)],
    [i % 7 in (2, 3, 6) for i in range(31)],
]


def sequences():
    generator = torch.Generator().manual_seed(7)
    return [torch.randint(0, 61, (length,), generator=generator) for length in LENGTHS]


def load(name, dtype):
    more = {"experts_implementation": "eager"} if name == "mixtral" else {}
    cls = t.AutoModel if name == "bert" else t.AutoModelForCausalLM
    return cls.from_pretrained(MODELS / name, dtype=dtype, attn_implementation="eager", **more).eval()


def logits(name, model, ids):
    """Of an encoder: the products of its rows with the embeddings of words."""
    if name == "bert":
        return model(ids[None]).last_hidden_state[0] @ model.embeddings.word_embeddings.weight.T
    return model(ids[None]).logits[0]


def log_probabilities(name, model):
    found = []
    for ids, mask in zip(sequences(), MASKS):
        rows = logits(name, model, ids[:-1]).log_softmax(-1).gather(1, ids[1:, None])[:, 0]
        found.append(rows[torch.tensor(mask[1:])])
    return torch.cat(found)


def gradients(name, model):
    """By each tensor of the model's file."""
    found = log_probabilities(name, model)
    model.zero_grad()
    (found * torch.tensor(slopes(len(found)), dtype=found.dtype)).sum().backward()
    out = {}
    for key, p in model.named_parameters():
        if key.startswith("pooler."):
            continue
        gradient = p.grad
        if key.endswith("mlp.experts.gate_up_proj"):
            stem = key.replace("mlp.experts.gate_up_proj", "block_sparse_moe.experts")
            for i, one in enumerate(gradient):
                out[f"{stem}.{i}.w1.weight"], out[f"{stem}.{i}.w3.weight"] = one.chunk(2)
        elif key.endswith("mlp.experts.down_proj"):
            stem = key.replace("mlp.experts.down_proj", "block_sparse_moe.experts")
            for i, one in enumerate(gradient):
                out[f"{stem}.{i}.w2.weight"] = one
        else:
            out[key.replace("mlp.gate.weight", "block_sparse_moe.gate.weight") if name == "mixtral" else key] = gradient
    return found.detach(), out


def make():
    entries = {"sequences": [ids.tolist() for ids in sequences()], "learned": MASKS}
    count = sum(sum(mask[1:]) for mask in MASKS)
    entries["slopes"] = slopes(count)
    for path in sorted(MODELS.iterdir()):
        if not path.is_dir():
            continue
        name = path.name
        exact, by64 = gradients(name, load(name, torch.float64))
        rounded, by32 = gradients(name, load(name, torch.float32))
        assert exact.dtype == torch.float64 and len(exact) == count
        largest = max(float(g.norm()) for g in by64.values())
        noise = max(float((by32[key] - g).norm() / (g.norm() + 1e-3 * largest)) for key, g in by64.items())
        for key, gradient in by64.items():
            # A key's bias moves all scores of a query alike, which a softmax does not see.
            assert float(gradient.norm()) > 1e-6 * largest or "key.bias" in key, f"{name}: {key}"
        entries[name] = {
            "log_probabilities": [nine(x) for x in exact],
            "noise": {"log_probabilities": nine((rounded - exact).abs().max()), "gradients": nine(noise)},
            "gradients": {key: told(key, gradient) for key, gradient in by64.items()},
        }
        print(name, len(by64), entries[name]["noise"], flush=True)
    write("families.json", entries)


if __name__ == "__main__":
    make()
