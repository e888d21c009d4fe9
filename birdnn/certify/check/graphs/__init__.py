"""Networks that are no chains, in certificates of version 3: `nodes`, `reader` (ONNX), `walk`, `floats`, `exact`."""
