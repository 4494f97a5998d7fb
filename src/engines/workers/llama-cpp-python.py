"""Worker for the `llama-cpp-python` engine: llama.cpp through the package's class Llama, as applications use it.

Speaks runoff's worker protocol: one JSON request a line on stdin, one JSON reply a line on what was stdout at the start.
Native code prints on stdout, so it is moved away first (dup) and replaced by stderr (dup2).
"""
import json
import os
import sys
import time

_replies = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
os.dup2(2, 1)

_state = {}


def load(params):
    started = time.monotonic_ns()
    import llama_cpp
    from llama_cpp import _internals

    settings = params["settings"]
    on_gpu = settings["gpu"] != "off"
    kv_type = {
        "f32": llama_cpp.GGML_TYPE_F32,
        "f16": llama_cpp.GGML_TYPE_F16,
        "q8_0": llama_cpp.GGML_TYPE_Q8_0,
    }[settings["kvType"]]
    options = dict(
        model_path=params["modelPath"],
        n_ctx=settings["contextTokens"],
        n_batch=settings["batchTokens"],
        n_ubatch=settings["microBatchTokens"],
        n_threads=settings["threads"],
        n_threads_batch=settings["threads"],
        flash_attn=settings["flashAttention"],
        type_k=kv_type,
        type_v=kv_type,
        use_mmap=settings["mmap"],
        n_gpu_layers=-1 if on_gpu else 0,
        offload_kqv=on_gpu,
        op_offload=on_gpu,
    )
    masked = _masked_class(llama_cpp, _internals)
    try:
        llm = masked(**options, verbose=False)
    except Exception:
        # Silent loading also hides why it failed: once more, aloud.
        llm = masked(**options, verbose=True)
    _state.update(llama_cpp=llama_cpp, llm=llm)
    return {
        "engineLoadMs": (time.monotonic_ns() - started) / 1e6,
        "systemInfo": llama_cpp.llama_print_system_info().decode("utf-8", "replace"),
        "gpuLayers": on_gpu and bool(llama_cpp.llama_supports_gpu_offload()),
        "vocabularySize": llm.n_vocab(),
        "settings": {
            "threads": llama_cpp.llama_n_threads(llm.ctx),
            "batchThreads": llama_cpp.llama_n_threads_batch(llm.ctx),
            "contextTokens": llama_cpp.llama_n_ctx(llm.ctx),
            "batchTokens": llama_cpp.llama_n_batch(llm.ctx),
            "microBatchTokens": llama_cpp.llama_n_ubatch(llm.ctx),
            "flashAttention": llm.context_params.flash_attn_type == llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED,
            "mmap": llm.model_params.load_mode == llama_cpp.LLAMA_LOAD_MODE_MMAP,
        },
    }


def _masked_class(llama_cpp, internals):
    """Llama with llama.cpp's own mask in front of its samplers.

    The public way, `logits_processor`, runs Python over the whole vocabulary for every token. No application pays that
    for a normal answer; we mask only so that every engine generates equally many tokens.
    """

    class MaskedLlama(llama_cpp.Llama):
        banned = ()

        def _init_sampler(self, *args, **kwargs):
            own = super()._init_sampler(*args, **kwargs)
            if not self.banned:
                return own
            masked = internals.LlamaSampler()
            masked.add_logit_bias(self.n_vocab(), {token: float("-inf") for token in self.banned})
            # Moved over one by one: the mask must come before the choice.
            while llama_cpp.llama_sampler_chain_n(own.sampler) > 0:
                llama_cpp.llama_sampler_chain_add(
                    masked.sampler, llama_cpp.llama_sampler_chain_remove(own.sampler, 0)
                )
            return masked

    return MaskedLlama


def generate(params):
    llama_cpp, llm = _state["llama_cpp"], _state["llm"]
    want = params["generateTokens"]
    llm.banned = tuple(params["bannedTokens"])
    # Without this, generate() keeps the part of the last request that the new prompt starts with.
    llm.reset()
    evaluated = _count_prompt(llm)
    tokens, times, first = [], [], []
    prompt_count = 0
    started = time.monotonic_ns()
    steps = llm.generate(params["promptTokens"], temp=0.0, top_k=1, repeat_penalty=1.0)
    for token in steps:
        times.append((time.monotonic_ns() - started) / 1e6)
        tokens.append(int(token))
        if len(tokens) == 1:
            prompt_count = llama_cpp.llama_memory_seq_pos_max(llm._ctx.memory, 0) + 1
            if params["topLogprobs"]:
                first = _top_logprobs(llm, params["topLogprobs"])
        if len(tokens) >= want:
            break
    steps.close()
    return {
        "tokens": tokens,
        "eventMs": times,
        # What lies in the KV cache after the prompt, and how much of it this request did not compute.
        "promptTokenCount": prompt_count,
        "cachedTokenCount": prompt_count - evaluated[0],
        "firstTokenLogprobs": first,
    }


def _count_prompt(llm):
    """Counts the prompt tokens that the next request really evaluates; takes itself away after them."""
    evaluated = [0]
    evaluate = llm.eval

    def first_eval(tokens):
        del llm.eval
        evaluated[0] = len(tokens)
        evaluate(tokens)

    llm.eval = first_eval
    return evaluated


def _top_logprobs(llm, count):
    import numpy

    logits = numpy.ctypeslib.as_array(llm._ctx.get_logits_ith(-1), shape=(llm.n_vocab(),)).astype(numpy.float64)
    logprobs = logits - logits.max()
    logprobs -= numpy.log(numpy.exp(logprobs).sum())
    best = numpy.argsort(-logprobs, kind="stable")[:count]
    return [{"token": int(token), "logprob": float(logprobs[token])} for token in best]


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
