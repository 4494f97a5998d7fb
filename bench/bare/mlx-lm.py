"""The same engine without runoff: a plain generate_step loop. argv: JSON of the ask."""
import json
import sys
import time
from pathlib import Path

import mlx.core as mx
from mlx_lm.generate import generate_step
from mlx_lm.utils import load_model

ask = json.loads(sys.argv[1])
model, _ = load_model(Path(ask["modelPath"]))
answers = []
for prompt in ask["prompts"]:
    times = []
    started = time.perf_counter()
    for _ in generate_step(mx.array(prompt), model, max_tokens=ask["generateTokens"], prefill_step_size=512):
        times.append((time.perf_counter() - started) * 1000)
        if len(times) >= ask["generateTokens"]:
            break
    answers.append(times)
print(json.dumps(answers))
