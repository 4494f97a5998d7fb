"""Asks llama.cpp (PyPI package xllamacpp) for the token ids of texts: python llama_cpp_token_ids.py MODEL TEXTS.json OUT.json

TEXTS.json is a list of strings; OUT.json becomes [{"text", "ids"}]. Made smollm-token-ids.json in ../fixtures.
"""
import json
import os
import sys
import urllib.request

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.hostnames = ["127.0.0.1"]
params.port = 18123
params.n_ctx = 256
params.n_parallel = 1
params.n_gpu_layers = 0
params.warmup = False
server = xllamacpp.Server(params)


def ids(text):
    body = json.dumps({"content": text, "add_special": False, "parse_special": True}).encode()
    request = urllib.request.Request(server.listening_address + "/tokenize", data=body, headers={"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request))["tokens"]


with open(sys.argv[2]) as texts, open(sys.argv[3], "w") as out:
    json.dump([{"text": text, "ids": ids(text)} for text in json.load(texts)], out)
# The server's threads do not end by themselves.
os._exit(0)
