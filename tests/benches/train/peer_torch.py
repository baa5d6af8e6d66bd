"""transformers (and peft) on PyTorch, for run.py: `peer_torch.py MODEL TOKENS full|lora f32|bf16 THREADS [eager|compiled]`.

Answers a line `STEPS` with the seconds these steps took and the loss of the last, and `peak` with the most memory that the
process ever held, in bytes. TOKENS is a file of rows as run.py writes it; each step learns all of them. As fast as PyTorch goes
on a CPU: SDPA attention, fused AdamW, gradients set to none; bf16 is autocast over f32 weights.
"""

import json
import pathlib
import sys
import time

import torch
import transformers

model, tokens, mode, dtype, threads, *more = sys.argv[1:]
torch.set_num_threads(int(threads))
transformers.logging.set_verbosity_error()
rows = torch.tensor(json.loads(pathlib.Path(tokens).read_text()))
net = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32, attn_implementation="sdpa")
if mode == "lora":
    import peft

    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    net = peft.get_peft_model(net, peft.LoraConfig(r=8, lora_alpha=16, lora_dropout=0.0, target_modules=targets))
net.train()
learned = [p for p in net.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(learned, lr=1e-4, weight_decay=0.0, fused=True)
run = torch.compile(net) if more == ["compiled"] else net


def step():
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bf16"):
        logits = run(input_ids=rows[:, :-1], use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), rows[:, 1:].flatten())
    loss.backward()
    torch.nn.utils.clip_grad_norm_(learned, 1.0, foreach=True)
    optimizer.step()
    return loss.item()


def peak():
    status = pathlib.Path("/proc/self/status").read_text().split("VmHWM:")[1]
    return 1024 * int(status.split()[0])


for line in sys.stdin:
    if line.strip() == "peak":
        print(peak(), flush=True)
        continue
    start = time.perf_counter()
    for _ in range(int(line)):
        loss = step()
    print(time.perf_counter() - start, loss, flush=True)
