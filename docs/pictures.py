"""Pictures of the documentation: what each loss does to free points on a sphere.

No network and no data: the points themselves are optimised, all of one small ragged
tree, from the same random start. Columns of a picture are the start and what losses
make of it; below each sphere are the cosine distances of all pairs by their hops.

``python docs/pictures.py FOLDER`` draws all of them; the build draws those it lacks.
"""

import functools
import pathlib
import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

from hierjax import Hierarchy, level_masks, losses, mixtures, objectives, plotting
from hierjax.options import changed

TREE = Hierarchy.from_paths(
    [
        ("animal", "bird", "owl"),
        ("animal", "bird", "wren"),
        ("animal", "fish", "cod"),
        ("animal", "fish", "eel"),
        ("plant", "tree", "oak"),
        ("plant", "tree", "elm"),
        ("plant", "moss"),
    ],
    level_names=["kingdom", "group", "class"],
)
EXAMPLES, VIEWS = 4, 2
CLASS_IDS = np.repeat(np.arange(TREE.num_classes), EXAMPLES)
LABELS = TREE.labels_of(CLASS_IDS)
HOPS = TREE.path_length()
PART_DIM = 8
LIGHT, DARK = "#c8c8c8", "#262626"


def unit(rows: jax.Array) -> jax.Array:
    """Rows scaled to length 1."""
    return rows / jnp.linalg.norm(rows, axis=-1, keepdims=True)


@functools.cache
def start(dim: int = 3) -> jax.Array:
    """Random unit vectors ``[B, V, dim]``, the two views of an example close by."""
    keys = jax.random.split(jax.random.key(1))
    centres = jax.random.normal(keys[0], (len(CLASS_IDS), 1, dim))
    views = jax.random.normal(keys[1], (len(CLASS_IDS), VIEWS, dim))
    return unit(unit(centres) + 0.15 * views)


def descend(
    loss: Callable, params: object, *, steps: int = 300, rate: float = 0.03
) -> object:
    """Minimise ``loss(params)`` by Adam; all steps are one compiled loop."""
    optimizer = optax.adam(rate)

    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    def run(params):
        return jax.lax.scan(step, (params, optimizer.init(params)), length=steps)[0][0]

    return jax.jit(run)(params)


def points(loss: Callable, **options) -> np.ndarray:
    """Where ``loss(embeddings [B, V, D])`` moves the start."""
    return np.asarray(unit(descend(lambda rows: loss(unit(rows)), start(), **options)))


def flat(loss: Callable) -> Callable:
    """Lift ``loss(rows [B V, D], labels [B V, L])`` to views."""
    labels = np.repeat(LABELS, VIEWS, axis=0)
    return lambda views: loss(views.reshape(-1, views.shape[-1]), labels)


def sphere(axes, rows: np.ndarray, title: str, proxies: np.ndarray | None = None):
    """Draw unit vectors ``[B, V, 3]``, and stars for proxies ``[C, 3]``."""
    turn, height = np.meshgrid(np.linspace(0, 2 * np.pi, 25), np.linspace(-1, 1, 9))
    radius = np.sqrt(1 - height**2)
    grid = (radius * np.cos(turn), radius * np.sin(turn), height)
    axes.plot_wireframe(*grid, color=LIGHT, linewidth=0.4, alpha=0.6)
    colors = plotting.tree_colors(TREE, TREE.num_levels - 1)
    kinds = np.repeat(CLASS_IDS, VIEWS)
    flat_rows = rows.reshape(-1, 3)
    axes.scatter(*flat_rows.T, c=colors[kinds], s=22, edgecolor="white", linewidth=0.4)
    if proxies is not None:
        axes.scatter(*proxies.T, c=colors, s=110, marker="*", edgecolor=DARK)
    axes.set_title(title, fontsize=10, y=0.98)
    axes.set_axis_off()
    axes.set_box_aspect((1, 1, 1), zoom=1.35)
    axes.view_init(elev=20, azim=-50)


