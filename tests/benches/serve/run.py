#!/usr/bin/env python3
"""`evo serve` beside llama-cpp-python's server, with the same weights, on two threads each.

    python3 tests/benches/serve/run.py EVO MODEL.gguf GSM8K.jsonl [--rounds 3] [--tokens 32]

EVO is the binary; GSM8K.jsonl has lines with `question`. One, 16 and 64 connections send questions one after the other, each
for a greedy completion; every connection waits for its answer before it asks again. Both servers are asked in turns, with prompts
that neither has seen. The table has requests and written tokens a second and the 50th and 95th percentile of a request's time.
Needs llama-cpp-python[server]; without it, `evo` runs alone.
"""

import argparse
import json
import pathlib
import statistics
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
from peers import has_module  # noqa: E402
from servers import Client, Server  # noqa: E402

# Connections, and requests in one round.
LOADS = [(1, 8), (16, 48), (64, 128)]


def load(server, prompts, connections, tokens):
    """Requests a second, tokens a second, and each request's seconds."""
    times, written, waiting, lock = [], [], list(prompts), threading.Lock()
    faults = []

    def work():
        client = Client(server)
        while True:
            with lock:
                if not waiting or faults:
                    return
                prompt = waiting.pop()
            start = time.perf_counter()
            try:
                _, count = client.complete(prompt, tokens)
            except Exception as error:
                faults.append(error)
                return
            with lock:
                times.append(time.perf_counter() - start)
                written.append(count)

    threads = [threading.Thread(target=work) for _ in range(connections)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - start
    if faults:
        sys.exit(f"{server.name}: {faults[0]}")
    return len(times) / took, sum(written) / took, times


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evo")
    parser.add_argument("model")
    parser.add_argument("problems", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=32)
    asked = parser.parse_args()
    questions = [json.loads(line)["question"] + "\n" for line in asked.problems.read_text().splitlines()]
    makes = [lambda: Server.evo(asked.evo, asked.model)]
    if has_module("llama-cpp-python", "llama_cpp.server"):
        makes.append(lambda: Server.llama(asked.model))
    servers = [make() for make in makes]
    found = {}
    try:
        for server in servers:
            load(server, questions[-2:], 1, asked.tokens)
        for _ in range(asked.rounds):
            for connections, requests in LOADS:
                prompts, questions = questions[:requests], questions[requests:]
                for server in servers:
                    told = load(server, prompts, connections, asked.tokens)
                    found.setdefault((connections, server.name), []).append(told)
                    print(f"{server.name}, {connections}: {told[0]:.2f} requests/s", file=sys.stderr, flush=True)
        memory = {server.name: server.resident() for server in servers}
    finally:
        for server in servers:
            server.__exit__()
    print("| connections | server | requests/s | tokens/s | p50, s | p95, s | times the peer |")
    print("|---|---|---|---|---|---|---|")
    for connections, _ in LOADS:
        rates = {s.name: statistics.median(r[0] for r in found[connections, s.name]) for s in servers}
        for server in servers:
            rounds = found[connections, server.name]
            tokens = statistics.median(r[1] for r in rounds)
            times = statistics.quantiles([t for r in rounds for t in r[2]], n=20, method="inclusive")
            ratio = f"{rates[server.name] / rates[servers[-1].name]:.2f}" if server is not servers[-1] else ""
            rate = rates[server.name]
            print(f"| {connections} | {server.name} | {rate:.2f} | {tokens:.1f} | {times[9]:.2f} | {times[18]:.2f} | {ratio} |")
    print("in memory at the end: " + ", ".join(f"{name} {size / 2**20:.0f} MiB" for name, size in memory.items()))


if __name__ == "__main__":
    main()
