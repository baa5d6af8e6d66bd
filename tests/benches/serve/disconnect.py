#!/usr/bin/env python3
"""Many requests to `evo serve`, of which a tenth break off: no answer is wrong, and nothing stays open.

    python3 tests/benches/serve/disconnect.py EVO MODEL [--requests 10000] [--connections 32]

MODEL is a directory or GGUF file. Some prompts are answered once, alone; then all are asked again and again by many connections
at once, and every answer is held to the first. Of ten requests one is a stream that is broken off: before the first event, or
after some. At the end the server must have no open request, no file open that it had not at the start, and no memory that
grows with the requests: what the second half of them adds is told, and fails the run over 5 % of the whole.
"""

import argparse
import json
import pathlib
import random
import socket
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from servers import HOST, Client, Server  # noqa: E402

PROMPTS = [f"{'A list of numbers: ' * (1 + i % 5)}{i}, {i + 1}," for i in range(40)]


def break_off(server, prompt, tokens, events):
    """Asks for a stream and goes away after some events."""
    body = json.dumps({"model": "default", "prompt": prompt, "max_tokens": tokens, "temperature": 0, "stream": True})
    head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((HOST, server.port), timeout=600) as stream:
        stream.sendall((head + body).encode())
        seen = b""
        while seen.count(b"data: ") < events:
            some = stream.recv(4096)
            if not some:
                return
            seen += some


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evo")
    parser.add_argument("model")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=8)
    asked = parser.parse_args()
    with Server.evo(asked.evo, asked.model) as server:
        first = Client(server)
        right = [first.complete(prompt, asked.tokens) for prompt in PROMPTS]
        first.connection.close()
        files = server.files()
        wrong, left, sizes, lock = [], list(range(asked.requests)), [], threading.Lock()

        def work():
            client = Client(server)
            while True:
                with lock:
                    if not left or wrong:
                        client.connection.close()
                        return
                    number = left.pop()
                    if number % (asked.requests // 20) == 0:
                        sizes.append(server.resident())
                draw = random.Random(number)
                which = draw.randrange(len(PROMPTS))
                try:
                    if number % 10 == 0:
                        break_off(server, PROMPTS[which], asked.tokens, draw.randrange(asked.tokens))
                        continue
                    answer = client.complete(PROMPTS[which], asked.tokens)
                    if answer != right[which]:
                        wrong.append((number, answer, right[which]))
                except Exception as error:
                    wrong.append((number, error))

        start = time.perf_counter()
        threads = [threading.Thread(target=work) for _ in range(asked.connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.perf_counter() - start
        if wrong:
            sys.exit(f"wrong: {wrong[:3]}")
        for _ in range(100):
            told = server.get("/metrics")[1].splitlines()
            still = [line for line in told if line.startswith(("evo_requests_open", "evo_answers_")) and not line.endswith(" 0")]
            time.sleep(0.1)  # what was asked is closed by now
            now = server.files()
            if now <= files and not still:
                break
        half = sizes[len(sizes) // 2 :]
        growth = (half[-1] - half[0]) / half[0]
        print(f"{asked.requests} requests in {took:.0f} s by {asked.connections} connections, a tenth broken off: no wrong answer")
        print(f"open at the end: {still or 'nothing'}; files at the start {files}, at the end {now}")
        print(f"memory, MiB: {[size >> 20 for size in sizes]}; the second half adds {growth:.1%}")
        if now > files or still or growth > 0.05:
            sys.exit("something stays")


if __name__ == "__main__":
    main()
