"""Pictures of a run: curves, embeddings, class trees, masks, examples.

Every function returns a ``matplotlib.figure.Figure`` that belongs to the caller; no
global state of matplotlib is read or changed and no display is needed. This is the
only package of the library that imports matplotlib.

Colours follow the label tree in all pictures of one (``tree_colors``), so that a
family keeps its hue from one picture to the next.
"""

from hierjax.plotting.class_trees import dendrograms
from hierjax.plotting.clouds import point_cloud
from hierjax.plotting.colors import tree_colors
from hierjax.plotting.curves import training_curves
from hierjax.plotting.distances import class_distances
from hierjax.plotting.examples import example_grid
from hierjax.plotting.files import save_png
from hierjax.plotting.maps import embedding_map, embedding_space
from hierjax.plotting.masks import mask_heatmap
from hierjax.plotting.projections import tsne_grid

__all__ = [
    "class_distances",
    "dendrograms",
    "embedding_map",
    "embedding_space",
    "example_grid",
    "mask_heatmap",
    "point_cloud",
    "save_png",
    "training_curves",
    "tree_colors",
    "tsne_grid",
]
