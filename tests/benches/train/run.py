#!/usr/bin/env python3
"""Training beside PyTorch, in turns: steps a second, tokens a second and the most memory that each process held.

    python3 tests/benches/train/run.py MODEL DATA.jsonl [--rounds 5] [--only TEXT] [--folder DIR] [--compile]

MODEL is the directory of SmolLM2-135M-Instruct in f32, DATA has lines with `question` and `answer` (GSM8K's training problems).
Cases: a decoder of 4 layers, 128 wide, 0.84 million parameters, on 32 rows of 64 bytes; SmolLM2, all weights and LoRA of all
linear maps (rank 8), on 8 rows of 128 tokens. Each in f32 and in bf16: with PyTorch autocast over f32 weights, with `evo`
products of bf16 and f32 masters; the frozen weights of LoRA are stored as bf16.

Both run on two threads, a few steps each in turns, so that a busy machine slows both alike; the table has medians. Each step
learns the same rows, so both have the same loss at the first. PyTorch is eager with SDPA attention, fused AdamW; `--compile` adds
torch.compile, which takes minutes on SmolLM2. Needs torch, transformers and peft.
"""

import argparse
import json
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from peers import Ended, Peer, has_module  # noqa: E402

ROOT = HERE.parents[2]
THREADS = "2"
# What is trained, how many rows of how many tokens, and how many steps are taken at a time.
CASES = {
    "small": ("small", "full", 32, 64, 20),
    "SmolLM2": ("model", "full", 8, 128, 1),
    "SmolLM2 LoRA": ("model", "lora", 8, 128, 1),
}


def make(model, data, folder):
    """The models and the rows of tokens."""
    import torch
    import transformers as t

    rows = [json.loads(line) for line in data.read_text().splitlines()[:400]]
    text = "\n\n".join(row["question"] + "\n" + row["answer"] for row in rows)
    tokenizer = t.AutoTokenizer.from_pretrained(model)
    streams = {"small": list(text.encode()), "model": tokenizer(text, add_special_tokens=False)["input_ids"]}
    for of, _, count, length, _ in CASES.values():
        cut = [streams[of][i * (length + 1) : (i + 1) * (length + 1)] for i in range(count)]
        (folder / f"{of}.json").write_text(json.dumps(cut))
    if not (folder / "small").exists():
        torch.manual_seed(0)
        small = t.LlamaConfig(
            vocab_size=256, hidden_size=128, intermediate_size=352, num_hidden_layers=4, num_attention_heads=4,
            num_key_value_heads=4, max_position_embeddings=256, tie_word_embeddings=True, bos_token_id=None, eos_token_id=0,
            pad_token_id=None,
        )
        t.LlamaForCausalLM(small).save_pretrained(folder / "small")
    if not (folder / "bf16").exists():
        t.AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16).save_pretrained(folder / "bf16")
    return {"small": folder / "small", "model": model, "bf16": folder / "bf16"}


def build(profile):
    command = ["cargo", "bench", "--no-run", "--workspace", "--bench", "train", "--profile", profile, "--message-format=json"]
    made = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = [json.loads(line) for line in made.splitlines()]
    return next(m["executable"] for m in found if m.get("executable") and m["target"]["name"] == "train")


def start(binary, places, folder, name, dtype, kinds):
    """The peers of one case, `evo` first."""
    of, mode, *_, steps = CASES[name]
    stored = "bf16" if (mode, dtype) == ("lora", "bf16") else of
    arguments = [str(folder / f"{of}.json"), mode, dtype, THREADS]
    peers = [Peer("evo", [binary, str(places[stored]), *arguments], {steps})]
    for kind in kinds:
        script = [sys.executable, str(HERE / "peer_torch.py"), str(places[of]), *arguments]
        peers.append(Peer(f"PyTorch {kind}", [*script, kind], {steps}))
    return peers


def measure(peers, steps, rounds):
    """The first step warms up, and tells the loss that all begin with. Returns the peers that answered."""
    left = []
    for peer in peers:
        try:
            peer.first = peer.line("1")[1]
            left.append(peer)
        except Ended as error:
            if peer.name == "evo":
                raise
            print(f"{peer.name} is left out: {error}", file=sys.stderr)
    for _ in range(rounds):
        for peer in left:
            took, _ = peer.line(str(steps))
            peer.times.setdefault("step", []).append(took / steps)
    for peer in left:
        peer.peak = peer.line("peak")[0]
    return left


def row(name, dtype, peers):
    _, _, count, length, _ = CASES[name]
    evo, *others = peers
    best = min(others, key=lambda peer: peer.median("step"), default=None)
    cells = []
    for peer in peers:
        rate = 1 / peer.median("step")
        cells.append(f"{peer.name}: {rate:.3g} steps/s, {rate * count * length:.4g} tokens/s, {peer.peak / 1e6:.0f} MB")
        if abs(peer.first / evo.first - 1) > (2e-2 if dtype == "bf16" else 1e-4):
            print(f"{name}, {dtype}: first losses differ: evo {evo.first}, {peer.name} {peer.first}", file=sys.stderr)
    ratio = f"{best.median('step') / evo.median('step'):.2f}" if best else "–"
    memory = f"{evo.peak / best.peak:.2f}" if best else "–"
    print(f"| {name} {count}×{length}, {dtype} | {'; '.join(cells)} | {ratio} | {memory} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="cases and formats that have this text")
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "target/train-bench")
    parser.add_argument("--profile", default="bench", help="how cargo builds")
    parser.add_argument("--compile", action="store_true", help="PyTorch compiled, too")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    places = make(arguments.model.resolve(), arguments.data, folder)
    binary = build(arguments.profile)
    kinds = ["eager", "compiled"] if arguments.compile else ["eager"]
    print("| case | | × as fast as the fastest peer (aim ≥ 1.0) | × its memory (aim ≤ 0.7) |\n|---|---|---|---|")
    for name, (_, mode, _, _, steps) in CASES.items():
        for dtype in ["f32", "bf16"]:
            if arguments.only not in f"{name} {dtype}":
                continue
            able = [kind for kind in kinds if mode != "lora" or has_module(f"PyTorch {kind}", "peft")]
            peers = start(binary, places, folder, name, dtype, able)
            row(name, dtype, measure(peers, steps, arguments.rounds))
            for peer in peers:
                peer.process.stdin.close()
                peer.process.wait()


if __name__ == "__main__":
    try:
        main()
    except Ended as error:
        sys.exit(f"evo: {error}")
