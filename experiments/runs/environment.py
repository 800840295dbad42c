"""What a run was made with."""

import importlib.metadata
import os
import platform

import jax


def describe_hardware() -> dict[str, str]:
    """Versions and devices, for the record of a run."""
    packages = ("jax", "flax", "optax", "orbax-checkpoint", "numpy")
    devices = jax.devices()
    return {
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in packages},
        "platform": f"{platform.machine()}, {os.cpu_count()} cores",
        "devices": f"{len(devices)} x {devices[0].device_kind}",
    }
