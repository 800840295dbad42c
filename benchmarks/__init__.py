"""Benchmarks: one thread on one core, set before any numerical library is loaded.

``BENCHMARK_CORES`` lists the cores to use, ``0`` by default; with more than one, or
when it is empty (all cores), the libraries choose their number of threads themselves.
"""

import os

_cores = {
    int(core) for core in os.environ.get("BENCHMARK_CORES", "0").split(",") if core
}
if _cores:
    os.sched_setaffinity(0, _cores)
if len(_cores) == 1:
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    os.environ["XLA_FLAGS"] = (
        os.environ.get("XLA_FLAGS", "")
        + " --xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    ).strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")
