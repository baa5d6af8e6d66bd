# The commands of daily work; `just` lists them. `.ci/run` is the whole check and needs no `just`.

_list:
    @just --list --unsorted

# The whole check, as it runs before anything lands.
check:
    .ci/run

# Formatting and lints alone.
lint:
    .ci/run format lints

# The tests whose name contains NAME, or all of them.
test NAME="":
    cargo test --workspace {{NAME}}

# Write the expectations of the golden programs and the generated pages of the book anew; read the difference before committing it.
bless:
    EVO_BLESS=1 cargo test -p evo-tests

# Build the book and open it.
book:
    mdbook build book --open

# Benchmarks of every member.
bench:
    cargo bench --workspace

# Scalar code beside Rust by hand, C, LuaJIT, numba, PyTorch and rhai, in turns: a table of ratios.
bench-scalar PYTHON="python3":
    {{PYTHON}} tests/benches/scalar/run.py

# Row programs (losses with gradients, elementwise merges) beside C, PyTorch and numba, in turns: a table of ratios.
bench-rows PYTHON="python3":
    {{PYTHON}} tests/benches/rows/run.py

# The decoder on SmolLM2 (MODEL: its GGUF file) beside transformers, llama.cpp and candle, in turns; PROBLEMS: GSM8K's test problems as JSON Lines.
bench-decode MODEL PROBLEMS PYTHON="python3":
    {{PYTHON}} tests/benches/decode/run.py {{MODEL}} {{PROBLEMS}}

# Training beside PyTorch, in turns: a small decoder, and SmolLM2 (MODEL: its directory in f32) on DATA, GSM8K's training problems as JSON Lines.
bench-train MODEL DATA PYTHON="python3":
    {{PYTHON}} tests/benches/train/run.py {{MODEL}} {{DATA}}

# `evo serve` beside llama-cpp-python's server (MODEL: SmolLM2's GGUF; PROBLEMS: GSM8K's as JSON Lines), then 10,000 requests of which a tenth break off.
bench-serve EVO MODEL PROBLEMS PYTHON="python3":
    {{PYTHON}} tests/benches/serve/run.py {{EVO}} {{MODEL}} {{PROBLEMS}}
    {{PYTHON}} tests/benches/serve/disconnect.py {{EVO}} {{MODEL}}

# A release binary for daily use.
install:
    cargo install --locked --path runtime

# Fetch the real language model that `programs/smollm2_merge.evo` starts from (about 100 MB).
fetch:
    programs/fetch-smollm2.sh

# Hold `evo logits MODEL` (a saved directory or a GGUF file) to Hugging Face transformers; needs a Python with torch and transformers.
interop MODEL:
    python3 tests/interop/logits.py {{MODEL}}

# Kill the quickstart at random moments and hold its end to that of an undisturbed run (about ten minutes a number of jobs).
resume KILLS="20":
    python3 tests/interop/resume.py --kills {{KILLS}}

# Ask `evo serve` and, with a Python that has `llama-cpp-python[server]`, its server, both with one GGUF file.
endpoints GGUF *PYTHON:
    python3 tests/interop/endpoints.py --gguf {{GGUF}} {{ if PYTHON == "" { "" } else { "--python " + PYTHON } }}
