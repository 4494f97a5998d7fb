"""runoff's own libllama worker and llama-bench's loop in one process, on one context: what differs is the loop alone.

argv: runoff's worker. Requests with the methods "bare" and "calls" are answered here, all others there.
"""
import json
import random
import sys
import time

scope = {"__name__": "worker"}


def bare(params):
    """Random ids as in llama-bench: a prompt, then an answer after it, without a sampler."""
    api, context, memory = (scope["_state"][name] for name in ("api", "context", "memory"))
    depth, want = params["promptTokens"], params["generateTokens"]
    prompt = (api.llama_token * depth)(*(random_token() for _ in range(depth)))
    api.llama_memory_clear(memory, False)
    started = time.monotonic_ns()
    scope["_decode"](api, context, prompt)
    api.llama_synchronize(context)
    read = time.monotonic_ns()
    token = (api.llama_token * 1)(random_token())
    for _ in range(want):
        scope["_decode"](api, context, token)
        api.llama_synchronize(context)
        token[0] = random_token()
    return {"prefillMs": (read - started) / 1e6, "decodeMs": (time.monotonic_ns() - read) / 1e6 / want}


def random_token():
    return random.randrange(scope["_state"]["vocabulary_size"])


calls = []


def watch():
    """Notes when each decode and each choice of a token begins and ends, as decode-clock.c does in llama-server."""
    if "_watched" in scope:
        return
    scope["_watched"] = True
    api = scope["_state"]["api"]
    scope["_decode"] = noting(0, scope["_decode"])
    api.llama_sampler_sample = noting(1, api.llama_sampler_sample)


def noting(kind, call):
    def noted(*args):
        started = time.monotonic_ns()
        result = call(*args)
        calls.append((kind, started, time.monotonic_ns()))
        return result

    return noted


def requests(lines):
    """The calls of a request are told with the next "calls"; the worker answers requests of its own methods."""
    for line in lines:
        request = json.loads(line)
        if request["method"] in ("bare", "calls"):
            result = bare(request["params"]) if request["method"] == "bare" else {"calls": calls[:]}
            scope["_replies"].write(json.dumps({"id": request["id"], "result": result}) + "\n")
            scope["_replies"].flush()
            continue
        if request["method"] == "generate":
            watch()
            calls.clear()
        yield line


sys.stdin = requests(sys.stdin)
with open(sys.argv[1], encoding="utf-8") as source:
    exec(compile(source.read(), sys.argv[1], "exec"), scope)
