"""Loads an MLX folder with mlx_lm and prints what it sees as JSON: python mlx_load.py FOLDER TEXTS.json

Tensor hashes follow the specification in src/models/fingerprint/fingerprint.ts, from mx.dequantize in float32.
"""
import hashlib
import json
import sys

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten
from mlx_lm import load

folder = sys.argv[1]
model, tokenizer = load(folder)
config = json.load(open(f"{folder}/config.json"))
parameters = dict(tree_flatten(model.parameters()))


def canonical_sha(array):
    values = np.array(array.astype(mx.float32))
    words = values.view(np.uint32).copy()
    words[np.isnan(values)] = 0x7FC00000
    words[values == 0] = 0
    return hashlib.sha256(words.tobytes()).hexdigest()


tensors = {}
for name, array in parameters.items():
    module = name.removesuffix(".weight")
    if name.endswith((".scales", ".biases")):
        continue
    if f"{module}.scales" in parameters:
        own = config["quantization"].get(module, config["quantization"])
        scales, biases = (parameters[f"{module}.{part}"].astype(mx.float32) for part in ("scales", "biases"))
        array = mx.dequantize(array, scales, biases, group_size=own["group_size"], bits=own["bits"])
    tensors[name] = [list(array.shape), canonical_sha(array)]
lines = "".join(f"{name}\t{'x'.join(map(str, shape))}\t{sha}\n" for name, (shape, sha) in sorted(tensors.items()))
texts = json.load(open(sys.argv[2]))
ids = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
logits = model(mx.array([ids[0]]))[0, -1].astype(mx.float32)
print(json.dumps({
    "fingerprint": "rf1-" + hashlib.sha256(lines.encode()).hexdigest(),
    "ids": ids,
    "top": int(mx.argmax(logits)),
    "finite": bool(mx.all(mx.isfinite(logits))),
    "endTokenIds": sorted(tokenizer.eos_token_ids),
    "chat": tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], add_generation_prompt=True, tokenize=False),
}))
