"""What the benchmarks share: programs that are asked in turns, a line each, and answer with what it took and a check sum."""

import statistics
import subprocess
import sys
import tempfile


class Ended(Exception):
    """A peer that ended instead of answering."""


class Peer:
    """A program that answers each line it reads with a line of a time and a check sum; `cases` are what it can be asked."""

    def __init__(self, name, command, cases):
        self.name, self.cases, self.times, self.checks = name, cases, {}, {}
        self.errors = tempfile.TemporaryFile("w+", errors="replace")  # a pipe that nobody reads would fill up and stop it
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True
        )

    def line(self, text):
        """Its answer to a line: all numbers of it."""
        try:
            self.process.stdin.write(text + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        answer = self.process.stdout.readline().split()
        if not answer:
            code = self.process.wait()
            self.errors.seek(0)
            told = self.errors.read().strip().splitlines()[-20:]
            how = f"signal {-code}" if code < 0 else f"status {code}"
            raise Ended("\n    ".join([f"it ended with {how}, asked for `{text}`", *told]))
        return [float(word) for word in answer]

    def ask(self, case):
        took, check = self.line(case)
        self.times.setdefault(case, []).append(took)
        self.checks[case] = check

    def median(self, case):
        return statistics.median(self.times[case])


def ask_all(peers, cases, rounds):
    """Asks all peers each case in turns. A peer that ends is told of and asked no more."""
    asked = list(peers)
    for _ in range(rounds):
        for case in cases:
            for peer in list(asked):
                if case in peer.cases:
                    try:
                        peer.ask(case)
                    except Ended as error:
                        print(f"{peer.name} is left out from here: {error}", file=sys.stderr)
                        asked.remove(peer)


def has_module(name, module):
    """Whether this Python has a peer's module; says so if not."""
    found = subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True).returncode == 0
    if not found:
        print(f"{name} is left out: no {module}", file=sys.stderr)
    return found
