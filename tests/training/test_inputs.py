"""What a step feeds the model: images of bytes, sizes beside them, views, dropout."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierjax import Hierarchy, models, objectives, training
from hierjax.data import Dataset
from hierjax.data.augmentation import drawn_views
from hierjax.training.step import make_views, runs_slowly_in_loops, take

RNG = np.random.default_rng(0)
TREE = Hierarchy.from_paths([("a", "x"), ("a", "y"), ("b", "z")])
IMAGES = RNG.integers(0, 256, (24, 6, 5, 3), np.uint8)
SIZES = RNG.integers(5, 90, (24, 2)).astype(np.float32)


def dataset(sizes=None):
    return Dataset(
        name="bytes",
        features=IMAGES,
        labels=TREE.labels_of(np.arange(24) % 3),
        hierarchy=TREE,
        splits={"train": np.arange(12), "validation": np.arange(12, 24)},
        sizes=sizes,
    )


def test_bytes_become_numbers_from_0_to_1():
    rows = jnp.array([3, 1])
    np.testing.assert_allclose(take(IMAGES, rows), IMAGES[[3, 1]] / 255, rtol=1e-6)
    floats = IMAGES.astype(np.float32)
    np.testing.assert_array_equal(take(floats, rows), floats[[3, 1]])
    taken = take(dataset(SIZES).inputs, rows)
    np.testing.assert_array_equal(taken["size"], SIZES[[3, 1]])
    np.testing.assert_allclose(taken["image"], IMAGES[[3, 1]] / 255, rtol=1e-6)


def test_only_the_image_is_augmented():
    def two_views(key, image):
        noise = jax.random.normal(key, (2, 1, 1, 1))
        return image[None] + noise

    inputs = take(dataset(SIZES).inputs, jnp.arange(4))
    views = make_views(inputs, two_views, jax.random.key(0), jnp.arange(4))
    assert views["image"].shape == (4, 2, 6, 5, 3) and views["size"].shape == (4, 2, 2)
    for view in range(2):
        np.testing.assert_array_equal(views["size"][:, view], SIZES[:4])
        assert np.abs(views["image"][:, view] - inputs["image"]).min() > 0
    plain = make_views(inputs, None, jax.random.key(0), jnp.arange(4))
    np.testing.assert_array_equal(plain["image"][:, 0], inputs["image"])


@pytest.mark.parametrize("num_devices", [1, 4])
def test_sizes_reach_the_embedding(num_devices):
    model = models.ConvNet(4, channels=(3,), size_inform=True, axis_name=training.AXIS)
    result = training.fit(
        model,
        objectives.Classification(representatives=objectives.MovingAverage()).build(
            TREE
        ),
        dataset(SIZES),
        training.Config(
            num_steps=3,
            batch_size=8,
            sampler="uniform",
            optimizer="adam",
            learning_rate=0.01,
            eval_every=3,
            selection="accuracy",
        ),
        num_devices=num_devices,
    )
    assert "size_head" in result.state.params
    embeddings = result.embed(np.arange(24))
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-5)
    other = training.embedder(
        model, result.state.variables, dataset(SIZES[::-1].copy()).inputs
    )
    assert np.abs(other(np.arange(24)) - embeddings).max() > 1e-3
    assert set(result.records[-1]) >= {
        f"validation/accuracy/{TREE.level_names[-1]}/proxies",
        "validation/gamma/all/proxies",
    }
    assert result.classifier.scores(embeddings).shape == (24, 3)


class Dropped(nn.Module):
    """Embeds nothing but what dropout leaves."""

    @nn.compact
    def __call__(self, inputs, train=False):
        flat = inputs.reshape(inputs.shape[0], -1)[:, :8]
        kept = nn.Dropout(0.5, deterministic=not train)(jnp.ones_like(flat))
        scale = self.param("scale", nn.initializers.ones, (8,))
        return kept * scale[None, :]


def test_dropout_is_drawn_anew_and_from_the_seed():
    seen = []

    def watched(embeddings, labels):
        jax.debug.callback(lambda x: seen.append(np.asarray(x)), embeddings)
        return jnp.sum(embeddings)

    def run(seed):
        seen.clear()
        config = training.Config(
            seed=seed,
            num_steps=2,
            batch_size=8,
            sampler="uniform",
            learning_rate=0.0,
            eval_every=2,
        )
        data = dataset()
        data = Dataset(
            data.name, data.features, data.labels, TREE, {"train": np.arange(12)}
        )
        training.fit(
            Dropped(), objectives.from_loss(watched), data, config, num_devices=1
        )
        jax.effects_barrier()
        return [x.copy() for x in seen]

    first, second = run(0)
    assert set(np.unique(first)) == {0.0, 2.0} and (first != second).any()
    np.testing.assert_array_equal(run(0)[0], first)
    assert (run(1)[0] != first).any()


def test_convolutions_are_not_put_into_loops_on_cpus():
    image = jnp.zeros((1, 6, 5, 3))
    cpu = tuple(jax.devices()[:1])
    convolutions = models.ConvNet(4, channels=(3,)).init(jax.random.key(0), image)
    vectors = models.MLP(4).init(jax.random.key(0), image)
    assert runs_slowly_in_loops(convolutions["params"], cpu)
    assert not runs_slowly_in_loops(vectors["params"], cpu)


def test_views_are_drawn_of_copies_where_there_are_some():
    rows = np.arange(24.0, dtype=np.float32)
    copies = np.float16(100 * rows[:, None, None] + np.arange(5.0)[:, None] * [1, 10])
    data = dataclasses.replace(
        dataset(),
        features=-np.stack([rows, rows], axis=1),
        views=copies,
    )
    taken = take(data.training_inputs, jnp.array([7, 2, 7]))
    keys = jax.random.key(0), jnp.arange(3)
    views = np.asarray(make_views(taken, drawn_views(4), *keys)["image"])
    assert views.shape == (3, 4, 2)
    for row, drawn in zip([7, 2, 7], views.tolist(), strict=True):
        assert all(view in copies[row].tolist() for view in drawn)
    assert not np.array_equal(views[0], views[2])
    plain = make_views(taken, None, *keys)["image"]
    np.testing.assert_array_equal(plain[:, 0], data.features[[7, 2, 7]])


def test_training_sees_copies_and_measuring_sees_rows():
    seen = []

    class Watching(models.Linear):
        def extract(self, x, train):
            jax.debug.callback(lambda x: seen.append((train, np.asarray(x))), x)
            return super().extract(x, train)

    data = dataclasses.replace(
        dataset(),
        features=np.full((24, 2), -1.0),
        views=np.full((24, 3, 2), 2.0, np.float16),
    )
    config = training.Config(
        num_steps=2,
        batch_size=4,
        sampler="uniform",
        eval_every=1,
        selection="nn/average",
    )
    training.fit(
        Watching(3),
        objectives.Method.kinds["simclr"]().build(TREE, (4, 4, 4)),
        data,
        config,
        augment=drawn_views(2),
        num_devices=1,
    )
    trained, measured = (
        [x for of, x in seen if of == train] for train in (True, False)
    )
    assert trained and measured
    assert {x.shape for x in trained} >= {(8, 2)}
    assert all((x == 2).all() for x in trained if len(x) == 8)
    assert all((x == -1).all() for x in measured if len(x) > 1)
