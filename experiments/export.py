"""Export a trained run as StableHLO: ``python -m experiments.export --workdir=W``."""

import pathlib

from absl import flags

from experiments.cli import command_line
from experiments.runs import new_data
from hierjax import inference
from hierjax.errors import UserError


def define_flags() -> None:
    """Flags of this command."""
    flags.DEFINE_string("workdir", None, "Folder of the trained run.")
    flags.DEFINE_string("out", None, "File to write; default W/embed.stablehlo.")
    flags.DEFINE_list(
        "platforms", list(inference.PLATFORMS), "Where the function is to run."
    )


def main() -> None:
    """Write the embedding function and compare it with the model."""
    values = flags.FLAGS
    unknown = set(values.platforms) - set(inference.PLATFORMS)
    if unknown or not values.platforms:
        raise UserError(
            f"--platforms takes some of {', '.join(inference.PLATFORMS)}, got "
            f"{','.join(values.platforms)!r}"
        )
    model = new_data.model_of(values.workdir)
    out = pathlib.Path(values.out or f"{values.workdir}/embed.stablehlo")
    difference = inference.write_exported(model, out, platforms=tuple(values.platforms))
    shape = ", ".join(map(str, model.input_shape))
    print(f"{out}: {model.input_dtype} [b, {shape}] -> float32 [b, D]")
    print(f"largest relative difference to the model: {difference:.1e}")
    print(f'read it with hierjax.inference.read_exported("{out}")')


if __name__ == "__main__":
    command_line.run(main, define_flags)
