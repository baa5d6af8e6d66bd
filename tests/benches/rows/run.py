"""Row programs beside C with libmvec, PyTorch (eager and compiled) and numba: DPO and LRML with both gradients, and a merge.

All run in turns, so that a busy machine slows all of them alike; the table has medians of nanoseconds a row, and how many
times faster `evo` is. A peer that is not installed is named and left out.

    python3 tests/benches/rows/run.py [--rounds 5]
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from peers import Peer, ask_all, has_module  # noqa: E402

ROOT = HERE.parents[2]
LOSSES = [f"{loss} {rows}" for loss in ("dpo", "lrml") for rows in (1_000, 100_000, 10_000_000)]
MERGE = "merge 100000000"
COPY = "copy 100000000"


def start(arguments):
    subprocess.run(["cargo", "build", "--release", "-p", "evo-lang", "--bench", "rows"], cwd=ROOT, check=True)
    names = [p for p in (ROOT / "target/release/deps").glob("rows-*") if p.suffix == ""]
    newest = max(names, key=lambda path: path.stat().st_mtime)
    peers = [Peer("evo", [str(newest)], LOSSES + [MERGE, COPY, "compile 0"])]
    binary = pathlib.Path(tempfile.mkdtemp()) / "peer"
    flags = ["-Ofast", "-fopenmp", "-march=native"]
    optional = [("PyTorch eager", "peer_torch.py", []), ("torch.compile", "peer_torch.py", ["compile"]), ("numba", "peer_numba.py", [])]
    try:
        subprocess.run(["gcc", *flags, HERE / "peer.c", "-o", binary, "-lm"], check=True)
        peers.append(Peer("C", [str(binary)], LOSSES + [MERGE]))
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"C is left out: {error}", file=sys.stderr)
    for name, script, more in optional:
        module = "numba" if name == "numba" else "torch"
        if has_module(name, module):
            peers.append(Peer(name, [sys.executable, str(HERE / script), *more], LOSSES))
    return peers


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    peers = start(arguments)
    ask_all(peers, [*LOSSES, MERGE, COPY, "compile 0"], arguments.rounds)
    evo, others = peers[0], peers[1:]
    middle = Peer.median
    print("| | evo, ns a row | " + " | ".join(f"{p.name} (evo is × as fast)" for p in others) + " |")
    print("|---|---|" + "---|" * len(others))
    for case in [*LOSSES, MERGE]:
        cells = []
        for peer in others:
            if case not in peer.times:
                cells.append("–")
                continue
            wrong = abs(peer.checks[case] - evo.checks[case]) > 1e-3 * max(1, abs(evo.checks[case]))
            ratio = middle(peer, case) / middle(evo, case)
            cells.append(f"{middle(peer, case):.3g} ({ratio:.2f}×{', other result!' if wrong else ''})")
        print(f"| {case} | {middle(evo, case):.3g} | " + " | ".join(cells) + " |")
    share = middle(evo, COPY) / middle(evo, MERGE)
    print(f"\nThe merge moves bytes at {share:.0%} of the rate of a copy of as many bytes ({middle(evo, COPY):.3g} ns).")
    print(f"A formula of fifty operations compiles in {middle(evo, 'compile 0'):.0f} µs.")


main()
