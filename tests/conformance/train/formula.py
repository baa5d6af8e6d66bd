"""What the scripts here and the tests in Rust compute alike, so that neither weights nor data nor directions need to be kept.

`draw(seed, i)` is SplitMix64's output for the state `seed + (i + 1) · 0x9E3779B97F4A7C15` (Steele et al., 2014), modulo 2⁶⁴;
`uniform` takes its upper 24 bits to [-1, 1) in steps of 2⁻²³, which f32 holds exactly. The seed of a name is its FNV-1a hash.
"""

import json
import pathlib

import numpy as np
import torch

HERE = pathlib.Path(__file__).parent
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def seed_of(name):
    state = 0xCBF29CE484222325
    for byte in name.encode():
        state = (state ^ byte) * 0x100000001B3 % 2**64
    return state


def draw(seed, count):
    with np.errstate(over="ignore"):
        z = np.uint64(seed % 2**64) + np.arange(1, count + 1, dtype=np.uint64) * GOLDEN
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def uniform(name, count):
    return (draw(seed_of(name), count) >> np.uint64(40)).astype(np.float64) / 2.0**23 - 1.0


def weights(name, shape, scale, mean=0.0):
    """f32: mean + scale · uniform, each operation rounded to f32."""
    values = np.float32(mean) + np.float32(scale) * uniform(name, int(np.prod(shape))).astype(np.float32)
    return torch.from_numpy(values.reshape(shape))


def slopes(count):
    """The derivative of the loss by each log-probability; unlike, so that none can be forgotten."""
    return [-0.3 - 0.1 * (i % 5) for i in range(count)]


def nine(x):
    """Nine digits tell one f32 from the next."""
    return float(f"{x:.9g}")


def told(name, gradient):
    """Of a gradient: its length, its sum, its product with the direction `uniform("direction of " + name)`, its first 8 elements."""
    flat = gradient.detach().flatten().to(torch.float64)
    direction = torch.from_numpy(uniform(f"direction of {name}", flat.numel()))
    return {
        "shape": list(gradient.shape),
        "norm": nine(flat.norm()),
        "sum": nine(flat.sum()),
        "along": nine(flat @ direction),
        "first": [nine(x) for x in flat[:8]],
    }


def write(name, value):
    """One entry a line."""
    if isinstance(value, dict):
        lines = [f"{json.dumps(key)}: {json.dumps(entry)}" for key, entry in value.items()]
        text = "{\n" + ",\n".join(lines) + "\n}\n"
    else:
        text = "[\n" + ",\n".join(map(json.dumps, value)) + "\n]\n"
    (HERE / name).write_text(text)
