#!/usr/bin/env python3
"""Holds `evo logits MODEL` to Hugging Face transformers, by hand: prompt ids, logits of the last position, greedy tokens.

usage: logits.py MODEL [--evo PATH] [--text T …] [--greedy N] [--tolerance D]

MODEL is a Hugging Face directory (such as one that `evo` saved) or a GGUF file (which also needs the Python package `gguf`).
Everything is computed in float32. The ids and the greedy tokens must be equal; logits may differ by the tolerance, whose
default of 2e-3 is far below what bfloat16 weights change (about 0.1). Exit code 0: they agree; 1: they do not; 2: no comparison.
Needs torch, transformers 4.56 or newer, and the `evo` binary on the path or in target/.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys

PROMPTS = [
    "Once upon a time, in a village by the sea, there lived",
    "def fibonacci(n):\n    ",
    "In 1969, café owners in Zürich said: “naïve — 12345 €” and 日本語 ",
    "12 + 5 = ",
]


def no_comparison(message):
    print(f"logits.py: {message}", file=sys.stderr)
    sys.exit(2)


def evo_binary(named):
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "target")
    built = [os.path.join(root, profile, "evo") for profile in ("release", "debug")]
    for path in [named] if named else [*built, shutil.which("evo")]:
        if path and os.path.isfile(path):
            return path
    no_comparison(f"no evo binary at {named}" if named else "no evo binary: build it, or name it with --evo")


def ours(evo, model, text, greedy):
    command = [evo, "logits", model, "--text", text, "--greedy", str(greedy), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        no_comparison(f"evo logits failed with exit code {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout)


class Theirs:
    """The model as transformers loads it, in float32, with the tokenizer it finds beside it (or inside the GGUF file)."""

    def __init__(self, model):
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.manual_seed(0)
        where, options = model, {}
        if model.endswith(".gguf"):
            where, options = os.path.dirname(os.path.abspath(model)), {"gguf_file": os.path.basename(model)}
        self.torch = torch
        self.tokenizer = AutoTokenizer.from_pretrained(where, **options)
        self.model = AutoModelForCausalLM.from_pretrained(
            where, dtype=torch.float32, attn_implementation="eager", **options
        ).eval()

    def logits(self, text, greedy):
        """The prompt's ids, its last logits, and exactly `greedy` ids with each step's gap between the best two."""
        ids = self.tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
        with self.torch.no_grad():
            step = self.model(ids, use_cache=True)
            last = step.logits[0, -1]
            chosen, gaps = [], []
            for _ in range(greedy):
                best = step.logits[0, -1].topk(2)
                chosen.append(int(best.indices[0]))
                gaps.append(float(best.values[0] - best.values[1]))
                step = self.model(best.indices[:1][None], past_key_values=step.past_key_values, use_cache=True)
        return ids[0].tolist(), last, chosen, gaps


def differences(theirs, mine, text, greedy, tolerance):
    """What disagrees for one prompt, as sentences; prints the figures."""
    ids, last, chosen, gaps = theirs.logits(text, greedy)
    if mine["tokens"] != ids:
        return [f"the prompt's ids differ: evo {mine['tokens']}, transformers {ids}"]
    if len(mine["last_logits"]) != len(last):
        return [f"evo gives {len(mine['last_logits'])} logits, transformers {len(last)}"]
    found = []
    gap = float((theirs.torch.tensor(mine["last_logits"]) - last).abs().max())
    print(f"  {text[:40]!r}: {len(ids)} ids, logits within {gap:.2e}, {greedy} greedy tokens, least gap {min(gaps):.3f}")
    if not gap <= tolerance:
        found.append(f"logits differ by {gap}")
    if mine["greedy"] != chosen:
        at = next((i for i, (a, b) in enumerate(zip(mine["greedy"], chosen)) if a != b), min(len(chosen), len(mine["greedy"])))
        found.append(f"greedy tokens part at step {at}: evo {mine['greedy'][at:at + 4]}, transformers {chosen[at:at + 4]}, gap {gaps[at]:.4f}")
    return found


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("model")
    arguments.add_argument("--evo")
    arguments.add_argument("--text", action="append")
    arguments.add_argument("--greedy", type=int, default=32)
    arguments.add_argument("--tolerance", type=float, default=2e-3)
    given = arguments.parse_args()
    if not os.path.exists(given.model):
        no_comparison(f"no model at {given.model}")
    evo = evo_binary(given.evo)
    try:
        theirs = Theirs(given.model)
    except Exception as error:  # transformers raises whatever it likes: for a saved model, not loading is the answer "no"
        print(f"transformers does not load {given.model}: {error}")
        sys.exit(1)
    print(f"{given.model}: evo against transformers")
    wrong = 0
    for text in given.text or PROMPTS:
        for sentence in differences(theirs, ours(evo, given.model, text, given.greedy), text, given.greedy, given.tolerance):
            wrong += 1
            print(f"  WRONG {text[:40]!r}: {sentence}")
    print("they disagree" if wrong else "they agree")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
