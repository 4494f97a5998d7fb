"""Worker for the `mlx-lm` engine: MLX through mlx-lm in this process.

Speaks runoff's worker protocol: one JSON request a line on stdin, one JSON reply a line on what was stdout at the start.
Libraries print on stdout, so it is moved away first (dup) and replaced by stderr (dup2).
"""
import json
import os
import sys
import time

_replies = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
os.dup2(2, 1)

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

_state = {}


def load(params):
    started = time.monotonic_ns()
    import mlx.core as mx

    if params["settings"]["gpu"] == "off":
        # Before generate is imported: its stream is bound to the default device at import.
        mx.set_default_device(mx.cpu)
    from pathlib import Path

    import mlx_lm
    from mlx_lm.generate import generate_step, generation_stream
    from mlx_lm.utils import load_model

    model, config = load_model(Path(params["modelPath"]))
    on_gpu = mx.default_device() == mx.gpu
    device = "cpu" if not on_gpu else ("metal" if mx.metal.is_available() else "cuda")
    _state.update(
        mx=mx,
        model=model,
        generate_step=generate_step,
        stream=generation_stream,
        prefill_step=params["settings"]["batchTokens"],
        vocabulary=config.get("vocab_size"),
        masks={},
    )
    scales = config.get("quantization", {})
    dtype = str(config.get("torch_dtype", config.get("dtype", "unknown")))
    return {
        "engineLoadMs": (time.monotonic_ns() - started) / 1e6,
        "device": device,
        "mlxVersion": mx.__version__,
        "mlxLmVersion": mlx_lm.__version__,
        "vocabularySize": config.get("vocab_size"),
        "quantisation": f"{scales.get('bits')}-bit groups of {scales.get('group_size')}" if scales else "none",
        "dtype": dtype,
        "settings": {"batchTokens": params["settings"]["batchTokens"]},
    }


def generate(params):
    mx = _state["mx"]
    prompt = mx.array(params["promptTokens"])
    mask = _mask(tuple(params["bannedTokens"]))
    want = params["generateTokens"]
    top = params["topLogprobs"]

    def sample(logprobs):
        return mx.argmax(logprobs + mask, axis=-1) if mask is not None else mx.argmax(logprobs, axis=-1)

    tokens, times, first = [], [], []
    processed = 0

    def progress(done, total):
        nonlocal processed
        processed = done

    started = time.monotonic_ns()
    steps = _state["generate_step"](
        prompt,
        _state["model"],
        max_tokens=want,
        sampler=sample,
        prefill_step_size=_state["prefill_step"],
        prompt_progress_callback=progress,
    )
    for token, logprobs in steps:
        times.append((time.monotonic_ns() - started) / 1e6)
        tokens.append(int(token))
        if top and len(tokens) == 1:
            values = logprobs.astype(mx.float32)
            best = mx.argsort(-values)[:top].tolist()
            first = [{"token": int(t), "logprob": float(values[t])} for t in best]
        if len(tokens) >= want:
            break
    steps.close()
    # One step beyond the last token was issued: let it end here, not in the next request.
    mx.synchronize(_state["stream"])
    return {
        "tokens": tokens,
        "eventMs": times,
        "promptTokenCount": processed,
        # generate_step makes a new KV cache for every call.
        "cachedTokenCount": 0,
        "firstTokenLogprobs": first,
    }


def _mask(banned):
    """Additive mask over the vocabulary, -inf on banned tokens; made once per set."""
    if not banned:
        return None
    mx = _state["mx"]
    if banned not in _state["masks"]:
        ids = set(banned)
        size = _state["vocabulary"]
        _state["masks"][banned] = mx.array([float("-inf") if i in ids else 0.0 for i in range(size)])
        mx.eval(_state["masks"][banned])
    return _state["masks"][banned]


def main():
    for line in sys.stdin:
        request = json.loads(line)
        try:
            handler = {"load": load, "generate": generate}[request["method"]]
            reply = {"id": request["id"], "result": handler(request["params"])}
        except Exception as error:  # noqa: BLE001 - every failure is an answer, the parent decides
            reply = {"id": request["id"], "error": {"message": f"{type(error).__name__}: {error}"}}
        _replies.write(json.dumps(reply) + "\n")
        _replies.flush()


main()
