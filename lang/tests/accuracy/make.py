"""Writes the constants of `lang/src/ir/scalar/tables.rs` and the vectors of `lang/tests/accuracy/vectors.txt`.

Needs mpmath (1.3). From the repository's top: python3 lang/tests/accuracy/make.py
"""

import random
import struct
from pathlib import Path

import mpmath as mp

mp.mp.prec = 400
HERE = Path(__file__).resolve().parent
LANG = HERE.parent.parent


def bits(x):
    return struct.unpack("<Q", struct.pack("<d", float(x)))[0]


def head(x, n):
    """x cut to n significant bits, towards zero."""
    x = mp.mpf(x)
    if x == 0:
        return mp.mpf(0)
    _, exponent = mp.frexp(x)
    scale = mp.mpf(2) ** (n - exponent)
    return mp.mpf(int(x * scale)) / scale


def to_double(x):
    return mp.mpf(float(mp.mpf(x)))


def pair(x):
    high = to_double(x)
    return high, to_double(mp.mpf(x) - high)


def rust(x):
    x = float(x)
    return f"f64::from_bits(0x{bits(x):016x})"


def table(name, doc, rows):
    out = [f"/// {doc}", f"pub(super) static {name}: [[u64; {len(rows[0])}]; {len(rows)}] = ["]
    for row in rows:
        out.append("    [" + ", ".join(f"0x{bits(x):016x}" for x in row) + "],")
    return "\n".join([*out, "];", ""])


def constant(name, doc, x):
    return f"/// {doc}\npub(super) const {name}: f64 = {rust(x)};\n"


def exp_tables():
    step = mp.log(2) / 128
    high = head(step, 35)
    return [
        constant("EXP_STEPS", "128 / log(2).", 128 / mp.log(2)),
        constant("EXP_STEP_HIGH", "log(2) / 128 in 35 bits.", high),
        constant("EXP_STEP_LOW", "The rest of log(2) / 128.", step - high),
        table("EXP", "2^(j/128): the nearest double, and what it leaves.", [pair(mp.mpf(2) ** (mp.mpf(j) / 128)) for j in range(128)]),
    ]


def log_tables():
    grid = mp.mpf(2) ** 42
    ln2 = mp.log(2)
    high = mp.floor(ln2 * grid) / grid
    rows = []
    first = 0x3FE6000000000000
    for i in range(128):
        low, up = first + (i << 45), first + ((i + 1) << 45)
        edges = [struct.unpack("<d", struct.pack("<Q", b))[0] for b in (low, up)]
        middle = (mp.mpf(edges[0]) + edges[1]) / 2
        inverse = mp.nint(mp.mpf(512) / middle) / 512
        if edges[0] == 1.0 or edges[1] == 1.0:
            inverse = mp.mpf(1)
        value = -mp.log(inverse)
        top = mp.nint(value * grid) / grid
        rows.append([inverse, top, to_double(value - top)])
    return [
        constant("LN2_HIGH", "log(2) in multiples of 2^-42.", high),
        constant("LN2_LOW", "The rest of log(2).", ln2 - high),
        table("LOG", "For each 128th of a binade from 0.6875: the inverse of a number in it, in 10 bits, and its logarithm, as a multiple of 2^-42 and the rest.", rows),
    ]


def sin_tables():
    step = mp.pi / 64
    p1 = head(step, 33)
    p2 = head(step - p1, 33)
    return [
        constant("ARC_STEPS", "64 / pi.", 64 / mp.pi),
        constant("ARC_1", "pi / 64 in 33 bits.", p1),
        constant("ARC_2", "The next 33 bits of pi / 64.", p2),
        constant("ARC_3", "The rest of pi / 64.", step - p1 - p2),
        table(
            "SIN",
            "sin(2 pi j / 128), a quarter more than once around: the nearest double, and what it leaves.",
            [pair(mp.sin(2 * mp.pi * j / 128) if j % 64 else mp.mpf(0)) for j in range(160)],
        ),
    ]


FUNCTIONS = {
    "exp": (mp.exp, lambda r: r.choice([r.uniform(-1, 1), r.uniform(-745, 709.7), r.gauss(0, 1e-3), r.uniform(-708, -745.1)])),
    "log": (mp.log, lambda r: r.choice([r.uniform(0.5, 2), 1 + r.gauss(0, 1e-3), 2.0 ** r.uniform(-1074, 1023), 1 + r.uniform(-1, 1) * 2.0**-r.randint(8, 50)])),
    "sin": (mp.sin, None),
    "cos": (mp.cos, None),
    "tanh": (mp.tanh, lambda r: r.choice([r.uniform(-1, 1), r.uniform(-20, 20), r.gauss(0, 1e-3), r.uniform(0.2, 0.6)])),
    "sigmoid": (lambda x: 1 / (1 + mp.exp(-x)), lambda r: r.choice([r.uniform(-5, 5), r.uniform(-700, 60)])),
    "softplus": (lambda x: mp.log1p(mp.exp(x)), lambda r: r.choice([r.uniform(-5, 5), r.uniform(-700, 60)])),
    "log_sigmoid": (lambda x: -mp.log1p(mp.exp(-x)), lambda r: r.choice([r.uniform(-5, 5), r.uniform(-60, 700)])),
    "erf": (mp.erf, lambda r: r.choice([r.uniform(-3, 3), r.uniform(-6, 6), r.gauss(0, 1e-3)])),
}


def angle(r):
    near = lambda: float(mp.pi / 2 * r.randint(-60000, 60000)) * (1 + r.choice([0, 0, 1e-15, 1e-9]))
    return r.choice([r.uniform(-4, 4), r.uniform(-100, 100), r.uniform(-5e4, 5e4), near(), r.gauss(0, 1e-3), r.uniform(-1e18, 1e18)])


def vectors():
    lines = ["# function, argument, result, what the result leaves: the bits of doubles. Made by make.py beside this file."]
    for name, (f, draw) in FUNCTIONS.items():
        r = random.Random(name)
        for _ in range(600):
            x = (draw or angle)(r)
            high, low = pair(f(mp.mpf(x)))
            lines.append(f"{name} {bits(x):016x} {bits(high):016x} {bits(low):016x}")
    r = random.Random("pow")
    for _ in range(600):
        x, y = r.choice([(r.uniform(0, 4), r.uniform(-9, 9)), (2.0 ** r.uniform(-300, 300), r.uniform(-3, 3)), (1 + r.gauss(0, 1e-4), r.uniform(-1e5, 1e5))])
        high, low = pair(mp.mpf(x) ** mp.mpf(y))
        lines.append(f"pow {bits(x):016x} {bits(y):016x} {bits(high):016x} {bits(low):016x}")
    return "\n".join(lines) + "\n"


text = '//! The constants of [`math`](super::math), made by `lang/tests/accuracy/make.py`. Doubles by their bits.\n\n'
text += "\n".join(exp_tables() + log_tables() + sin_tables())
(LANG / "src/ir/scalar/tables.rs").write_text(text)
(HERE / "vectors.txt").write_text(vectors())
