"""runoff's own libllama worker and llama-bench's loop in one process, on one context: what differs is the loop alone.

argv: runoff's worker. Requests with the method "bare" are answered here, all others there.
"""
import json
import random
import sys
import time

scope = {"__name__": "worker"}


def bare(params):
    """Random ids as in llama-bench: a prompt, then answers after it, without and with a sampler."""
    api, context, memory = (scope["_state"][name] for name in ("api", "context", "memory"))
    depth, want = params["promptTokens"], params["generateTokens"]
    prompt = (api.llama_token * depth)(*(random_token() for _ in range(depth)))
    api.llama_memory_clear(memory, False)
    started = time.monotonic_ns()
    scope["_decode"](api, context, prompt)
    api.llama_synchronize(context)
    answer = {"prefillMs": (time.monotonic_ns() - started) / 1e6}
    samplers = {
        "none": None,
        "worker": scope["_sampler"](tuple(params["bannedTokens"])),
        "server": server_sampler(tuple(params["bannedTokens"])),
    }
    for name in random.sample(list(samplers), len(samplers)):
        # Back to the prompt: every answer begins at the same depth.
        api.llama_memory_seq_rm(memory, 0, depth, -1)
        # A sampler is timed by itself: a part of the answer tells enough.
        answer[name] = span(api, context, samplers[name], want if name == "none" else max(1, want // 4))
    return answer


def span(api, context, sampler, want):
    """Milliseconds of a token, for the model and for the sampler, each on its own clock."""
    token = (api.llama_token * 1)(random_token())
    decode_ns = sample_ns = 0
    for _ in range(want):
        started = time.monotonic_ns()
        scope["_decode"](api, context, token)
        api.llama_synchronize(context)
        decoded = time.monotonic_ns()
        decode_ns += decoded - started
        if sampler is None:
            token[0] = random_token()
        else:
            token[0] = api.llama_sampler_sample(sampler, context, -1)
            sample_ns += time.monotonic_ns() - decoded
    return {"decodeMs": decode_ns / 1e6 / want, "samplingMs": sample_ns / 1e6 / want}


def random_token():
    return random.randrange(scope["_state"]["vocabulary_size"])


_servers = {}


def server_sampler(banned):
    """What llama-server makes of runoff's request: bias, top-k of 1, temperature 0, and a draw from what is left."""
    if banned not in _servers:
        api = scope["_state"]["api"]
        chain = api.llama_sampler_chain_init(api.llama_sampler_chain_default_params())
        bias = (api.llama_logit_bias * max(1, len(banned)))()
        for index, token in enumerate(banned):
            bias[index].token, bias[index].bias = token, float("-inf")
        size = scope["_state"]["vocabulary_size"]
        api.llama_sampler_chain_add(chain, api.llama_sampler_init_logit_bias(size, len(banned), bias))
        api.llama_sampler_chain_add(chain, api.llama_sampler_init_top_k(1))
        api.llama_sampler_chain_add(chain, api.llama_sampler_init_temp_ext(0.0, 0.0, 1.0))
        api.llama_sampler_chain_add(chain, api.llama_sampler_init_dist(0))
        _servers[banned] = chain
    return _servers[banned]


def requests(lines):
    for line in lines:
        request = json.loads(line)
        if request["method"] != "bare":
            yield line
            continue
        scope["_replies"].write(json.dumps({"id": request["id"], "result": bare(request["params"])}) + "\n")
        scope["_replies"].flush()


sys.stdin = requests(sys.stdin)
with open(sys.argv[1], encoding="utf-8") as source:
    exec(compile(source.read(), sys.argv[1], "exec"), scope)