def distances_by_hops(axes, rows: np.ndarray) -> None:
    """Draw the cosine distance of all pairs against their hops, means as bars."""
    kinds = np.repeat(CLASS_IDS, VIEWS)
    flat_rows = rows.reshape(-1, rows.shape[-1])
    first, second = np.triu_indices(len(flat_rows), 1)
    distance = 1 - np.sum(flat_rows[first] * flat_rows[second], axis=1)
    hops = HOPS[kinds[first], kinds[second]]
    jitter = np.random.default_rng(0).uniform(-0.3, 0.3, len(hops))
    axes.scatter(hops + jitter, distance, s=2, color=LIGHT, rasterized=True)
    for value in np.unique(hops):
        mean = distance[hops == value].mean()
        axes.plot([value - 0.35, value + 0.35], [mean, mean], color=DARK, linewidth=2)
    axes.set_xticks(np.unique(hops))
    # Points that have contracted are shown on a scale of their own.
    top = 2.0 if distance.max() > 0.5 else 1.05 * distance.max()
    axes.set_ylim(-0.04 * top, 1.04 * top)
    axes.set_xlabel("hops in the tree", fontsize=8)
    axes.tick_params(labelsize=8, color=LIGHT)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(LIGHT)


def add_legend(figure: Figure) -> None:
    """Name the classes in their colours along the lower edge."""
    colors = plotting.tree_colors(TREE, TREE.num_levels - 1)
    for place, (name, color) in enumerate(zip(TREE.class_names, colors, strict=True)):
        x = (place + 0.5) / TREE.num_classes
        figure.text(x, 0.012, f"● {name}", color=color, fontsize=9, ha="center")


def columns(ends: dict[str, tuple[np.ndarray, np.ndarray | None]]) -> Figure:
    """A column for the start and for every end, a sphere over its distances."""
    everything = {"start": (np.asarray(start()), None), **ends}
    figure = Figure(figsize=(2.7 * len(everything), 4.9), dpi=110)
    for place, (title, (rows, proxies)) in enumerate(everything.items()):
        number = len(everything)
        top = figure.add_axes([place / number, 0.42, 1 / number, 0.55], projection="3d")
        sphere(top, rows, title, proxies)
        below = figure.add_axes([(place + 0.17) / number, 0.145, 0.76 / number, 0.27])
        distances_by_hops(below, rows)
        if place == 0:
            below.set_ylabel("cosine distance", fontsize=8)
    add_legend(figure)
    return figure


def overview() -> Figure:
    """One loss of each family: leaves alone, all levels, ranks, a tree of proxies."""
    ranks = functools.partial(
        losses.rank_based_loss, target="block_edge", tree_distance=HOPS
    )
    return columns(
        {
            "SupCon on the classes": (
                points(lambda z: losses.supcon_loss(z, LABELS[:, -1])),
                None,
            ),
            "HMCE": (points(lambda z: losses.hmce_loss(z, LABELS)), None),
            "rank-based, block edge": (points(flat(ranks), steps=400), None),
            "CORR, proxies from the tree": classifier(
                criterion="corr", representatives="mds"
            ),
        }
    )


def rank_based() -> Figure:
    """Both targets of the rank-based loss, ranks by hops."""

    def end(target):
        loss = functools.partial(
            losses.rank_based_loss, target=target, tree_distance=HOPS
        )
        return points(flat(loss), steps=400), None

    return columns({name: end(name) for name in ("rank_index", "block_edge")})


def tuplet() -> Figure:
    """Quadruplets that are drawn anew in every step, of classes that have them."""
    labels = np.repeat(LABELS, VIEWS, axis=0)
    shared = (labels[:, None] == labels).cumprod(axis=2).sum(axis=2)
    np.fill_diagonal(shared, -1)
    wanted = (3, 2, 0)
    anchors = np.flatnonzero([all((row == s).any() for s in wanted) for row in shared])
    rng = np.random.default_rng(0)
    draws = np.array(
        [
            [
                [rng.choice(np.flatnonzero(shared[a] == s)) for s in wanted]
                for a in anchors
            ]
            for _ in range(8)
        ]
    ).swapaxes(0, 1)
    partners = draws.reshape(-1, 3)
    repeated = np.repeat(anchors, 8)

    def loss(views):
        rows = views.reshape(-1, 3)
        return losses.hierarchical_tuplet_loss(
            rows[repeated], rows[partners], margins=(0.4, 0.8)
        )

    return columns({"quadruplet": (points(loss), None)})


def triplet() -> Figure:
    """All triplets that the tree orders, one margin a level."""
    loss = functools.partial(
        losses.hierarchical_triplet_loss, margins=(0.6, 0.4, 0.2), average="active"
    )
    return columns({"triplet": (points(flat(loss)), None)})


