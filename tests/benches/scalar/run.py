"""Scalar functions compiled by `evo` beside the same by hand in Rust and in C, and in LuaJIT, numba, PyTorch and rhai.

All run in turns, one measurement of 20 ms after another, so that a busy machine slows all of them alike; the table has the
medians, as ratios to Rust by hand built for the same CPU. A peer that is not installed is named and left out.

    python3 tests/benches/scalar/run.py [--rounds 15] [--bench PROGRAM]
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
CASES = ["rastrigin10", "rastrigin100", "rosenbrock10", "rosenbrock100", "formula"]


class Peer:
    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if not answer:
            raise RuntimeError(f"no answer to `{line}`")
        return [float(x) for x in answer]


def build():
    """The benchmark's program, built as a release of the project is."""
    command = ["cargo", "bench", "--locked", "-p", "evo-lang", "--bench", "scalar", "--no-run"]
    made = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, check=True)
    line = next(line for line in made.stderr.splitlines() if "Executable" in line)
    return str(ROOT / line.split("(")[1].rstrip(")"))


def build_rust(scratch):
    """The functions by hand, for this CPU."""
    command = ["rustc", "--edition=2024", "-C", "opt-level=3", "-C", "target-cpu=native", "-o", f"{scratch}/rust"]
    subprocess.run([*command, str(HERE / "peer.rs")], cwd=ROOT, check=True)
    return f"{scratch}/rust"


def build_rhai():
    target = ROOT / "target/peer-rhai"
    command = ["cargo", "build", "--release", "--manifest-path", str(HERE / "rhai/Cargo.toml"), "--target-dir", str(target)]
    made = subprocess.run(command, env={**os.environ, "RUSTFLAGS": "-C target-cpu=native"}, capture_output=True)
    return str(target / "release/peer-rhai") if made.returncode == 0 else None


def has(module):
    return subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True).returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--bench", help="the benchmark's program, if it is built already")
    args = parser.parse_args()
    rounds, scratch = args.rounds, tempfile.mkdtemp()
    bench = args.bench or build()
    peers = {"Rust by hand": Peer(build_rust(scratch))}
    peers["evo, one call each"] = Peer(bench, "--serve", "ours")
    peers["evo, all in one call"] = Peer(bench, "--serve", "many")
    missing, gcc_time = [], None
    if shutil.which("gcc"):
        start = time.perf_counter()
        command = ["gcc", "-O3", "-march=native", str(HERE / "peer.c"), "-o", f"{scratch}/peer", "-lm"]
        subprocess.run(command, check=True)
        gcc_time = (time.perf_counter() - start) * 1e6
        peers["C, gcc -O3"] = Peer(f"{scratch}/peer")
    else:
        missing.append("gcc")
    if shutil.which("luajit"):
        peers["LuaJIT"] = Peer("luajit", str(HERE / "peer.lua"))
    else:
        missing.append("luajit")
    for module, name, script in [("numba", "numba", "peer_numba.py"), ("torch", "PyTorch", "peer_torch.py")]:
        if has(module):
            peers[name] = Peer(sys.executable, str(HERE / script))
        else:
            missing.append(module)
    rhai = build_rhai()
    if rhai:
        peers["rhai"] = Peer(rhai)
    else:
        missing.append("rhai (its crate, from the registry)")

    times = {(case, name): [] for case in CASES for name in peers}
    for _ in range(rounds):
        for case in CASES:
            expected = None
            for name, peer in peers.items():
                ns, total = peer.ask(case)
                expected = total if expected is None else expected
                if abs(total / expected - 1) > 1e-9:
                    raise RuntimeError(f"{name} computes {case} to {total}, not {expected}")
                times[case, name].append(ns)

    base = "Rust by hand"
    others = [name for name in peers if name != base]
    print("| | Rust by hand, ns a call | " + " | ".join(others) + " |")
    print("|---" * (len(others) + 2) + "|")
    for case in CASES:
        # Ratios of one round each: what else the machine did then slowed both.
        ratios = [statistics.median(a / b for a, b in zip(times[case, name], times[case, base])) for name in others]
        print(f"| {case} | {statistics.median(times[case, base]):.1f} | " + " | ".join(f"{r:.2f}" for r in ratios) + " |")
    print("\n| compile time, µs | " + " | ".join(CASES) + " |")
    print("|---" * (len(CASES) + 1) + "|")
    for name in ["evo, one call each", "numba", "rhai"]:
        if name in peers:
            row = [statistics.median(peers[name].ask(f"compile {case}")[0] for _ in range(5)) for case in CASES]
            print(f"| {name.split(',')[0]} | " + " | ".join(f"{t:.0f}" for t in row) + " |")
    if gcc_time:
        print(f"| gcc, all in one file | {gcc_time:.0f} |" + " |" * (len(CASES) - 1))
    for name in missing:
        print(f"\n{name} is not installed and was left out.")


main()
