"""The embedding function as StableHLO, for programs without this library."""

import pathlib

import jax
import jax.export
import numpy as np

from hierjax.errors import UserError
from hierjax.inference.model import TrainedModel

PLATFORMS = ("cpu", "cuda", "tpu")
_TOLERANCE = 1e-5


def export(
    model: TrainedModel, *, platforms: tuple[str, ...] = PLATFORMS
) -> jax.export.Exported:
    """Lowers `TrainedModel.embed` for any number of rows.

    The weights and the preprocessing are constants of the function. It takes features
    ``[b, *input_shape]`` of the model's ``input_dtype``, and sizes ``[b, 2]`` float32
    after them where the encoder reads sizes, and returns float32 ``[b, D]``.

    Args:
      model: what to export.
      platforms: it is to run on; only the one at hand can be tried out here.

    Returns:
      What `jax.export.Exported.serialize` turns into bytes.
    """
    (rows,) = jax.export.symbolic_shape("b")
    arguments = [jax.ShapeDtypeStruct((rows, *model.input_shape), model.input_dtype)]
    if model.has_sizes:
        arguments.append(jax.ShapeDtypeStruct((rows, 2), np.float32))
    return jax.export.export(jax.jit(model.forward), platforms=platforms)(*arguments)


def write_exported(
    model: TrainedModel,
    path: str | pathlib.Path,
    *,
    platforms: tuple[str, ...] = PLATFORMS,
) -> float:
    """Exports to a file, reads it back and compares it with the model.

    The comparison is made on random inputs of 1 and of 5 rows.

    Args:
      model: what to export.
      path: a file; `jax.export.deserialize` reads its bytes.
      platforms: see `export`.

    Returns:
      The largest difference of an embedding, relative to the largest embedding value.

    Raises:
      UserError: the file cannot be written.
      RuntimeError: the difference is above 1e-5.
    """
    path = pathlib.Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(export(model, platforms=platforms).serialize())
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None
    call = read_exported(path)
    # Not `embed`: in a batch of another size bfloat16 rounds otherwise.
    forward = jax.jit(model.forward)
    difference = 0.0
    for number in (1, 5):
        inputs = _random_inputs(model, number)
        expected = np.asarray(forward(*inputs))
        found = np.asarray(call(*inputs))
        largest = max(np.abs(expected).max(), 1e-30)
        difference = max(difference, float(np.abs(found - expected).max() / largest))
    if not difference <= _TOLERANCE:
        raise RuntimeError(f"{path} differs from the model by {difference:.2g}")
    return difference


def read_exported(path: str | pathlib.Path):
    """The embedding function of a file that `write_exported` has made."""
    return jax.export.deserialize(bytearray(pathlib.Path(path).read_bytes())).call


def _random_inputs(model: TrainedModel, number: int) -> list[np.ndarray]:
    rng = np.random.default_rng(number)
    shape = (number, *model.input_shape)
    if model.input_dtype == "uint8":
        inputs = [rng.integers(0, 256, shape, dtype=np.uint8)]
    else:
        inputs = [rng.standard_normal(shape, dtype=np.float32)]
    if model.has_sizes:
        inputs.append(rng.uniform(20, 500, (number, 2)).astype(np.float32))
    return inputs
