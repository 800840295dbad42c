"""Shared settings: four fake devices, strict rank promotion, optional real data."""

import os
import pathlib

# The suite has a process a core. Further threads of BLAS and OpenMP spend ten times
# the work on waiting for each other. They are counted when NumPy is imported.
for _library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")

# Tests of what happens, not of the last digit. Most of their time goes into the
# compiler, and about 40 % of that into optimisations of code that runs once or twice.
COMPILED_QUICKLY = (
    "tests/data/",
    "tests/experiments/",
    "tests/inference/",
    "tests/losses/test_doctests.py",
    "tests/models/",
    "tests/objectives/",
    "tests/plotting/",
    "tests/soak/",
    "tests/test_docs.py",
    "tests/test_level_masks.py",
    "tests/test_mixtures.py",
    "tests/test_notebooks.py",
    *(
        f"tests/training/test_{name}.py"
        for name in (
            "checkpoints",
            "collapse",
            "damaged_checkpoints",
            "loop",
            "probe",
            "replay",
            "resuming",
            "selecting",
            "stopping",
        )
    ),
)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Compile quickly or as users do; neither finds what the other has compiled."""
    quickly = item.nodeid.startswith(COMPILED_QUICKLY)
    if quickly != jax.config.read("jax_disable_most_optimizations"):
        jax.config.update("jax_disable_most_optimizations", quickly)
        jax.clear_caches()


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """Folder of real data for development; tests that need it skip without it."""
    beside = pathlib.Path(__file__).parents[2] / "shared" / "data"
    folder = pathlib.Path(os.environ.get("HIERJAX_SHARED_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no development data: set HIERJAX_SHARED_DATA or make {beside}")
    return folder
