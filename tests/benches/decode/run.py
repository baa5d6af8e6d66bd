#!/usr/bin/env python3
"""The decoder on a real model beside transformers (eager and SDPA), llama.cpp and candle-transformers.

    python3 tests/benches/decode/run.py MODEL.gguf GSM8K.jsonl [--rounds 3] [--only TEXT] [--folder DIR]

MODEL.gguf is SmolLM2-135M-Instruct as Q4_1; GSM8K.jsonl has lines with `question` and `answer`. All run in turns on two threads,
so that a busy machine slows all of them alike; the table has medians, how many times faster `evo` is than the best peer of the
same weight format, what is aimed at, and which share `evo` has of the rate that the machine could reach (see `roofline.py`).
What the peers need is made in `--folder` and kept there. Needs torch, transformers and gguf; a peer that is not installed
(llama_cpp, a Rust toolchain for candle) is named and left out. `--peers` keeps those whose names have one of some texts.
"""

import argparse
import json
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from peers import Ended, Peer, ask_all, has_module  # noqa: E402
from roofline import Machine, Shape  # noqa: E402

ROOT = HERE.parents[2]
FORMATS = ["f32", "bf16", "q4_1"]
UNITS = {"prompt": "tokens/s", "greedy": "tokens/s", "likelihood": "examples/s", "choices": "examples/s"}


def make_models(source, folder):
    """The model as Hugging Face directories and as GGUF files, in each format."""
    import gguf
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if (folder / "ready").exists():
        return
    loaded = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    if hasattr(loaded.config, "quantization_config"):
        del loaded.config.quantization_config  # what is read is dequantised, and may be saved
    model = AutoModelForCausalLM.from_config(loaded.config, dtype=torch.float32)
    model.load_state_dict(loaded.state_dict())
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    for name, dtype in [("f32", torch.float32), ("bf16", torch.bfloat16)]:
        model.to(dtype).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    (folder / "q4_1.gguf").write_bytes(source.read_bytes())
    reader = gguf.GGUFReader(source)
    kinds = {"f32": gguf.GGMLQuantizationType.F32, "bf16": gguf.GGMLQuantizationType.BF16}
    for name, kind in kinds.items():
        writer = gguf.GGUFWriter(folder / f"{name}.gguf", reader.fields["general.architecture"].contents())
        for field in reader.fields.values():
            if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.file_type"):
                continue
            sub = field.types[1] if len(field.types) > 1 else None
            writer.add_key_value(field.name, field.contents(), field.types[0], sub)
        for tensor in reader.tensors:
            data = gguf.dequantize(tensor.data, tensor.tensor_type)
            kept = kind if len(tensor.shape) > 1 else gguf.GGMLQuantizationType.F32
            writer.add_tensor(tensor.name, gguf.quantize(data, kept), raw_dtype=kept)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    (folder / "ready").touch()


def make_cases(problems, folder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder / "f32")
    rows = [json.loads(line) for line in problems.read_text().splitlines()]
    ids = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]
    text = ids("\n\n".join(row["question"] + "\n" + row["answer"] for row in rows[:400]))
    cut = lambda n, length: [text[i * length : (i + 1) * length] for i in range(n)]
    cases = {
        "prompt 1x512": {"kind": "prompt", "prompts": cut(1, 512)},
        "prompt 16x64": {"kind": "prompt", "prompts": cut(16, 64)},
    }
    for batch, new in [(1, 64), (16, 48), (64, 32)]:
        cases[f"greedy {batch}"] = {"kind": "greedy", "prompts": cut(batch, 16), "new": new}
    asked = [(ids(row["question"] + "\nAnswer:"), row["answer"]) for row in rows[:200]]
    pairs = [(prompt, ids(" " + answer)) for prompt, answer in asked]
    cases["likelihood 200"] = {"kind": "likelihood", "pairs": pairs}
    numbers = [int(answer.rsplit("####", 1)[1].strip().replace(",", "")) for _, answer in asked]
    choices = [[n, n + 1, n * 2 + 3, abs(n - 10) + 7] for n in numbers]
    quiz = [(prompt, ids(f" {choice}")) for (prompt, _), of in zip(asked, choices) for choice in of]
    cases["choices 200"] = {"kind": "likelihood", "pairs": quiz}
    (folder / "cases.json").write_text(json.dumps(cases))
    return cases


def amount(case):
    """How many units a case has: examples, tokens read, or tokens written."""
    if case["kind"] == "likelihood":
        return 200
    return sum(map(len, case["prompts"])) if case["kind"] == "prompt" else len(case["prompts"]) * case["new"]


