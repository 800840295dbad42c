"""The label tree of CIFAR-100 with 3, 7, 20 and 100 nodes.

The two upper levels are those of "Inspecting class hierarchies in classification-based
metric learning models" (arXiv 2301.11065); the 20 superclasses and the 100 classes are
those of CIFAR-100 itself.
"""

from hierjax.hierarchy import Hierarchy

_TREE = {
    "Nature_non-animal": {
        "Plants": {
            "flowers": "orchid poppy rose sunflower tulip",
            "fruit_and_vegetables": "apple mushroom orange pear sweet_pepper",
            "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
        },
        "Nature_non-specific_organism": {
            "large_natural_outdoor_scenes": "cloud forest mountain plain sea",
        },
    },
    "Animals": {
        "Non-mammal_vertebrates": {
            "fish": "aquarium_fish flatfish ray shark trout",
            "reptiles": "crocodile dinosaur lizard snake turtle",
        },
        "Mammals": {
            "people": "baby boy girl man woman",
            "large_carnivores": "bear leopard lion tiger wolf",
            "aquatic_mammals": "beaver dolphin otter seal whale",
            "large_omnivores_and_herbivores": (
                "camel cattle chimpanzee elephant kangaroo"
            ),
            "medium_mammals": "fox porcupine possum raccoon skunk",
            "small_mammals": "hamster mouse rabbit shrew squirrel",
        },
        "Invertebrates": {
            "insects": "bee beetle butterfly caterpillar cockroach",
            "non-insect_invertebrates": "crab lobster snail spider worm",
        },
    },
    "Artificial": {
        "Artificial_indoor": {
            "household_furniture": "bed chair couch table wardrobe",
            "food_containers": "bottle bowl can cup plate",
            "household_electrical_devices": "clock keyboard lamp telephone television",
        },
        "Artificial_outdoor": {
            "vehicles_1": "bicycle bus motorcycle pickup_truck train",
            "large_man-made_outdoor_things": "bridge castle house road skyscraper",
            "vehicles_2": "lawn_mower rocket streetcar tank tractor",
        },
    },
}


def hierarchy() -> Hierarchy:
    """Returns the tree; class ids are the labels of the data, alphabetical."""
    paths = [
        (realm, group, superclass, name)
        for realm, groups in _TREE.items()
        for group, superclasses in groups.items()
        for superclass, names in superclasses.items()
        for name in names.split()
    ]
    return Hierarchy.from_paths(
        sorted(paths, key=lambda path: path[-1]),
        level_names=("realm", "group", "superclass", "class"),
    )