def classifier(**chosen) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings and proxies of a classifier with these options."""
    objective = changed(objectives.Classification(), chosen).build(TREE)
    params, state = objective.init(jax.random.key(2), start())

    def loss(learned):
        return objective.apply(
            learned["proxies"],
            state,
            unit(learned["rows"]),
            LABELS,
            key=jax.random.key(0),
            where=np.ones(len(LABELS), bool),
            axis_name=None,
        )[0]

    learned = descend(loss, {"rows": start(), "proxies": params})
    proxies = objective.representatives(learned["proxies"], state)
    return np.asarray(unit(learned["rows"])), np.asarray(proxies)


def classifiers() -> Figure:
    """Embeddings and proxies of three classifiers."""
    return columns(
        {
            "NormFace": classifier(score="normface"),
            "ProxyDR": classifier(score="proxydr"),
            "CORR, proxies from the tree": classifier(
                criterion="corr", representatives="mds"
            ),
        }
    )


def simclr() -> Figure:
    """Views of an example attract, whatever the tree says."""
    loss = functools.partial(losses.simclr_loss, temperature=0.2)
    return columns({"SimCLR": (points(loss), None)})


def supcon() -> Figure:
    """SupCon on the classes and on the kingdoms."""

    def end(level):
        return points(lambda z: losses.supcon_loss(z, LABELS[:, level])), None

    return columns({"on the classes": end(2), "on the kingdoms": end(0)})


def hmc() -> Figure:
    """Three hierarchical contrastive losses."""

    def end(loss):
        return points(lambda views: loss(views, LABELS)), None

    return columns(
        {
            "HMC": end(losses.hmc_loss),
            "HCE": end(losses.hce_loss),
            "HMCE": end(losses.hmce_loss),
        }
    )


def level_contrastive() -> Figure:
    """The part of the embedding that belongs to each of two levels, for three masks."""
    masks = {
        "fixed shares": lambda rows, heads: level_masks.fixed_level_masks(2, PART_DIM),
        "G-HMLC, one mixture": lambda rows, heads: mixtures.gaussian_level_masks(
            rows, 2, mode="mean"
        ),
        "A-HMLC": lambda rows, heads: level_masks.attention_level_masks(rows, *heads),
    }
    figure = Figure(figsize=(8.1, 5.7), dpi=110)
    for column, (name, masks_of) in enumerate(masks.items()):
        parts = zip(("kingdom", "class"), _parts(masks_of), strict=True)
        for line, (level, part) in enumerate(parts):
            place = [column / 3, 0.52 - 0.46 * line, 1 / 3, 0.45]
            axes = figure.add_axes(place, projection="3d")
            sphere(axes, part, f"{name}: {level}")
    add_legend(figure)
    return figure


def _parts(masks_of: Callable) -> list[np.ndarray]:
    """Directions of each level's part in its three main components."""
    labels = LABELS[:, [0, -1]]
    heads = jnp.zeros((2, PART_DIM, PART_DIM)), jnp.zeros((2, PART_DIM))

    def loss(learned):
        views = unit(learned["rows"])
        masks = masks_of(views, learned["heads"])
        return losses.level_contrastive_loss(views, masks, labels)

    learned = descend(loss, {"rows": start(PART_DIM), "heads": heads})
    views = unit(learned["rows"])
    masks = masks_of(views, learned["heads"])
    masks = jnp.broadcast_to(masks, (*views.shape[:2], *masks.shape[-2:]))
    parts = []
    for level in range(2):
        part = np.asarray(unit(masks[:, :, level] * views)).reshape(-1, PART_DIM)
        axes = np.linalg.svd(part, full_matrices=False)[2][:3]
        parts.append(np.asarray(unit(part @ axes.T)).reshape(-1, VIEWS, 3))
    return parts


PICTURES = {
    function.__name__: function
    for function in (
        overview,
        rank_based,
        tuplet,
        triplet,
        classifiers,
        simclr,
        supcon,
        hmc,
        level_contrastive,
    )
}


def draw(name: str, folder: pathlib.Path) -> pathlib.Path:
    """Draw a picture unless the folder has it already, and return its path."""
    path = folder / f"{name}.png"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        PICTURES[name]().savefig(path)
    return path


if __name__ == "__main__":
    for each in PICTURES:
        print(draw(each, pathlib.Path(sys.argv[1])))
