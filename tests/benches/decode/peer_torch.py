"""transformers on PyTorch, for run.py: `peer_torch.py FOLDER eager|sdpa`. Answers a line `FORMAT CASE` with seconds and a check sum.

Prompts ask for the last token's logits alone. Greedy decoding is a loop of its own over a cache, which is faster than
`generate`. Likelihoods go as lm-evaluation-harness sends them: longest first, in padded batches of 16, prompts repeated for
each continuation, logits of all positions.
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
BATCH = 16


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


def likelihood(m, pairs):
    order = sorted(range(len(pairs)), key=lambda i: -len(pairs[i][0]) - len(pairs[i][1]))
    total = 0.0
    for first in range(0, len(order), BATCH):
        some = [pairs[i] for i in order[first : first + BATCH]]
        ids, mask = padded([(p + c)[:-1] for p, c in some], left=False)
        logprobs = torch.log_softmax(m(input_ids=ids, attention_mask=mask).logits.float(), -1)
        for row, (p, c) in enumerate(some):
            at = range(len(p) - 1, len(p) + len(c) - 1)
            total += float(logprobs[row, list(at), c].sum())
    return total


for line in sys.stdin:
    name, case = line.strip().split(" ", 1)
    m, case = model(name), cases[case]
    start = time.perf_counter()
    if case["kind"] == "likelihood":
        check = likelihood(m, case["pairs"])
    else:
        check = greedy(m, case["prompts"], case.get("new", 1))
    print(time.perf_counter() - start, check, flush=True)
