"""What the real mlx says, for test/real/mlx.test.ts: python mlx_check.py COMMAND ... prints one JSON line.

dequantise FOLDER OUT DTYPE: the model as a dense Hugging Face folder. greedy FOLDER IDS N: N greedy tokens after the ids.
values FOLDER MODULE: SHA-256 of the float32 values of a packed matrix, minus zero as zero. load FOLDER: loads it as mlx-lm does and computes the logits of three tokens; the largest.
wide FOLDER MODULE, gguf FILE TENSOR: SHA-256 of a packed matrix computed in float32, from a folder and as mlx reads a GGUF.
"""
import glob
import hashlib
import json
import os
import shutil
import sys

import mlx.core as mx

mx.set_default_device(mx.cpu)


def dequantise(source, target, dtype):
    config = json.load(open(f"{source}/config.json"))
    packing = config["quantization"]
    tensors, dense = {}, {}
    for path in glob.glob(f"{source}/model*.safetensors"):
        tensors.update(mx.load(path))
    for name, value in tensors.items():
        module = name.removesuffix(".weight")
        if name.endswith((".scales", ".biases")):
            continue
        if f"{module}.scales" in tensors:
            own = packing.get(module, packing)
            scales, biases = (tensors[f"{module}.{part}"].astype(mx.float32) for part in ("scales", "biases"))
            value = mx.dequantize(value, scales, biases, group_size=own["group_size"], bits=own["bits"])
        dense[name] = value.astype(getattr(mx, dtype))
    os.makedirs(target)
    mx.save_safetensors(f"{target}/model.safetensors", dense, metadata={"format": "pt"})
    for key in ("quantization", "quantization_config"):
        config.pop(key, None)
    config["torch_dtype"] = dtype
    json.dump(config, open(f"{target}/config.json", "w"))
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copy(f"{source}/{name}", target)
    return len(dense)


def model_of(folder):
    from pathlib import Path

    from mlx_lm.utils import load_model

    return load_model(Path(folder))[0]


def values(folder, module):
    import numpy as np

    packing = json.load(open(f"{folder}/config.json"))["quantization"]
    own = packing.get(module, packing)
    tensors = mx.load(f"{folder}/model.safetensors")
    parts = [tensors.get(f"{module}.{part}") for part in ("weight", "scales", "biases")]
    dense = mx.dequantize(*parts, group_size=own["group_size"], bits=own["bits"], mode=own["mode"], dtype=mx.float32)
    return hashlib.sha256((np.array(dense) + np.float32(0)).tobytes()).hexdigest()


def hash_of(weight, scales, biases):
    import numpy as np

    # The smallest group of both; a wider one repeats its scale.
    bits = weight.shape[-1] * 32 // (scales.shape[-1] * 32)
    parts = (part.astype(mx.float32) for part in (scales, biases))
    dense = mx.dequantize(weight, *parts, group_size=32, bits=bits)
    return hashlib.sha256((np.array(dense) + np.float32(0)).tobytes()).hexdigest()


def wide(folder, module):
    packing = json.load(open(f"{folder}/config.json"))["quantization"]
    repeats = packing.get(module, packing)["group_size"] // 32
    tensors = mx.load(f"{folder}/model.safetensors")
    scales, biases = (mx.repeat(tensors[f"{module}.{part}"], repeats, axis=-1) for part in ("scales", "biases"))
    return hash_of(tensors[f"{module}.weight"], scales, biases)


def gguf(path, tensor):
    tensors = mx.load(path)
    return hash_of(*(tensors[f"{tensor}.{part}"] for part in ("weight", "scales", "biases")))


def greedy(folder, ids, count):
    from mlx_lm.generate import generate_step

    tokens = generate_step(mx.array(json.loads(ids)), model_of(folder), max_tokens=int(count))
    return [int(token) for token, _ in tokens]


def load(folder):
    return float(model_of(folder)(mx.array([[1, 2, 3]])).astype(mx.float32).max())


commands = {"dequantise": dequantise, "greedy": greedy, "load": load, "values": values, "wide": wide, "gguf": gguf}
command = commands[sys.argv[1]]
print(json.dumps(command(*sys.argv[2:])))
