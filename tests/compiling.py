"""Quick compilation, for what is called once or twice on small arrays."""

import functools

import jax

# Nearly all the time of such tests goes into the compiler; half of that into LLVM's
# optimisations. Not for arccos, which is less exact without them.
QUICKLY = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}

jit = functools.partial(jax.jit, compiler_options=QUICKLY)
