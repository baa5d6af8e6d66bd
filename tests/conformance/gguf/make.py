"""Makes blocks.json: quantised blocks and the numbers they stand for, by the reference of the `gguf` package (0.19.0).

Usage: python make.py > blocks.json
"""

import json

import numpy
from gguf import GGMLQuantizationType, quants

TYPES = {"Q8_0": 32, "Q4_0": 32, "Q4_1": 32, "Q4_K": 256, "Q6_K": 256}
# Where the f16 scales lie in a block.
SCALES = {"Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q4_K": [0, 2], "Q6_K": [208]}
random = numpy.random.default_rng(20250613)

cases = {}
for name, columns in TYPES.items():
    kind = GGMLQuantizationType[name]
    size = quants.GGML_QUANT_SIZES[kind][1]
    count = 512 // columns
    # Every byte occurs: scales alone are kept finite.
    blocks = random.integers(0, 256, (count, size), dtype=numpy.uint8)
    for at in SCALES[name]:
        scale = random.normal(0, 0.1, count).astype(numpy.float16)
        scale[-1] = numpy.float16(6e-8)
        blocks[:, at : at + 2] = scale.view(numpy.uint8).reshape(count, 2)
    numbers = quants.dequantize(blocks.reshape(1, -1), kind).astype(numpy.float32).reshape(-1)
    cases[name] = {"blocks": blocks.tobytes().hex(), "bits": numbers.tobytes().hex()}
print(json.dumps(cases, indent=1))
