#!/usr/bin/env python3
"""mlperf_check.py LIBFLEXHPC.SO: the scaling model against published logs of another network on the same kind of machine.

MLPerf training v4.0, Stable Diffusion v2, NVIDIA's results on Eos (github mlcommons/training_results_v4.0,
NVIDIA/results/eos_*ngc24.04_nemo/stable_diffusion/result_0.txt): 865.5 M trained parameters; 8 H100 at batch 64 a GPU 127
samples/s/GPU; 64 H100 at batch 16 a step of 144.9 ms; 1,024 H100 at batch 2 a step of 41.0 ms. Compute is scaled from the
8-GPU rate, less AdamW at 34 bytes a parameter; a third of it is forward; backward's gradients go in 25 MB buckets, in
fp32 and in bf16, since the logs don't say which.
"""
import ctypes as c
import sys

lib = c.CDLL(sys.argv[1])


class Entry(c.Structure):
    _fields_ = [("kind", c.c_int), ("seconds", c.c_double), ("bytes", c.c_double)]


class Fabric(c.Structure):
    _fields_ = [("network", c.c_void_p), ("measured", c.c_void_p)]


class Replay(c.Structure):
    _fields_ = [(n, c.c_double) for n in ("step", "work", "sums", "exposed", "slowed")]


PARAMETERS, BUCKET, WORK, SUM, JOIN = 865.5e6, 25e6, 0, 1, 4
network = c.c_void_p()
assert lib.fx_network_find(b"h100-ndr", c.byref(network)) == 0
fabric = Fabric(network, None)
update = 34 * PARAMETERS / 3.0e12
sample = (64 / 127 - update) / 64
print("| GPUs | batch a GPU | gradients | predicted ms | of it sums that nothing hides | logged ms | error |\n|---|---|---|---|---|---|---|")
for ranks, batch, logged in ((64, 16, 144.9), (1024, 2, 41.0)):
    for kind, each in (("bf16", 2), ("fp32", 4)):
        count = round(PARAMETERS * each / BUCKET)
        entries = [Entry(WORK, batch * sample / 3, 0)]
        for _ in range(count):
            entries += [Entry(WORK, batch * sample * 2 / 3 / count, 0), Entry(SUM, 0, PARAMETERS * each / count)]
        entries += [Entry(JOIN, 0, 0), Entry(WORK, update, 0)]
        out = Replay()
        assert lib.fx_replay_jitter((Entry * len(entries))(*entries), len(entries), c.byref(fabric), ranks, c.c_double(0.06),
                                    c.c_double(0.003), c.c_uint64(1), c.byref(out)) == 0
        print(f"| {ranks} | {batch} | {kind} | {1e3 * out.step:.1f} | {1e3 * out.exposed:.1f} | {logged} |"
              f" {100 * (1e3 * out.step / logged - 1):+.0f} % |")
