"""What presets say of the user's own data: nothing until the data are loaded."""

KINDS = ("csv", "folder", "npz", "tfds")
"""Data sets that are anybody's own; ``tfds`` stands for every ``tfds:<name>``."""

FIELDS = {"model": "auto", "augment": "auto", "init": "auto", "standardize": True}
"""`settings.adapting` chooses these by the data, `standardize` with the others;
`init` is for vectors."""


def kind_of(dataset: str) -> str:
    """The data set of the presets that a data set goes by."""
    return dataset.partition(":")[0]
