"""The functions of `lang/benches/scalar/functions.evo` for PyTorch in double precision, a call a vector. Answers as peer.c does."""

import sys
import time

import torch

torch.set_num_threads(1)
SETS = 256


def rastrigin(x):
    return 10.0 * x.shape[0] + (x * x - 10.0 * torch.cos(6.283185307179586 * x)).sum()


def rosenbrock(x):
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


def formula(x):
    a, b, c, d = x.unbind()
    s = a * b + c * d
    t = (a - c) / (1.0 + b * b)
    u = torch.sqrt(s * s + t * t + 0.5)
    v = torch.exp(-(t * t)) * (u - 0.25 * a)
    w = torch.maximum(a, b) - torch.minimum(c, d) + torch.abs(s - u)
    p = ((0.1 * u + 0.2) * u - 0.3) * u + 0.4
    q = (v + w) * (v - w) + p * p
    r = torch.log(1.0 + q * q) / (2.0 + torch.abs(p))
    z = torch.cos(r) * s + torch.where(q > 0.0, t, u)
    return z * z - 0.5 * r + w


CASES = {
    "rastrigin10": (rastrigin, 10),
    "rastrigin100": (rastrigin, 100),
    "rosenbrock10": (rosenbrock, 10),
    "rosenbrock100": (rosenbrock, 100),
    "formula": (formula, 4),
}

with torch.inference_mode():
    for line in sys.stdin:
        f, n = CASES[line.strip()]
        s, i = torch.meshgrid(torch.arange(SETS), torch.arange(n), indexing="ij")
        x = (i * 7919 + s * 104729) % 10007 / torch.tensor(10007.0, dtype=torch.float64) * 4 - 2
        total = sum(float(f(row)) for row in x)
        rows = list(x)
        start = time.perf_counter()
        for row in rows:
            f(row)
        print((time.perf_counter() - start) * 1e9 / SETS, total, flush=True)
