"""llama.cpp's converter and, for the types that it cannot write, llama-quantize's library call, without the vocabulary.

argv: llama.cpp source folder, model folder, type, output, libllama or "-", threads
"""
import ctypes, os, sys
from pathlib import Path

cpp, folder, quant, out, libllama, threads = sys.argv[1:7]
sys.path.insert(0, cpp)
import convert_hf_to_gguf  # noqa: F401 -- puts the gguf package on the path
from conversion import ModelBase, get_model_architecture, get_model_class
from conversion.base import ModelType
import gguf
import torch

PLAIN = {"f32": 0, "f16": 1, "q8_0": 7, "bf16": 32}
QUANTIZE = {"q4_k_m": 15}


def convert(ftype, target):
    hparams = ModelBase.load_hparams(Path(folder), False)
    cls = get_model_class(get_model_architecture(hparams, ModelType.TEXT))
    cls = type(cls.__name__, (cls,), {"model_arch": cls.model_arch, "set_vocab": lambda self: None})
    with torch.inference_mode():
        cls(Path(folder), gguf.LlamaFileType(ftype), Path(target)).write()


class Params(ctypes.Structure):
    _fields_ = [("nthread", ctypes.c_int32), ("ftype", ctypes.c_int32), ("rest", ctypes.c_char * 248)]


if quant in PLAIN:
    convert(PLAIN[quant], out)
else:
    convert(PLAIN["bf16"], out + ".bf16.gguf")
    lib = ctypes.CDLL(libllama)
    lib.llama_model_quantize_default_params.restype = Params
    params = lib.llama_model_quantize_default_params()
    params.nthread, params.ftype = int(threads), QUANTIZE[quant]
    assert lib.llama_model_quantize((out + ".bf16.gguf").encode(), out.encode(), ctypes.byref(params)) == 0
    os.remove(out + ".bf16.gguf")
