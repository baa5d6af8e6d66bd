"""llama.cpp (llama-cpp-python), for run.py: `peer_llama.py FOLDER`. Answers a line `FORMAT CASE` with seconds and a check sum.

Prompts and greedy decoding are batches of sequences, as llama.cpp's own server makes them. Likelihoods are batches of texts
whose logits are asked for where they are needed; the continuations of one prompt share its cache, as in llama.cpp's own
multiple-choice evaluation.

Built by GCC 12 its AMX path fails at random, since that compiler leaves out stores before `_tile_loadconfig`; so install it by
`CXXFLAGS='-fno-tree-dse -fno-dse' pip install llama-cpp-python`.
"""

import ctypes
import json
import pathlib
import sys
import time

import llama_cpp
import numpy as np

folder = pathlib.Path(sys.argv[1])
cases = json.loads((folder / "cases.json").read_text())
llama_cpp.llama_log_set(LOG := llama_cpp.llama_log_callback(lambda *_: None), ctypes.c_void_p(0))
llama_cpp.llama_backend_init()
SEQUENCES = 64
TOKENS = 512  # of a batch
opened = {}


def context(name):
    if name not in opened:
        params = llama_cpp.llama_model_default_params()
        model = llama_cpp.llama_model_load_from_file(str(folder / f"{name}.gguf").encode(), params)
        if not model:
            raise RuntimeError(f"cannot load {name}.gguf")
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = 8192
        params.n_batch = params.n_ubatch = TOKENS
        params.n_seq_max = SEQUENCES
        params.n_threads = params.n_threads_batch = 2
        params.kv_unified = True
        ctx = llama_cpp.llama_init_from_model(model, params)
        vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
        opened[name] = (ctx, vocab)
    return opened[name]


class Batch:
    def __init__(self, ctx, vocab):
        self.ctx, self.vocab = ctx, vocab
        self.batch = llama_cpp.llama_batch_init(TOKENS, 0, SEQUENCES)
        self.wanted = []

    def add(self, token, position, sequences, wanted):
        b, i = self.batch, self.batch.n_tokens
        b.token[i], b.pos[i], b.n_seq_id[i], b.logits[i] = token, position, len(sequences), wanted
        for n, sequence in enumerate(sequences):
            b.seq_id[i][n] = sequence
        b.n_tokens += 1
        if wanted:
            self.wanted.append(i)

    def run(self):
        """The logits of the wanted tokens, in order."""
        if llama_cpp.llama_decode(self.ctx, self.batch):
            raise RuntimeError("llama_decode failed")
        rows = [np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(self.ctx, i), (self.vocab,)).copy() for i in self.wanted]
        self.batch.n_tokens, self.wanted = 0, []
        return rows


def clear(ctx):
    llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(ctx), True)


def greedy(ctx, vocab, prompts, new):
    clear(ctx)
    batch, last, total = Batch(ctx, vocab), {}, 0
    for sequence, prompt in enumerate(prompts):
        for position, token in enumerate(prompt):
            batch.add(token, position, [sequence], position + 1 == len(prompt))
            if batch.batch.n_tokens == TOKENS:
                ended = [s for s in range(sequence + 1) if s not in last and (s < sequence or position + 1 == len(prompt))]
                last.update(zip(ended, batch.run()))
    if batch.batch.n_tokens:
        ended = [s for s in range(len(prompts)) if s not in last]
        last.update(zip(ended, batch.run()))
    rows = [last[s] for s in range(len(prompts))]
    for step in range(new):
        ids = [int(row.argmax()) for row in rows]
        total += sum(ids)
        if step + 1 < new:
            for sequence, token in enumerate(ids):
                batch.add(token, len(prompts[sequence]) + step, [sequence], True)
            rows = batch.run()
    return total


def likelihood(ctx, vocab, pairs):
    groups = {}
    for p, c in pairs:
        groups.setdefault(tuple(p), []).append(c)
    total, some, tokens, sequences = 0.0, [], 0, 0
    for p, cs in groups.items():
        cost = len(p) + sum(len(c) - 1 for c in cs)
        if some and (tokens + cost > TOKENS or sequences + len(cs) > SEQUENCES):
            total += likelihood_of(ctx, vocab, some)
            some, tokens, sequences = [], 0, 0
        some.append((p, cs))
        tokens, sequences = tokens + cost, sequences + len(cs)
    return total + likelihood_of(ctx, vocab, some)


def likelihood_of(ctx, vocab, groups):
    """The sum of log-probabilities of some prompts' continuations, in one batch if it can be."""
    clear(ctx)
    batch, asked, rows, first = Batch(ctx, vocab), [], [], 0

    def add(token, position, sequences, wanted):
        nonlocal rows
        if wanted:
            asked.append(wanted)
        batch.add(token, position, sequences, bool(wanted))
        if batch.batch.n_tokens == TOKENS:
            rows += batch.run()

    for p, cs in groups:
        own = list(range(first, first + len(cs)))
        first += len(cs)
        for position, token in enumerate(p):
            add(token, position, own, [c[0] for c in cs] if position + 1 == len(p) else [])
        for sequence, c in zip(own, cs):
            for n in range(len(c) - 1):
                add(c[n], len(p) + n, [sequence], [c[n + 1]])
    if batch.batch.n_tokens:
        rows += batch.run()
    total = 0.0
    for row, tokens in zip(rows, asked):
        most = row.max()
        total += float(row[tokens].sum() - len(tokens) * (most + np.log(np.exp(row - most).sum())))
    return total


for line in sys.stdin:
    name, case = line.strip().split(" ", 1)
    (ctx, vocab), case = context(name), cases[case]
    start = time.perf_counter()
    if case["kind"] == "likelihood":
        check = likelihood(ctx, vocab, case["pairs"])
    else:
        check = greedy(ctx, vocab, case["prompts"], case.get("new", 1))
    print(time.perf_counter() - start, check, flush=True)
