"""Shared settings: four fake devices, strict rank promotion, optional real data."""

import os
import pathlib

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """Folder of real data for development; tests that need it skip without it."""
    beside = pathlib.Path(__file__).parents[2] / "shared" / "data"
    folder = pathlib.Path(os.environ.get("HIERJAX_SHARED_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no development data: set HIERJAX_SHARED_DATA or make {beside}")
    return folder
