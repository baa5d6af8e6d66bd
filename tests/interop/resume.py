#!/usr/bin/env python3
"""Kills the quickstart at random moments, resumes it, and compares its end with that of an undisturbed run, by hand.

usage: resume.py [--evo PATH] [--kills N] [--jobs 1 2 …] [--seed S]

A run is killed (SIGKILL) after a random time, resumed with `evo run --resume`, killed again, until it comes to its end; then its
standard output, the files that it saved and the rows of its `run.db` (but times and process ids) must be those of the undisturbed
run, and no evaluation may have been made twice. Runs are begun anew until N kills have hit, for each number of jobs. Exit code 0:
all is equal; 1: it is not. Needs the `evo` binary on the path or in target/, and about ten minutes for 20 kills.
"""

import argparse
import hashlib
import json
import os
import pathlib
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
VARYING = {"seconds", "finished", "process"}


def evo_binary(named):
    built = [ROOT / "target" / profile / "evo" for profile in ("release", "debug")]
    for path in [named] if named else [*built, shutil.which("evo")]:
        if path and os.path.isfile(path):
            return str(path)
    sys.exit(f"no evo binary at {named}" if named else "no evo binary: build it, or name it with --evo")


def folder():
    """A new folder with the program and its model."""
    made = pathlib.Path(tempfile.mkdtemp(prefix="evo-resume-"))
    shutil.copy(ROOT / "programs" / "quickstart.evo", made)
    shutil.copytree(ROOT / "programs" / "models" / "tiny-bilingual", made / "models" / "tiny-bilingual")
    return made


def run_dir(where):
    runs = [path.parent for path in where.glob("runs/*/run.json")]
    return runs[0] if runs else None


def rows(database):
    """Every table's rows without times and process ids."""
    connection = sqlite3.connect(database)
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    content = {}
    for table in tables:
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[1] not in VARYING]
        content[table] = sorted(connection.execute(f"SELECT {', '.join(columns)} FROM {table}"), key=repr)
    return content


def outputs(where):
    """A hash of each saved file."""
    saved = [where / "fitness.svg", *sorted((where / "evolved").iterdir())]
    return {str(path.relative_to(where)): hashlib.sha256(path.read_bytes()).hexdigest() for path in saved}


def repeated(where):
    """Evaluations that were made again although they were finished."""
    made, again = set(), []
    for line in (run_dir(where) / "events.jsonl").read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "evaluation" and not event["cached"]:
            at = (event["search"], event["generation"], event["candidate"])
            again += [at] if at in made else []
            made.add(at)
    return again


def differences(where, printed, calm):
    found = []
    if printed != calm["printed"]:
        found.append(f"it printed\n{printed}")
    if outputs(where) != calm["outputs"]:
        found.append(f"it saved {outputs(where)}")
    content = rows(run_dir(where) / "run.db")
    found += [f"table {table} differs" for table in calm["rows"] if content.get(table) != calm["rows"][table]]
    found += [f"evaluation {at} was repeated" for at in repeated(where)]
    return found


def segment(evo, where, jobs, most):
    """One process: its standard output if it came to its end within `most` seconds, else it is killed."""
    resume = ["--resume"] if run_dir(where) else []
    command = [evo, "run", "quickstart.evo", "--jobs", str(jobs), *resume]
    process = subprocess.Popen(command, cwd=where, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        printed, told = process.communicate(timeout=most)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return None
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} in {where} ended with {process.returncode}:\n{told}")
    return printed


def undisturbed(evo):
    where, begin = folder(), time.monotonic()
    printed = segment(evo, where, 2, None)
    took = time.monotonic() - begin
    print(f"undisturbed: {took:.1f} s\n{printed}")
    calm = {"printed": printed, "outputs": outputs(where), "rows": rows(run_dir(where) / "run.db"), "took": took}
    shutil.rmtree(where)
    return calm


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--evo")
    options.add_argument("--kills", type=int, default=20)
    options.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    options.add_argument("--seed", type=int, default=1)
    options = options.parse_args()
    evo, draw, failed = evo_binary(options.evo), random.Random(options.seed), False
    calm = undisturbed(evo)
    for jobs in options.jobs:
        kills, ends, begin = 0, 0, time.monotonic()
        while kills < options.kills:
            where, moments, printed = folder(), [], None
            while printed is None:
                moment = draw.uniform(0, calm["took"]) if kills < options.kills else None
                printed = segment(evo, where, jobs, moment)
                kills += printed is None
                moments += [f"{moment:.2f}"] if printed is None else []
            found = differences(where, printed, calm) if moments else []
            ends += bool(moments)
            print(f"jobs {jobs}: killed after {', '.join(moments) or 'nothing'} s: {'; '.join(found) or 'equal'}", flush=True)
            failed |= bool(found)
            if not found:
                shutil.rmtree(where)
        took = time.monotonic() - begin
        print(f"jobs {jobs}: {kills} kills, {ends} runs brought to their end, {took:.0f} s", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
