"""llama.cpp (llama-cpp-python), for run.py: `peer_llama.py FOLDER`. Answers a line `FORMAT CASE` with seconds and a check sum.

Prompts and greedy decoding are batches of sequences, as llama.cpp's own server makes them; likelihoods are batches of pairs
whose logits are asked for where they are needed.
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
opened = {}


def context(name):
    if name not in opened:
        params = llama_cpp.llama_model_default_params()
        model = llama_cpp.llama_model_load_from_file(str(folder / f"{name}.gguf").encode(), params)
        if not model:
            raise RuntimeError(f"cannot load {name}.gguf")
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = 64 * 512
        params.n_batch = params.n_ubatch = 512
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
        self.batch = llama_cpp.llama_batch_init(512, 0, 1)
        self.wanted = []

    def add(self, token, position, sequence, wanted):
        b, i = self.batch, self.batch.n_tokens
        b.token[i], b.pos[i], b.n_seq_id[i], b.logits[i] = token, position, 1, wanted
        b.seq_id[i][0] = sequence
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
            batch.add(token, position, sequence, position + 1 == len(prompt))
            if batch.batch.n_tokens == 512:
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
                batch.add(token, len(prompts[sequence]) + step, sequence, True)
            rows = batch.run()
    return total


def likelihood(ctx, vocab, pairs):
    total = 0.0
    for p, c in pairs:
        clear(ctx)
        batch, text, rows = Batch(ctx, vocab), (p + c)[:-1], []
        for position, token in enumerate(text):
            batch.add(token, position, 0, position + 1 >= len(p))
            if batch.batch.n_tokens == 512:
                rows += batch.run()
        if batch.batch.n_tokens:
            rows += batch.run()
        for row, token in zip(rows, c):
            most = row.max()
            total += float(row[token] - most - np.log(np.exp(row - most).sum()))
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
