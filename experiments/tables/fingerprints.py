"""What the numbers of a job rest on besides its settings: the code, and the data.

A job keeps both beside its result. Results of different code or data are not averaged:
a table is of one code, or says that it is not.
"""

import ast
import dataclasses
import functools
import hashlib
import importlib.metadata
import inspect
import pathlib
import sys
import weakref
from collections.abc import Iterator

from experiments.settings.experiment import Experiment
from hierjax import data

UNKNOWN = "from before jobs kept what they rest on"
"""The code of jobs that do not say it."""

_ROOT = pathlib.Path(__file__).parents[2]
_WITH_EFFECT = (
    "hierjax",
    "experiments/settings",
    "experiments/runs/obtaining.py",
    "experiments/runs/probing.py",
    "experiments/tables/jobs.py",
    "experiments/tables/measured.py",
    "experiments/tables/sharing.py",
)
"""Folders and files that a job runs. What presets and rows say is in its settings."""
_WITHOUT_EFFECT = ("hierjax/plotting", "hierjax/inference", "hierjax/locking.py")
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy", "scikit-learn")

_digests: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def of_data(dataset: data.Dataset) -> str:
    """A text that changes with the features, labels, splits or names of a data set.

    Features count to the last bit: other decoders of images make other data.
    """
    if dataset not in _digests:
        text = hashlib.sha256(dataset.digest().encode())
        for rows in dataset.features:
            text.update(rows.tobytes())
        _digests[dataset] = text.hexdigest()[:16]
    return _digests[dataset]


def of(experiment: Experiment, data_digest: str) -> dict[str, str]:
    """What the numbers of an experiment rest on.

    Args:
      experiment: what is run.
      data_digest: of its data, see `of_data`.

    Returns:
      Under 'data' the digest, under 'code' one of the sources with the versions of
      packages, and under 'own methods' the sources of classes that are the user's own;
      comments, docstrings and layout of sources have no effect on them.
    """
    own = sorted(set(_own_sources(experiment)))
    return {
        "data": data_digest,
        "code": of_code(),
        "own methods": ", ".join(f"{path.name} {_digest([path])}" for path in own),
    }


@functools.cache
def of_code() -> str:
    """A text that changes with the sources of a job and the packages they use."""
    packages = [f"{x} {importlib.metadata.version(x)}" for x in _PACKAGES]
    sources = _digest([_ROOT / path for path in source_files()])
    return ", ".join([f"sources {sources}", *packages])


def difference(code: str) -> str:
    """How the code that computed a result differs from that of now, in words."""
    if code == UNKNOWN:
        return code
    then, now = (
        dict(x.split(" ") for x in text.split(", ")) for text in (code, of_code())
    )
    return (
        ", ".join(
            f"{key} {then.get(key)} then and {now.get(key)} now"
            for key in sorted(then.keys() | now.keys(), reverse=True)
            if then.get(key) != now.get(key)
        )
        or "of methods of your own"
    )


def source_files() -> list[pathlib.Path]:
    """The sources that decide the result of a job, relative to the root, in order."""
    found = []
    for place in map(_ROOT.joinpath, _WITH_EFFECT):
        found += [place] if place.suffix else place.rglob("*.py")
    relative = sorted(path.relative_to(_ROOT) for path in found)
    skipped = set(map(pathlib.Path, _WITHOUT_EFFECT))
    return [path for path in relative if not skipped & {path, *path.parents}]


def _own_sources(settings: object) -> Iterator[pathlib.Path]:
    """Files outside these packages whose classes an experiment is made of."""
    if not dataclasses.is_dataclass(settings):
        return
    module = type(settings).__module__
    if module.split(".")[0] not in ("hierjax", "experiments"):
        file = inspect.getsourcefile(sys.modules[module])
        yield pathlib.Path(file).resolve()
    for field in dataclasses.fields(settings):
        yield from _own_sources(getattr(settings, field.name))


def _digest(paths: list[pathlib.Path]) -> str:
    text = hashlib.sha256()
    for path in paths:
        text.update(path.name.encode() + _meaning(path.read_text()).encode())
    return text.hexdigest()[:12]


def _meaning(source: str) -> str:
    """A source without its comments, docstrings and layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)
