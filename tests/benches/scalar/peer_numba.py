"""The functions of `lang/benches/scalar/functions.evo` for numba. Answers as peer.c does, and `compile CASE` with microseconds."""

import math
import sys
import time

import numba
import numpy as np

SETS = 256


def rastrigin(x):
    total = 0.0
    for i in range(x.shape[0]):
        total += x[i] * x[i] - 10.0 * math.cos(6.283185307179586 * x[i])
    return 10.0 * x.shape[0] + total


def rosenbrock(x):
    total = 0.0
    for i in range(x.shape[0] - 1):
        valley, slope = x[i + 1] - x[i] * x[i], 1.0 - x[i]
        total += 100.0 * (valley * valley) + slope * slope
    return total


def formula(x):
    a, b, c, d = x[0], x[1], x[2], x[3]
    s = a * b + c * d
    t = (a - c) / (1.0 + b * b)
    u = math.sqrt(s * s + t * t + 0.5)
    v = math.exp(-(t * t)) * (u - 0.25 * a)
    w = max(a, b) - min(c, d) + abs(s - u)
    p = ((0.1 * u + 0.2) * u - 0.3) * u + 0.4
    q = (v + w) * (v - w) + p * p
    r = math.log(1.0 + q * q) / (2.0 + abs(p))
    z = math.cos(r) * s + (t if q > 0.0 else u)
    return z * z - 0.5 * r + w


CASES = {
    "rastrigin10": (rastrigin, 10),
    "rastrigin100": (rastrigin, 100),
    "rosenbrock10": (rosenbrock, 10),
    "rosenbrock100": (rosenbrock, 100),
    "formula": (formula, 4),
}


def driver(f):
    # All calls in compiled code: a call from Python alone costs more than most of these functions.
    fast = numba.njit(f)

    @numba.njit
    def all_sets(x, rounds):
        total = 0.0
        for _ in range(rounds):
            total = 0.0
            for s in range(x.shape[0]):
                total += fast(x[s])
        return total

    return all_sets


compiled = {}
for line in sys.stdin:
    *compiles, case = line.split()
    f, n = CASES[case]
    if compiles:
        start = time.perf_counter()
        numba.njit(f)(np.zeros(n))
        print((time.perf_counter() - start) * 1e6, flush=True)
        continue
    s, i = np.meshgrid(np.arange(SETS), np.arange(n), indexing="ij")
    x = (i * 7919 + s * 104729) % 10007 / 10007 * 4 - 2
    g = compiled.setdefault(f, driver(f))
    total = g(x, 1)
    rounds = 8
    while True:
        start = time.perf_counter()
        g(x, rounds)
        taken = time.perf_counter() - start
        if taken > 0.02:
            break
        rounds *= 2
    print(taken * 1e9 / (rounds * SETS), total, flush=True)
