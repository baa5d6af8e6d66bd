#!/usr/bin/env python3
"""Asks a language model behind llama-cpp-python's server and behind `evo serve`, by hand.

usage: endpoints.py --gguf FILE [--python PYTHON] [--evo PATH]

Both servers serve the same GGUF file on this machine. Against each: answers (streamed), an answer held to a JSON Schema, a prompt that is
too long, a server that goes away in the middle of an answer, and everything once more from the transcript alone, when nobody serves any more. PYTHON is one
that has `llama-cpp-python[server]`; without it, only `evo serve` is asked. Exit code 0: all is as it should be; 1: it is not.
"""

import argparse
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
PERSON = '{"type": "object", "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer", "minimum": 1, "maximum": 99}}, "required": ["name", "age"], "additionalProperties": false}'
LLM = 'let l = llm { endpoint: "%s", model: "default", temperature: 0, max_tokens: %d, at_once: 1, attempts: 2, deadline: 60s, price: free }\n'
ASK = LLM + 'print answers(l, ["What is the capital of France?", "Name a colour."])\nprint ask(l, "Invent a person.", schema: """' + PERSON + '""")\n'
LONG = LLM + 'print ask(l, "' + "word " * 20000 + '")\n'
SLOW = LLM + 'print ask(l, "Write a long story about the sea, in ten chapters.")\n'
failures = []


def check(holds, what, shown=""):
    print(("ok      " if holds else "FAILED  ") + what)
    if not holds:
        failures.append(what)
        print(shown)


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def served(command, port):
    """Starts a server, and waits until it answers."""
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=1).read()
            return server
        except OSError:
            if server.poll() is not None:
                sys.exit(f"the server ended: {command}")
            time.sleep(0.1)
    server.kill()
    sys.exit(f"the server does not answer: {command}")


def run(evo, folder, text, *options):
    (folder / "ask.evo").write_text(text)
    return subprocess.run([evo, "run", "ask.evo", *options], cwd=folder, capture_output=True, text=True, timeout=300)


def latest(folder):
    return max((folder / "runs").iterdir(), key=lambda path: path.stat().st_mtime)


def asked(evo, name, command, port):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="evo-endpoints-"))
    endpoint = f"http://127.0.0.1:{port}/v1"
    server = served(command, port)
    first = run(evo, folder, ASK % (endpoint, 60))
    check(first.returncode == 0, f"{name}: answers, streamed, and one of a schema", first.stderr)
    transcript = latest(folder)
    lines = [json.loads(line) for line in (transcript / "llm" / "calls.jsonl").read_text().splitlines()]
    answers = [line for line in lines if "response" in line]
    check(all(0 < line["usage"]["completion_tokens"] <= 60 for line in answers), f"{name}: tokens are counted", lines)
    person = [json.loads(line) for line in first.stdout.splitlines() if line.startswith("{")]
    check(len(person) == 1 and set(person[0]) == {"name", "age"}, f"{name}: the schema holds", first.stdout)
    print("        " + ", ".join(f"{line['latency']:.2f} s" for line in lines) + " for each call, refusals of a form included")
    long = run(evo, folder, LONG % (endpoint, 60))
    # llama-cpp-python ends a stream without a word instead of refusing.
    check("R0532" in long.stderr or "R0530" in long.stderr, f"{name}: a prompt that is too long gets no answer", long.stderr)
    (folder / "ask.evo").write_text(SLOW % (endpoint, 1500))
    slow = subprocess.Popen([evo, "run", "ask.evo"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(1.2)
    server.kill()
    server.wait()
    told = slow.communicate(timeout=120)[1]
    check(slow.returncode == 4 and "R0530" in told, f"{name}: a server that goes away cuts the run short", told)
    again = run(evo, folder, ASK % (endpoint, 60), "--replay", str(transcript))
    check((again.returncode, again.stdout) == (0, first.stdout), f"{name}: the same from its transcript, offline", again.stderr)
    shutil.rmtree(folder)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--gguf", required=True)
    arguments.add_argument("--python")
    arguments.add_argument("--evo")
    given = arguments.parse_args()
    built = [ROOT / "target" / profile / "evo" for profile in ("release", "debug")]
    evo = next((str(p) for p in ([given.evo] if given.evo else [*built, shutil.which("evo")]) if p and os.path.isfile(p)), None)
    if evo is None:
        sys.exit("no evo binary: build it, or name it with --evo")
    port = free_port()
    asked(evo, "evo serve", [evo, "serve", given.gguf, "--port", str(port)], port)
    if given.python:
        port = free_port()
        llama = [given.python, "-m", "llama_cpp.server", "--model", given.gguf, "--host", "127.0.0.1", "--port", str(port)]
        asked(evo, "llama-cpp-python", llama, port)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
