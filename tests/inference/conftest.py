"""A small data set with an untrained encoder: what is tested needs no training."""

import numpy as np
import pytest

from hierjax import Hierarchy, inference, losses, models, objectives, training
from hierjax.data import Dataset, transforms

TREE = Hierarchy.from_paths(
    [("animal", "bird", "owl"), ("animal", "bird", "hen"), ("animal", "cod"), ("oak",)]
)


def dataset(features=None, **changes):
    """Twelve rows of each class, of which one in twelve is unknown below a level."""
    rng = np.random.default_rng(0)
    classes = np.repeat(np.arange(4), 12)
    centers = rng.standard_normal((4, 5))
    if features is None:
        features = centers[classes] + 0.3 * rng.standard_normal((48, 5))
    labels = TREE.labels_of(classes)
    labels[::12, 1:] = -1
    place = np.arange(48) % 12
    fields = {
        "name": "made",
        "features": features,
        "labels": labels,
        "hierarchy": TREE,
        "splits": {
            "train": np.flatnonzero(place < 6),
            "validation": np.flatnonzero((place >= 6) & (place < 9)),
            "test": np.flatnonzero(place >= 9),
        },
    }
    return Dataset(**fields | changes)


def trained(data, encoder, measured="embeddings"):
    """The encoder as it is initialised, bound to the data."""
    state = training.create_state(
        encoder,
        objectives.from_loss(losses.rank_based_loss),
        training.make_optimizer(training.Config(batch_size=4, num_steps=1)),
        training.example_inputs(data),
        seed=0,
    )
    return inference.TrainedModel.from_state(encoder, state, data, measured=measured)


CASES = {
    "plain": lambda: (dataset(), models.Linear(embed_dim=3)),
    "standardized": lambda: (
        transforms.standardize(dataset()),
        models.MLP(embed_dim=3, hidden_sizes=(6,), head_layers=2),
    ),
    "pca": lambda: (
        transforms.standardize(transforms.pca(dataset(), 3)),
        models.Linear(embed_dim=3),
    ),
    "bytes": lambda: (
        dataset(np.random.default_rng(1).integers(0, 256, (48, 8, 8, 3), np.uint8)),
        models.ConvNet(embed_dim=3, channels=(4,)),
    ),
    "sizes": lambda: (
        dataset(
            np.random.default_rng(1).integers(0, 256, (48, 4, 4), np.uint8),
            sizes=np.random.default_rng(2).uniform(10, 90, (48, 2)),
        ),
        models.Linear(embed_dim=3, size_inform=True),
    ),
}


@pytest.fixture(scope="package", params=CASES)
def case(request):
    """``(model, its data set)``."""
    data, encoder = CASES[request.param]()
    return trained(data, encoder), data


@pytest.fixture(scope="package")
def model():
    """The model of plain vectors."""
    return trained(dataset(), models.Linear(embed_dim=3))


@pytest.fixture(scope="package")
def without_validation():
    """The same, of data that have no validation split."""
    splits = {k: v for k, v in dataset().splits.items() if k != "validation"}
    return trained(dataset(splits=splits), models.Linear(embed_dim=3))


@pytest.fixture
def unmapped():
    """A callable from a data set to its features and sizes before any map."""

    def of(data):
        return (dataset().features if data.feature_maps else data.features), data.sizes

    return of
