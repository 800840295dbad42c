"""The JSON of a table: what it holds today, and how older files are read.

Format 2: every number is an entry with ``value`` and, where there are any, ``sd``,
``low``, ``high`` and ``p``; measures are named ``measure[@k]/level[/kind]``; what rows
are compared with stands under ``comparisons`` of a block; published numbers carry their
source and measures. Format 1, which gives no number, had a form a kind of table.
"""

import pathlib

from experiments.papers.rank_based import PUBLISHED_MEASURES, PUBLISHED_SOURCE
from experiments.runs.files import read_json
from experiments.runs.former_names import current_names
from hierjax.errors import UserError

FORMAT = 2


def read_table(path: pathlib.Path) -> dict:
    """The content of a table's JSON in today's format.

    Raises:
      UserError: the file is of a later format.
    """
    content = read_json(path)
    written = content.get("format", 1)
    if written > FORMAT:
        raise UserError(
            f"{path} has format {written}; this version reads formats up to {FORMAT}"
        )
    return content if written == FORMAT else _from_first(content)


def _from_first(content: dict) -> dict:
    measured = content.get("measured", "neighbors")
    return {
        "measured": measured,
        "needed_accuracy": 0.0,
        "baselines": [],
        "trials": {},
        **content,
        "format": FORMAT,
        "blocks": [_block(block, measured) for block in content["blocks"]],
    }


def _block(block: dict, measured: str) -> dict:
    levels = block.get("levels", [])

    def entries(measures: dict) -> dict:
        named = current_names(measures, levels, measured)
        return {name: _entry(entry) for name, entry in named.items()}

    def row(old: dict) -> dict:
        chosen = old["chosen"]
        new = {key: value for key, value in old.items() if key != "gain"}
        new |= {"chosen": chosen if isinstance(chosen, list) else [chosen]}
        trees = [key for key in ("measures", "true_tree") if key in old]
        new |= {key: entries(old[key]) for key in trees}
        if "sibling_overlap" in old:
            new["sibling_overlap"] = _entry(old["sibling_overlap"])
        return {"folds": 1, "neighbors": []} | new

    comparisons = [
        {"row": name, "against": other, "differences": entries(gains)}
        for name, old in block["rows"].items()
        for other, gains in old.get("gain", {}).items()
    ]
    for old in block.get("comparisons", []):
        differences = entries(old["differences"])
        tested = current_names(old["class_permutation_p"], levels, measured)
        for name, p in tested.items():
            differences[name]["p"] = p
        comparisons.append(
            {key: old[key] for key in ("row", "against", "seeds")}
            | {"differences": differences}
        )
    first = next(iter(block["rows"].values()), {})
    numbers = block.get("published", {})
    return {
        "settings": {},
        "untrained_classes": first.get("untrained_classes", []),
        "untested_classes": first.get("untested_classes", []),
        **block,
        "rows": {name: row(old) for name, old in block["rows"].items()},
        "comparisons": comparisons,
        # All published numbers of that time were these.
        "published": {
            "source": PUBLISHED_SOURCE if numbers else "",
            "measures": PUBLISHED_MEASURES,
            "rows": numbers,
        },
    }


def _entry(old: dict) -> dict:
    """An entry whose value was a mean over seeds, or the mean of a difference."""
    value = old["mean"] if "mean" in old else old["value"]
    return {"value": value} | {k: old[k] for k in ("sd", "low", "high") if k in old}
