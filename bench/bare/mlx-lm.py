"""runoff's own worker and a plain generate_step loop in one process, on one model: what differs is the loop alone.

argv: runoff's worker. Requests with the method "bare" are answered here, all others there.
"""
import json
import sys
import time

scope = {"__name__": "worker"}


def bare(params):
    import mlx.core as mx
    from mlx_lm.generate import generate_step

    times = []
    started = time.perf_counter()
    for _ in generate_step(
        mx.array(params["prompt"]), scope["_state"]["model"], max_tokens=params["generateTokens"], prefill_step_size=512
    ):
        times.append((time.perf_counter() - started) * 1000)
        if len(times) >= params["generateTokens"]:
            break
    return times


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
