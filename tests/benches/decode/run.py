#!/usr/bin/env python3
"""The decoder on a real model beside transformers (eager and SDPA), llama.cpp and candle-transformers: rates, and how many times faster `evo` is.

    python3 tests/benches/decode/run.py MODEL.gguf GSM8K.jsonl [--rounds 3] [--only TEXT] [--folder DIR]

MODEL.gguf is SmolLM2-135M-Instruct as Q4_1; GSM8K.jsonl has lines with `question` and `answer`. All run in turns on two threads,
so that a busy machine slows all of them alike; the table has medians. What the peers need is made in `--folder` and kept there.
Needs torch, transformers and gguf; a peer that is not installed (llama_cpp, a Rust toolchain for candle) is named and left out.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
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


def amount(name, case):
    """How many units a case has."""
    if case["kind"] == "likelihood":
        return 200
    return sum(map(len, case["prompts"])) if case["kind"] == "prompt" else len(case["prompts"]) * case["new"]


class Peer:
    def __init__(self, name, command, formats, kinds):
        self.name, self.formats, self.kinds, self.times, self.checks = name, formats, kinds, {}, {}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def ask(self, key):
        self.process.stdin.write(" ".join(key) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if not answer:
            raise RuntimeError(self.process.stderr.read().strip().splitlines()[-1:] or ["it ended"])
        self.times.setdefault(key, []).append(float(answer[0]))
        self.checks[key] = float(answer[1])


def start(folder):
    build = ["cargo", "bench", "--no-run", "--workspace", "--bench", "decode", "--message-format=json"]
    made = subprocess.run(build, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = [json.loads(line) for line in made.splitlines()]
    binary = next(m["executable"] for m in found if m.get("executable") and m["target"]["name"] == "decode")
    kinds = ["prompt", "greedy", "likelihood"]
    peers = [Peer("evo", [binary, str(folder)], FORMATS, kinds)]
    for name, script, formats, module, more in [
        ("transformers eager", "peer_torch.py", ["f32", "bf16"], "transformers", ["eager"]),
        ("transformers SDPA", "peer_torch.py", ["f32", "bf16"], "transformers", ["sdpa"]),
        ("llama.cpp", "peer_llama.py", FORMATS, "llama_cpp", []),
    ]:
        if subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True).returncode:
            print(f"{name} is left out: no {module}", file=sys.stderr)
            continue
        peers.append(Peer(name, [sys.executable, str(HERE / script), str(folder), *more], formats, kinds))
    try:
        subprocess.run(["cargo", "build", "--release", "--target-dir", folder / "candle"], cwd=HERE / "candle", check=True)
        command = [str(folder / "candle/release/peer-candle"), str(folder)]
        peers.append(Peer("candle-transformers", command, FORMATS, ["prompt", "greedy"]))
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"candle-transformers is left out: {error}", file=sys.stderr)
    return peers


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("problems", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="cases and formats that have this text")
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "target/decode-bench")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    make_models(arguments.model.resolve(), arguments.folder)
    cases = make_cases(arguments.problems, arguments.folder)
    peers = start(arguments.folder.resolve())
    keys = [(f, c) for c in cases for f in FORMATS if arguments.only in f"{f} {c}"]
    for _ in range(arguments.rounds):
        for key in keys:
            for peer in list(peers):
                if key[0] in peer.formats and cases[key[1]]["kind"] in peer.kinds:
                    try:
                        peer.ask(key)
                    except (RuntimeError, OSError) as error:
                        print(f"{peer.name} is left out: {error}", file=sys.stderr)
                        peers.remove(peer)
    evo, others = peers[0], peers[1:]
    middle = lambda peer, key: statistics.median(peer.times[key])
    print("| | evo | " + " | ".join(f"{p.name} (evo is × as fast)" for p in others) + " |")
    print("|---|---|" + "---|" * len(others))
    for key in keys:
        units = amount(key[1], cases[key[1]])
        rate = lambda peer: units / middle(peer, key)
        cells = [f"{rate(p):.3g} ({rate(evo) / rate(p):.2f}×)" if key in p.times else "–" for p in others]
        unit = UNITS[key[1].split()[0]]
        print(f"| {key[1]}, {key[0]}, {unit} | {rate(evo):.4g} | " + " | ".join(cells) + " |")
        near = [p.name for p in others if key in p.checks and abs(p.checks[key] / evo.checks[key] - 1) > 0.02]
        if near:
            print(f"{key}: check sums differ: evo {evo.checks[key]:.6g}, {', '.join(near)}", file=sys.stderr)


main()
