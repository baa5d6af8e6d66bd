"""Makes vectors.json: runs every case of cases.txt with the real bash and coreutils, each in a fresh folder.

    python3 tests/conformance/shell/make.py

Cases are parted by blank lines, groups begin with `== name`. The versions used stand in the JSON file.
"""

import json
import os
import pathlib
import subprocess
import tempfile

here = pathlib.Path(__file__).parent
setup = (here / "setup.sh").read_text()
environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": "/home/user", "USER": "user"}


def bash(script, folder):
    return subprocess.run(["bash", "-c", script], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20)


def version(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout.decode().splitlines()[0]


cases, group = [], ""
for block in (here / "cases.txt").read_text().split("\n\n"):
    block = block.strip("\n")
    if block.startswith("== "):
        head, _, block = block.partition("\n")
        group = head[3:]
    if not block:
        continue
    with tempfile.TemporaryDirectory() as folder:
        bash(setup, folder)
        done = bash(block, folder)
    cases.append({"group": group, "script": block, "stdout": done.stdout.decode(), "status": done.returncode})

made = {
    "generator": "tests/conformance/shell/make.py",
    "bash": version("bash", "--version"),
    "coreutils": version("sort", "--version"),
    "sed": version("sed", "--version"),
    "grep": version("grep", "--version"),
    "cases": cases,
}
(here / "vectors.json").write_text(json.dumps(made, indent=1) + "\n")
print(len(cases), "cases")
