"""Writes all vectors for training: `python make.py`. torch 2.9.1, transformers 5.23.0, peft 0.21.2, CPU; a minute."""

import blocks
import curves
import families

for part in (blocks, families, curves):
    part.make()
