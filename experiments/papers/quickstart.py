"""The first experiments of a newcomer, on data that ship with the package.

Both beat the neighbours of their input at every level; settings were chosen on
validation.
"""

from collections.abc import Iterator

from experiments.papers import class_hierarchies
from experiments.settings.experiment import Experiment

DEFAULT = "quickstart"
"""The default experiment of ``experiments.train``."""

_PRESETS = {
    DEFAULT: (
        "omniglot",
        # Tagalog, the smallest alphabet, is hidden, so that most is left to learn.
        {"protocol": "alphabets", "fold": 7, "selection": "nn/average"},
        "ProxyDR on the shipped Omniglot drawings, in under a minute",
    ),
    "quickstart_sounds": (
        "gm_notes",
        {
            "model": "convnet_flat",
            "learning_rate": 3e-3,
            "schedule": "cosine",
            "selection": "nn/average",
        },
        "ProxyDR on the shipped gm_notes, in under a minute",
    ),
}


def presets() -> Iterator[tuple[str, Experiment, str]]:
    """Name, experiment and summary of each."""
    proxydr, _ = class_hierarchies.rows()["proxydr"]
    for name, (dataset, fields, summary) in _PRESETS.items():
        yield name, class_hierarchies.experiment(dataset, proxydr | fields), summary
