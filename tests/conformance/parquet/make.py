#!/usr/bin/env python3
"""Writes the Parquet files beside it, as published datasets are written, and what they hold as JSON Lines.

usage: make.py        (needs pyarrow; made with 26.0.1)

`rows.jsonl` holds the rows of every `rows.*.parquet`, two row groups each; `nested.parquet` holds what is refused.
"""

import json
import os

import pyarrow as pa
import pyarrow.parquet as pq

HERE = os.path.dirname(os.path.abspath(__file__))
ROWS = [
    {
        "question": f"How much is {i} + {i % 7}? 日本" + " and so on" * (i % 3),
        "choices": [str(i + i % 7), str(i), "none"][: 2 + i % 2],
        "answer": i % 2,
        "small": i - 3,
        "weight": i / 8,
        "short": [0.1, 0.25, 1e-3][i % 3],
        "hard": i % 5 == 0,
    }
    for i in range(40)
]
SCHEMA = pa.schema(
    [
        ("question", pa.string()),
        ("choices", pa.list_(pa.string())),
        ("answer", pa.int64()),
        ("small", pa.int8()),
        ("weight", pa.float64()),
        ("short", pa.float32()),
        ("hard", pa.bool_()),
    ]
)


def write(name, table, **options):
    pq.write_table(table, os.path.join(HERE, name), row_group_size=25, **options)


def main():
    with open(os.path.join(HERE, "rows.jsonl"), "w", encoding="utf-8") as out:
        for row in ROWS:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
    table = pa.Table.from_pylist(ROWS, schema=SCHEMA)
    for codec in ("none", "snappy", "gzip", "zstd"):
        write(f"rows.{codec}.parquet", table, compression=codec)
    write("rows.v2.parquet", table, compression="zstd", data_page_version="2.0", use_dictionary=False)
    nested = {
        "question": ["a", None],
        "numbers": [[1, 2], [3]],
        "struct": [{"x": 1}, {"x": 2}],
        "bytes": [b"\x00", b"\x01"],
    }
    write("nested.parquet", pa.table(nested), compression="snappy")
    write("rows.brotli.parquet", table, compression="brotli")


main()
