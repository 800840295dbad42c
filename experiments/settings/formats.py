"""Experiments as files keep them, of this version and of those before.

Every file has a format number; one without is of format 1. A field that did not exist
when a file was written takes the value that the code of its day meant (`option`'s
``before``, or what is said here).
"""

from collections.abc import Mapping
from typing import Any

from experiments.settings.experiment import Experiment
from hierjax import options
from hierjax.errors import UserError

FORMAT = 2


def to_record(experiment: Experiment) -> dict[str, Any]:
    """An experiment as JSON keeps it."""
    return {"format": FORMAT, **options.to_plain(experiment)}


def from_record(record: Mapping[str, Any]) -> Experiment:
    """The experiment of a record of any version.

    Raises:
      UserError: a format from the future, or fields that no version had.
    """
    number = record.get("format", 1)
    if record.get("weights") and "fresh_stem" not in record:
        # Before there was this option, the first convolution always started afresh.
        record = {**record, "fresh_stem": True}
    if number == 1:
        return options.changed(Experiment(), from_flat(record))
    if number != FORMAT:
        raise UserError(
            f"format {number!r} was written by a newer version; this one reads up to "
            f"{FORMAT}"
        )
    fields = {key: value for key, value in record.items() if key != "format"}
    return options.from_plain(Experiment, options.stored(Experiment, fields))


# Format 1 held the options of all methods side by side. By loss: the method, and its
# options by the names they had.
_CONTRASTIVE = {"temperature": "temperature", "block_size": "block_size"}
_HIERARCHICAL = {**_CONTRASTIVE, "official": "official"}
_METHODS = {
    "none": ("input", {}),
    "untrained": ("untrained", {}),
    "rank_based": (
        "rank_based",
        dict.fromkeys(("distance", "target", "stop_gradient_target")),
    ),
    "triplet": ("triplet", dict.fromkeys(("distance", "margin"))),
    "tuplet": (
        "tuplet",
        dict.fromkeys(("distance", "margin_inner", "margin_outer")),
    ),
    "simclr": ("simclr", _HIERARCHICAL),
    "supcon": ("supcon", {**_HIERARCHICAL, "label_level": None}),
    "hmc": ("hmc", _HIERARCHICAL),
    "hce": ("hce", {**_HIERARCHICAL, "pairwise_max": None}),
    "hmce": ("hmce", {**_HIERARCHICAL, "pairwise_max": None}),
    "level_contrastive": (
        "level_contrastive",
        {**_CONTRASTIVE, "label_scope": None, "balance": None},
    ),
    **dict.fromkeys(
        ("softmax", "normface", "proxydr", "corr"),
        ("classifier", {"class_priors": None}),
    ),
}
_OF_METHODS = (
    "loss",
    "distance",
    "target",
    "stop_gradient_target",
    "margin",
    "margin_inner",
    "margin_outer",
    "proxies",
    "scale",
    "dynamic_scale",
    "ema_decay",
    "class_priors",
    "official",
    "temperature",
    "block_size",
    "label_level",
    "pairwise_max",
    "masks",
    "label_scope",
    "balance",
    "activation",
    "overlap_weight",
    "entropy_weight",
)


def from_flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """What format 1 said, as overrides of an experiment of today.

    Args:
      record: fields of format 1, all or some; those of other methods than its ``loss``
        were of no effect and are left out.

    Raises:
      UserError: an unknown loss.
    """
    changes = {key: value for key, value in record.items() if key not in _OF_METHODS}
    changes.pop("format", None)
    loss = record.get("loss", "rank_based")
    if loss not in _METHODS:
        raise UserError(f"unknown loss {loss!r} in a record of format 1")
    name, kept = _METHODS[loss]
    changes["method"] = name
    # Others have no measures of classes.
    if name in ("classifier", "untrained") and "official" in record:
        changes["official_measures"] = record["official"]
    for old, new in kept.items():
        if old in record:
            changes[f"method.{new or old}"] = record[old]
    if name == "classifier":
        changes |= _of_classifier(loss, record)
    if name == "level_contrastive" and "masks" in record:
        changes |= _of_masks(record)
    return changes


def overrides_of_today(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of a trial of any version as they are called today."""
    return {
        "scale.value" if key == "scale" and isinstance(value, float) else key: value
        for key, value in overrides.items()
    }


def _of_classifier(loss: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """Score, representatives, scale and criterion of a classifier of format 1."""
    changes = {"method.score": "proxydr" if loss == "corr" else loss}
    if loss != "softmax" and "distance" in record:
        changes["method.score.distance"] = record["distance"]
    if "proxies" in record:
        changes["method.representatives"] = record["proxies"]
        if record["proxies"] == "ema" and "ema_decay" in record:
            changes["method.representatives.decay"] = record["ema_decay"]
    if record.get("dynamic_scale"):
        changes["method.scale"] = "dynamic"
        changes["method.scale.official"] = record.get("official", False)
    elif "scale" in record:
        changes["method.scale.value"] = record["scale"]
    if loss == "corr":
        changes["method.criterion"] = "corr"
        changes["method.criterion.official"] = record.get("official", False)
    return changes


def _of_masks(record: Mapping[str, Any]) -> dict[str, Any]:
    """Masks a level of format 1."""
    name, _, mode = record["masks"].partition("_")
    changes = {"method.masks": name}
    if mode:
        changes["method.masks.mode"] = mode
    if name == "attention":
        for key in ("activation", "overlap_weight", "entropy_weight"):
            if key in record:
                changes[f"method.masks.{key}"] = record[key]
    return changes