def aims(name, form):
    """How many times as fast as which peers `evo` is to be; the empty text is any peer."""
    kind, size = name.split()
    if kind == "prompt":
        return {"f32": {"": 1.1}, "bf16": {"": 1.5}}.get(form, {})
    if kind == "greedy" and size == "1":
        return {"transformers": 2.0, "llama.cpp": 1.0}
    return {"": 2.0} if kind == "greedy" else {"": 3.0}


def start(folder, cases, kept):
    """The peers, `evo` first."""
    build = ["cargo", "bench", "--no-run", "--workspace", "--bench", "decode", "--message-format=json"]
    made = subprocess.run(build, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = [json.loads(line) for line in made.splitlines()]
    binary = next(m["executable"] for m in found if m.get("executable") and m["target"]["name"] == "decode")
    able = lambda formats, kinds: {f"{f} {c}" for f in formats for c, case in cases.items() if case["kind"] in kinds}
    kinds = ["prompt", "greedy", "likelihood"]
    peers = [Peer("evo", [binary, str(folder)], able(FORMATS, kinds))]
    wanted = lambda name: not kept or any(text in name for text in kept)
    for name, script, formats, module, more in [
        ("transformers eager", "peer_torch.py", ["f32", "bf16"], "transformers", ["eager"]),
        ("transformers SDPA", "peer_torch.py", ["f32", "bf16"], "transformers", ["sdpa"]),
        ("llama.cpp", "peer_llama.py", FORMATS, "llama_cpp", []),
    ]:
        if wanted(name) and has_module(name, module):
            command = [sys.executable, str(HERE / script), str(folder), *more]
            peers.append(Peer(name, command, able(formats, kinds)))
    if not wanted("candle-transformers"):
        return peers
    try:
        subprocess.run(["cargo", "build", "--release", "--target-dir", folder / "candle"], cwd=HERE / "candle", check=True)
        command = [str(folder / "candle/release/peer-candle"), str(folder)]
        peers.append(Peer("candle-transformers", command, able(FORMATS, ["prompt", "greedy"])))
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"candle-transformers is left out: {error}", file=sys.stderr)
    return peers


def table(peers, cases, keys, machine, shape):
    evo, others = peers[0], peers[1:]
    names = ["evo", *(p.name for p in others), "best peer", "evo is × as fast", "aim", "of the roofline"]
    print("| | " + " | ".join(names) + " |")
    print("|---|" + "---|" * len(names))
    for key in keys:
        form, name = key.split(" ", 1)
        rate = lambda peer: amount(cases[name]) / peer.median(key)
        able = [p for p in others if key in p.times]
        cells = [f"{rate(p):.4g}" if p in able else "–" for p in others]
        best = max(able, key=rate, default=None)
        ratio = rate(evo) / rate(best) if best else None
        goals = []
        for text, goal in aims(name, form).items():
            among = [rate(p) for p in able if text in p.name]
            if among:
                reached = rate(evo) / max(among)
                goals.append(f"{goal}×{f' {text} ({reached:.2f}×)' if text else ''}: {'reached' if reached >= goal else 'missed'}")
        share = shape.least_seconds(cases[name], form, machine) / evo.median(key)
        row = [f"{rate(evo):.4g}", *cells, best.name if best else "–", f"{ratio:.2f}" if best else "–", ", ".join(goals) or "–", f"{share:.0%}"]
        print(f"| {name}, {form}, {UNITS[name.split()[0]]} | " + " | ".join(row) + " |")
        near = [f"{p.name} {p.checks[key]:.6g}" for p in able if abs(p.checks[key] / evo.checks[key] - 1) > 0.02]
        if near:
            print(f"{key}: check sums differ: evo {evo.checks[key]:.6g}, {', '.join(near)}", file=sys.stderr)
    print(f"\nThe machine: {machine.flops / 1e9:.1f} GFLOP/s of f32, {machine.bandwidth / 1e9:.2f} GB/s read, on two threads.")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("problems", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="cases and formats that have this text")
    parser.add_argument("--peers", nargs="*", default=[], help="peers whose names have one of these texts")
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "target/decode-bench")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    make_models(arguments.model.resolve(), folder)
    cases = make_cases(arguments.problems, folder)
    peers = start(folder, cases, arguments.peers)
    keys = [f"{f} {c}" for c in cases for f in FORMATS if arguments.only in f"{f} {c}"]
    peaks = []
    for _ in range(arguments.rounds):
        peaks.append(peers[0].line("peak"))
        ask_all(peers, keys, 1)
    table(peers, cases, [key for key in keys if key in peers[0].times], Machine.best(peaks), Shape.read(folder))


if __name__ == "__main__":
    try:
        main()
    except Ended as error:
        sys.exit(f"evo: {error}")
