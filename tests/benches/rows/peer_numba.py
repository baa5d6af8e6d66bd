"""DPO and LRML with both gradients for numba, parallel and fastmath. Answers as peer.c does."""

import math
import sys
import time

import numba
import numpy as np

numba.set_num_threads(2)


@numba.njit(fastmath=True)
def softplus(x):
    return max(x, np.float32(0)) + math.log1p(math.exp(-abs(x)))


@numba.njit(fastmath=True)
def sigmoid(x):
    return np.float32(1) / (np.float32(1) + math.exp(min(max(-x, np.float32(-80)), np.float32(80))))


@numba.njit(parallel=True, fastmath=True)
def dpo(a, b, c, d, up, down):
    total = 0.0
    share = np.float32(0.05 / a.shape[0])
    for i in numba.prange(a.shape[0]):
        z = np.float32(0.05) * ((a[i] - c[i]) - (b[i] - d[i]))
        total += softplus(-z)
        g = -sigmoid(-z) * share
        up[i], down[i] = g, -g
    return total / a.shape[0]


@numba.njit(parallel=True, fastmath=True)
def lrml(a, b, c, d, up, down):
    total = 0.0
    one, steep, share = np.float32(1), np.float32(20), np.float32(0.05 / a.shape[0])
    for i in numba.prange(a.shape[0]):
        z = np.float32(0.05) * ((a[i] - c[i]) - (b[i] - d[i]))
        m, sp, s, e = sigmoid(z * steep), softplus(-z), sigmoid(-z), math.exp(-z)
        total += (one - m) * sp + m * e
        g = ((e - sp) * m * (one - m) * steep - (one - m) * s - m * e) * share
        up[i], down[i] = g, -g
    return total / a.shape[0]


for line in sys.stdin:
    case, rows = line.split()
    f, rows = {"dpo": dpo, "lrml": lrml}[case], int(rows)
    i = np.arange(rows, dtype=np.int64)
    columns = [(((i * 7919 + k * 104729) % 10007) / 10007 * 40 - 20).astype(np.float32) for k in range(6)]
    check = f(*columns)
    rounds = 1
    while True:
        start = time.perf_counter()
        for _ in range(rounds):
            f(*columns)
        taken = time.perf_counter() - start
        if taken > 0.03:
            break
        rounds *= 2
    print(taken * 1e9 / rounds / rows, check, flush=True)
