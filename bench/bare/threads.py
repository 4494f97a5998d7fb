"""Decodes with llama.cpp's own library and nothing around it: with one thread, with more, and with more from a threadpool.

argv: folder of the libraries, model, tokens, threads. Prints one JSON object: milliseconds a token by mode, and the
threads that the system created meanwhile. Structures pass through as opaque bytes: their fields differ by version, and
the defaults are what is wanted.
"""
import ctypes
import glob
import json
import os
import random
import sys
import time

folder, model_path, tokens, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
CPU_DEVICE = 0
PROMPT = [1, 2, 3, 4, 5, 6, 7, 8]
pointer = ctypes.c_void_p


class Opaque(ctypes.Structure):
    """Larger than any of llama.cpp's parameter structures. By value and last: the callee reads its part of it."""

    _fields_ = [("bytes", ctypes.c_char * 2048)]


def library(name):
    found = [path for suffix in ("so", "dylib") for path in glob.glob(os.path.join(folder, f"lib{name}*.{suffix}"))]
    plain = [path for path in found if os.path.basename(path).split(".")[0] == f"lib{name}"]
    return ctypes.CDLL(min(plain, key=len), mode=ctypes.RTLD_GLOBAL)


base, ggml, llama = library("ggml-base"), library("ggml"), library("llama")


def function(owner, name, result, *arguments):
    found = getattr(owner, name)
    found.restype, found.argtypes = result, arguments
    return found


silent = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, pointer)(lambda *_: None)
function(llama, "llama_log_set", None, type(silent), pointer)(silent, None)
function(ggml, "ggml_backend_load_all_from_path", None, ctypes.c_char_p)(folder.encode())
function(llama, "llama_backend_init", None)()
model_params = function(llama, "llama_model_default_params", Opaque)()
model = function(llama, "llama_model_load_from_file", pointer, ctypes.c_char_p, Opaque)(model_path.encode(), model_params)
context_params = function(llama, "llama_context_default_params", Opaque)()
context = function(llama, "llama_init_from_model", pointer, pointer, Opaque)(model, context_params)
assert model and context, "the model does not load"

memory = function(llama, "llama_get_memory", pointer, pointer)(context)
clear = function(llama, "llama_memory_clear", None, pointer, ctypes.c_bool)
batch_of = function(llama, "llama_batch_get_one", Opaque, ctypes.POINTER(ctypes.c_int32), ctypes.c_int32)
decode = function(llama, "llama_decode", ctypes.c_int32, pointer, Opaque)
set_threads = function(llama, "llama_set_n_threads", None, pointer, ctypes.c_int32, ctypes.c_int32)
attach = function(llama, "llama_attach_threadpool", None, pointer, pointer, pointer)
detach = function(llama, "llama_detach_threadpool", None, pointer)
device = function(ggml, "ggml_backend_dev_by_type", pointer, ctypes.c_int)(CPU_DEVICE)
backend = function(base, "ggml_backend_dev_backend_reg", pointer, pointer)(device)
address = function(base, "ggml_backend_reg_get_proc_address", pointer, pointer, ctypes.c_char_p)
new_pool = ctypes.CFUNCTYPE(pointer, ctypes.POINTER(Opaque))(address(backend, b"ggml_threadpool_new"))
pool_params = function(base, "ggml_threadpool_params_default", Opaque, ctypes.c_int)(threads)
# Never freed: ggml pauses the pool of the step before when it gets another one or none.
pool = new_pool(ctypes.byref(pool_params))


def feed(ids):
    # The batch points at them: they must outlive it.
    kept = (ctypes.c_int32 * len(ids))(*ids)
    assert decode(context, batch_of(kept, len(ids))) == 0, "llama_decode failed"


def created():
    """Processes and threads since the system started; None where there is no such count."""
    try:
        with open("/proc/stat") as stat:
            return next(int(line.split()[1]) for line in stat if line.startswith("processes "))
    except OSError:
        return None


def measure(count, pooled):
    if pooled:
        attach(context, pool, None)
    set_threads(context, count, count)
    clear(memory, False)
    feed(PROMPT)
    feed(PROMPT[:1])
    before, started = created(), time.monotonic_ns()
    for index in range(tokens):
        feed([100 + index])
    elapsed, after = time.monotonic_ns() - started, created()
    detach(context)
    return {"msPerToken": elapsed / 1e6 / tokens, "created": None if before is None else (after - before) / tokens}


modes = {"one": (1, False), "more": (threads, False), "pool": (threads, True)}
for warmup in modes.values():
    measure(*warmup)
print(json.dumps({name: measure(*modes[name]) for name in random.sample(list(modes), len(modes))}))
