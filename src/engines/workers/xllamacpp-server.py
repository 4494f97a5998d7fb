"""Starts llama.cpp's HTTP server from the xllamacpp wheel and ends when stdin does.

argv[1] is a JSON object made by src/engines/llama-server.ts: modelPath, port, runId and settings.
"""
import json
import os
import sys

import xllamacpp

ask = json.loads(sys.argv[1])
settings = ask["settings"]
print(f"system_info: {xllamacpp.get_system_info()}", file=sys.stderr, flush=True)

params = xllamacpp.CommonParams()
params.model.path = ask["modelPath"]
params.model_alias = {ask["runId"]}
params.hostnames = ["127.0.0.1"]
params.port = ask["port"]
params.n_parallel = 1
params.n_ctx = settings["contextTokens"]
params.n_batch = settings["batchTokens"]
params.n_ubatch = settings["microBatchTokens"]
params.cpuparams.n_threads = settings["threads"]
params.cpuparams_batch.n_threads = settings["threads"]
params.flash_attn_type = (
    xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_ENABLED
    if settings["flashAttention"]
    else xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
)
params.load_mode = (
    xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_MMAP if settings["mmap"] else xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_NONE
)
# The asked settings, not what fits: a silent change would be different work.
params.fit_params = False
params.cache_ram_mib = 0
params.ctx_shift = False
params.warmup = True
params.ui = False
if settings["gpu"] == "off":
    params.n_gpu_layers = 0
    params.no_kv_offload = True
    params.no_op_offload = True

server = xllamacpp.Server(params)
print(f"listening on {server.listening_address}", file=sys.stderr, flush=True)
sys.stdin.read()
os._exit(0)
