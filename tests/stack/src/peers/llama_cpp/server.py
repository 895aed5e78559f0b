#!/usr/bin/env python3
"""llama.cpp's own HTTP server, by the wheel xllamacpp, with the arguments of `llama-server` that manifests here use.

There is no network to fetch a model by: whichever one is named, a llama with random weights is served.
"""
import argparse
import sys
import threading

files = __file__ + ".files"
sys.path.insert(0, files)
import xllamacpp

parser = argparse.ArgumentParser("llama-server")
parser.add_argument("--hf-repo", "-hf", metavar="OWNER/NAME")
parser.add_argument("--model", "-m", metavar="FILE")
parser.add_argument("--alias", "-a", default="random")
parser.add_argument("--host", default="127.0.0.1")
parser.add_argument("--port", type=int, default=8080)
parser.add_argument("--parallel", "-np", type=int, default=1)
parser.add_argument("--ctx-size", "-c", type=int, default=4096)
parser.add_argument("--metrics", action="store_true")
arguments = parser.parse_args()

params = xllamacpp.CommonParams()
params.model.path = files + "/random.gguf"
params.model_alias = {arguments.alias}
params.hostnames = [arguments.host]
params.port = arguments.port
params.n_parallel = arguments.parallel
params.n_ctx = arguments.ctx_size
params.endpoint_metrics = arguments.metrics
params.warmup = False
# Threads wait for each other at every layer: with more of them than idle cores it is slower by orders of magnitude.
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(params)
print("listening on", server.listening_address, flush=True)
threading.Event().wait()
