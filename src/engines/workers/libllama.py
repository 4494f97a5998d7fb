"""Worker for the `libllama` engine: llama.cpp's C API through ctypes, with nothing around it.

It loads the very library that llama-cpp-python installed, by that package's declarations alone: its Python code is not
run. Speaks runoff's worker protocol: one JSON request a line on stdin, one JSON reply a line on what was stdout at the
start. Native code prints on stdout, so it is moved away first (dup) and replaced by stderr (dup2).
"""
import ctypes
import importlib
import importlib.util
import json
import math
import os
import sys
import time
import types

_replies = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
os.dup2(2, 1)

_state = {}


def _declarations():
    """llama_cpp/llama_cpp.py without llama_cpp/__init__.py, which imports the high-level package and numpy."""
    spec = importlib.util.find_spec("llama_cpp")
    package = types.ModuleType("llama_cpp")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["llama_cpp"] = package
    return importlib.import_module("llama_cpp.llama_cpp")


def load(params):
    started = time.monotonic_ns()
    api = _declarations()
    settings = params["settings"]
    on_gpu = settings["gpu"] != "off"
    api.llama_backend_init()
    model = api.llama_model_load_from_file(params["modelPath"].encode("utf-8"), _model_params(api, settings))
    if not model:
        raise RuntimeError("llama_model_load_from_file failed")
    context_params = _context_params(api, settings)
    context = api.llama_init_from_model(model, context_params)
    if not context:
        raise RuntimeError("llama_init_from_model failed")
    vocabulary = api.llama_model_get_vocab(model)
    size = api.llama_vocab_n_tokens(vocabulary)
    _state.update(api=api, context=context, memory=api.llama_get_memory(context), vocabulary_size=size, samplers={})
    return {
        "engineLoadMs": (time.monotonic_ns() - started) / 1e6,
        "systemInfo": api.llama_print_system_info().decode("utf-8", "replace"),
        "gpuLayers": on_gpu and bool(api.llama_supports_gpu_offload()),
        "vocabularySize": size,
        "settings": {
            "threads": api.llama_n_threads(context),
            "batchThreads": api.llama_n_threads_batch(context),
            "contextTokens": api.llama_n_ctx(context),
            "batchTokens": api.llama_n_batch(context),
            "microBatchTokens": api.llama_n_ubatch(context),
            "flashAttention": context_params.flash_attn_type == api.LLAMA_FLASH_ATTN_TYPE_ENABLED,
            "mmap": settings["mmap"] and bool(api.llama_supports_mmap()),
        },
    }


def _model_params(api, settings):
    asked = api.llama_model_default_params()
    asked.n_gpu_layers = 0x7FFFFFFF if settings["gpu"] != "off" else 0
    asked.load_mode = api.LLAMA_LOAD_MODE_MMAP if settings["mmap"] else api.LLAMA_LOAD_MODE_NONE
    return asked


def _context_params(api, settings):
    on_gpu = settings["gpu"] != "off"
    asked = api.llama_context_default_params()
    asked.n_ctx = settings["contextTokens"]
    asked.n_batch = settings["batchTokens"]
    asked.n_ubatch = settings["microBatchTokens"]
    asked.n_threads = settings["threads"]
    asked.n_threads_batch = settings["threads"]
    asked.flash_attn_type = (
        api.LLAMA_FLASH_ATTN_TYPE_ENABLED if settings["flashAttention"] else api.LLAMA_FLASH_ATTN_TYPE_DISABLED
    )
    kv_type = {"f32": api.GGML_TYPE_F32, "f16": api.GGML_TYPE_F16, "q8_0": api.GGML_TYPE_Q8_0}[settings["kvType"]]
    asked.type_k = kv_type
    asked.type_v = kv_type
    asked.offload_kqv = on_gpu
    asked.op_offload = on_gpu
    return asked


def generate(params):
    api, context, memory = _state["api"], _state["context"], _state["memory"]
    sampler = _sampler(tuple(params["bannedTokens"]))
    want, size = params["generateTokens"], api.llama_n_batch(context)
    prompt = (api.llama_token * len(params["promptTokens"]))(*params["promptTokens"])
    # The entries, not the bytes: what they held is never read again.
    api.llama_memory_clear(memory, False)
    cached = api.llama_memory_seq_pos_max(memory, 0) + 1
    tokens, times, first = [], [], []
    started = time.monotonic_ns()
    for start in range(0, len(prompt), size):
        part = (api.llama_token * min(size, len(prompt) - start))(*prompt[start : start + size])
        _decode(api, context, part)
    prompt_count = api.llama_memory_seq_pos_max(memory, 0) + 1
    next_token = (api.llama_token * 1)()
    while True:
        token = api.llama_sampler_sample(sampler, context, -1)
        times.append((time.monotonic_ns() - started) / 1e6)
        tokens.append(token)
        if len(tokens) == 1 and params["topLogprobs"]:
            first = _top_logprobs(api, context, params["topLogprobs"])
        if len(tokens) >= want:
            break
        next_token[0] = token
        _decode(api, context, next_token)
    return {
        "tokens": tokens,
        "eventMs": times,
        # What lies in the KV cache after the prompt, and what lay there before it.
        "promptTokenCount": prompt_count,
        "cachedTokenCount": cached,
        "firstTokenLogprobs": first,
    }


def _decode(api, context, tokens):
    # One sequence, positions counted on, an output for the last token only.
    code = api.llama_decode(context, api.llama_batch_get_one(tokens, len(tokens)))
    if code != 0:
        raise RuntimeError(f"llama_decode returned {code}")


def _sampler(banned):
    """llama.cpp's chain: the mask, then the most probable token. Made once per set of banned tokens."""
    api = _state["api"]
    if banned not in _state["samplers"]:
        chain = api.llama_sampler_chain_init(api.llama_sampler_chain_default_params())
        if banned:
            bias = (api.llama_logit_bias * len(banned))()
            for index, token in enumerate(banned):
                bias[index].token = token
                bias[index].bias = float("-inf")
            mask = api.llama_sampler_init_logit_bias(_state["vocabulary_size"], len(banned), bias)
            api.llama_sampler_chain_add(chain, mask)
        api.llama_sampler_chain_add(chain, api.llama_sampler_init_greedy())
        _state["samplers"][banned] = chain
    return _state["samplers"][banned]


def _top_logprobs(api, context, count):
    """For gates, never while measuring: it runs over the whole vocabulary in Python."""
    logits = api.llama_get_logits_ith(context, -1)[: _state["vocabulary_size"]]
    highest = max(logits)
    total = math.log(math.fsum(math.exp(value - highest) for value in logits))
    best = sorted(range(len(logits)), key=lambda token: -logits[token])[:count]
    return [{"token": token, "logprob": logits[token] - highest - total} for token in best]


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
