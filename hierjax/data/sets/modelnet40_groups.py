"""The 40 classes of ModelNet40 in 11 groups.

ModelNet40 comes without a hierarchy. The grouping by use is ours, made by hand, and no
paper's.
"""

from hierjax.hierarchy import Hierarchy

GROUPS = {
    "building part": "curtain door mantel stairs",
    "container": "bottle bowl cup flower_pot glass_box vase",
    "device": "keyboard lamp laptop monitor radio xbox",
    "fixture": "bathtub range_hood sink toilet",
    "instrument": "guitar piano",
    "living thing": "person plant",
    "outdoor object": "cone tent",
    "seat or bed": "bed bench chair sofa stool",
    "storage": "bookshelf dresser night_stand tv_stand wardrobe",
    "table": "desk table",
    "vehicle": "airplane car",
}
"""Classes of each group, by their official names."""


def hierarchy() -> Hierarchy:
    """Returns the tree group (11) -> class (40), classes in alphabetical order.

    That is the order of the official class numbers.
    """
    paths = [(group, name) for group, names in GROUPS.items() for name in names.split()]
    return Hierarchy.from_paths(
        sorted(paths, key=lambda path: path[1]), level_names=("group", "class")
    )
