"""Colours of nodes, by the label tree, and of labels that have no tree."""

import numpy as np
from matplotlib.colors import to_rgb

from hierjax.hierarchy import Hierarchy
from hierjax.plotting.tree_order import level_of_families, runs, tree_order

INK = (0.15, 0.15, 0.15)
RULE = (0.72, 0.72, 0.72)
# Chosen by search so that any two, and each and RULE, lie far apart in Oklab under
# normal sight and under simulated protanopia, deuteranopia and tritanopia.
_CATEGORIES = (
    *("#0e8ef5", "#ff7e13", "#73092f", "#3b7565", "#eed001"),
    *("#8242bd", "#4fd1fe", "#c43709", "#033e7b", "#ae87a3"),
)


def oklch_to_rgb(lightness: np.ndarray, hue: np.ndarray) -> np.ndarray:
    """Returns sRGB [N, 3] with the largest chroma up to 0.15 that the gamut holds.

    Lowering the chroma keeps lightness and hue, where clipping would bend both.
    Source: B. Ottosson, "A perceptual color space for image processing" (2020),
    https://bottosson.github.io/posts/oklab/.
    """
    chroma = np.linspace(0.15, 0.0, 31)
    lab = np.stack(
        np.broadcast_arrays(
            lightness[:, None],
            chroma * np.cos(hue)[:, None],
            chroma * np.sin(hue)[:, None],
        ),
        axis=-1,
    )
    cube_roots = lab @ np.array(
        [
            [1.0, 1.0, 1.0],
            [0.3963377774, -0.1055613458, -0.0894841775],
            [0.2158037573, -0.0638541728, -1.2914855480],
        ]
    )
    linear = cube_roots**3 @ np.array(
        [
            [4.0767416621, -1.2684380046, -0.0041960863],
            [-3.3077115913, 2.6097574011, -0.7034186147],
            [0.2309699292, -0.3413193965, 1.7076147010],
        ]
    )
    inside = np.all((linear >= -1e-6) & (linear <= 1 + 1e-6), axis=-1)
    linear = linear[np.arange(len(lab)), inside.argmax(axis=1)].clip(0.0, 1.0)
    curved = 1.055 * linear ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, curved).clip(0.0, 1.0)


def tree_colors(hierarchy: Hierarchy, level: int) -> np.ndarray:
    """Returns a colour for every node of one level; families share a hue.

    A family is a node of the coarsest level where no node has more than half of the
    classes, see `level_of_families`. Families
    spread evenly over the colour circle in tree order. Below them, lightness tells
    the nodes of a family apart, again in tree order, so that near relatives look
    alike. Hue and lightness are those of the Oklab space.

    Args:
      hierarchy: The label tree.
      level: Level, 0 = coarsest.

    Returns:
      sRGB values between 0 and 1, float64 ``[nodes_per_level[level], 3]``.
    """
    ancestors = np.asarray(hierarchy.ancestors)
    ancestors = ancestors[tree_order(ancestors)]
    family_level = min(level_of_families(hierarchy), level)
    rows, _ = runs(ancestors[:, level])
    nodes = ancestors[rows, level]
    starts, sizes = runs(ancestors[rows, family_level])
    family = np.repeat(np.arange(len(starts)), sizes)
    size = np.repeat(sizes, sizes)
    if level > family_level:
        place = (np.arange(len(nodes)) - np.repeat(starts, sizes) + 0.5) / size
        lightness = 0.64 + 0.44 * (place - 0.5)
    else:
        # Neighbouring hues of a crowded circle are told apart by lightness.
        swing = 0.09 if len(starts) > 6 else 0.0
        lightness = 0.63 - swing * np.where(family % 2, -1.0, 1.0)
    colors = np.empty((len(nodes), 3))
    hue = 2 * np.pi * family / len(starts) + np.deg2rad(255.0)
    colors[nodes] = oklch_to_rgb(lightness, hue)
    return colors


def category_colors(number: int) -> np.ndarray:
    """Returns colours for labels 0..number-1 that have no tree.

    The first ten are told apart by the colour-blind as well, and repeat up to twenty,
    where a second sign such as the shape must tell; more run round the colour circle.

    Args:
      number: How many labels there are.

    Returns:
      sRGB values between 0 and 1, float64 ``[number, 3]``.
    """
    ids = np.arange(number)
    if number > 2 * len(_CATEGORIES):
        lightness = np.array([0.5, 0.62, 0.74])[ids % 3]
        return oklch_to_rgb(lightness, 2 * np.pi * ids / number)
    colors = np.array([to_rgb(color) for color in _CATEGORIES])
    return colors[ids % len(colors)]
