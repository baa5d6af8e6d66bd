"""transformers on PyTorch, for run.py: `peer_torch.py FOLDER eager|sdpa`. Answers a line `FORMAT CASE` with seconds and a check sum.

Prompts ask for the last token's logits alone. Greedy decoding is a loop of its own over a cache, which is faster than
`generate`. Likelihoods go as lm-evaluation-harness sends them: longest first, in padded batches, logits of all positions,
texts that differ in nothing but their last token run once. The size of a batch is the fastest of `BATCHES`, tried on part of
the case before it is first measured.
"""

import json
import pathlib
import sys
import time

import torch
import transformers

folder, attention = pathlib.Path(sys.argv[1]), sys.argv[2]
torch.set_num_threads(2)
torch.set_grad_enabled(False)
transformers.logging.set_verbosity_error()
cases = json.loads((folder / "cases.json").read_text())
models = {}
BATCHES = [1, 4, 16, 48]
TRIED = 48  # texts
fastest = {}


def model(name):
    if name not in models:
        dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[name]
        models[name] = transformers.AutoModelForCausalLM.from_pretrained(
            folder / name, dtype=dtype, attn_implementation=attention
        ).eval()
    return models[name]


def padded(texts, left):
    most = max(map(len, texts))
    pad = [(most - len(text)) * [0] for text in texts]
    ids = torch.tensor([p + t if left else t + p for p, t in zip(pad, texts)])
    mask = torch.tensor([[0] * len(p) + [1] * len(t) if left else [1] * len(t) + [0] * len(p) for p, t in zip(pad, texts)])
    return ids, mask


def greedy(m, prompts, new):
    ids, mask = padded(prompts, left=True)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    out = m(input_ids=ids, attention_mask=mask, position_ids=positions, logits_to_keep=1, use_cache=new > 1)
    last, total = positions[:, -1:], 0
    for step in range(new):
        ids = out.logits[:, -1:].argmax(-1)
        total += int(ids.sum())
        if step + 1 < new:
            mask = torch.cat([mask, torch.ones_like(ids)], 1)
            last = last + 1
            out = m(input_ids=ids, attention_mask=mask, position_ids=last, past_key_values=out.past_key_values)
    return total


def likelihood(m, pairs, size):
    continuations = {}
    for p, c in pairs:
        continuations.setdefault(tuple((p + c)[:-1]), []).append((p, c))
    texts = sorted(continuations, key=lambda text: -len(text))
    total = 0.0
    for first in range(0, len(texts), size):
        some = texts[first : first + size]
        ids, mask = padded([list(text) for text in some], left=False)
        logits = m(input_ids=ids, attention_mask=mask, use_cache=False).logits
        for row, text in enumerate(some):
            for p, c in continuations[text]:
                logprobs = torch.log_softmax(logits[row, len(p) - 1 : len(p) + len(c) - 1].float(), -1)
                total += float(logprobs.gather(1, torch.tensor(c)[:, None]).sum())
    return total


def fastest_batch(m, key, pairs):
    if key not in fastest:
        some = pairs[:: max(1, len(pairs) // TRIED)]
        times = {}
        for size in BATCHES:
            start = time.perf_counter()
            likelihood(m, some, size)
            times[size] = time.perf_counter() - start
        fastest[key] = min(times, key=times.get)
    return fastest[key]


for line in sys.stdin:
    name, case = line.strip().split(" ", 1)
    m, key, case = model(name), (name, case), cases[case]
    size = fastest_batch(m, key, case["pairs"]) if case["kind"] == "likelihood" else None
    start = time.perf_counter()
    if size:
        check = likelihood(m, case["pairs"], size)
    else:
        check = greedy(m, case["prompts"], case.get("new", 1))
    print(time.perf_counter() - start, check, flush=True)
