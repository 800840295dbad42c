import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from hierjax.data.augmentation import (
    AUGMENTATIONS,
    random_shift_noise,
    spec_augment,
)
from hierjax.errors import UserError

RNG = np.random.default_rng(0)
augmented = jax.jit(jax.vmap(spec_augment, (0, None)))


def test_shifted_spectrograms_are_the_old_ones_moved():
    spectrogram = RNG.uniform(0.5, 1, (9, 11)).astype(np.float32)
    keys = jax.random.split(jax.random.key(0), 300)
    views = np.asarray(
        jax.jit(jax.vmap(random_shift_noise, (0, None)))(keys, spectrogram)
    )
    assert views.shape == (300, 1, 9, 11)
    seen = set()
    for view in views[:, 0]:
        errors = {}
        for frames in range(-3, 4):
            for bands in range(-4, 5):
                moved = np.zeros_like(spectrogram)
                for t in range(9):
                    for f in range(11):
                        if 0 <= t - frames < 9 and 0 <= f - bands < 11:
                            moved[t, f] = spectrogram[t - frames, f - bands]
                errors[frames, bands] = np.sqrt(np.mean((view - moved) ** 2))
        best = min(errors, key=errors.get)
        assert 0.03 < errors[best] < 0.07
        seen.add(best)
    assert seen == {(t, f) for t in range(-2, 3) for f in range(-3, 4)}


def runs(hidden):
    """Start and length of the true values of every row, which are one run."""
    lengths, starts = hidden.sum(axis=1), hidden.argmax(axis=1)
    for row, start, length in zip(hidden, starts, lengths, strict=True):
        assert row[start : start + length].all()
    return starts, lengths


def test_hidden_frames_bands_and_gain():
    """A flat spectrogram shows everything once the middle of it is looked at."""
    number, frames, bands = 3000, 24, 32
    keys = jax.random.split(jax.random.key(0), number)
    flat = np.full((frames, bands), 0.6, np.float32)
    views = augmented(keys, flat)
    assert views.shape == (number, 1, frames, bands)
    views = np.asarray(views)[:, 0]
    loud = views > 0.3
    # Inside of what a shift can empty; at least one frame and band are left.
    frame_is_hidden = ~loud[:, 2:-2, 3:-3].any(axis=2)
    band_is_hidden = ~loud[:, 2:-2, 3:-3].any(axis=1)
    for hidden, size, longest in (
        (frame_is_hidden, frames, 4),
        (band_is_hidden, bands, 5),
    ):
        starts, lengths = runs(hidden)
        margin = (size - hidden.shape[1]) // 2
        inner = (starts > 0) & (starts + lengths < hidden.shape[1]) & (lengths > 0)
        counts = np.bincount(lengths[inner], minlength=longest + 1)
        # A run of length w fits in size - w + 1 places, so many of them inner ones.
        places = np.arange(1, longest + 1)
        shares = (size - 2 * margin - places - 1) / (size - places + 1)
        assert len(counts) == longest + 1
        expected = shares / shares.sum() * counts.sum()
        assert stats.chisquare(counts[1:], expected).pvalue > 1e-3
        none = (lengths == 0).mean()
        assert 1 / (longest + 1) < none < 1 / (longest + 1) + 0.15
    gains = np.array([np.median(v[v > 0.3]) for v in views]) - 0.6
    assert stats.kstest(gains, stats.uniform(-0.1, 0.2).cdf).pvalue > 1e-4
    # What is hidden is silence with the noise of everything else.
    rest = views[frame_is_hidden.any(axis=1)][:, 2:-2, 3:-3]
    silent = rest[frame_is_hidden[frame_is_hidden.any(axis=1)]]
    assert abs(silent.mean()) < 0.002 and abs(silent.std() - 0.05) < 0.002


def test_silence_stays_silence_whatever_the_gain():
    keys = jax.random.split(jax.random.key(0), 3000)
    for level in (0.0, 0.02):
        quiet = np.full((24, 32), level, np.float32)
        views = np.asarray(augmented(keys, quiet))
        means = views.mean(axis=(1, 2, 3))
        # No gain pulls below 0, and none lifts exact silence.
        assert means.min() > -0.01
        assert (means.max() < 0.01) == (level == 0)


def test_views_of_a_batch_are_those_of_its_examples():
    assert AUGMENTATIONS["spec_augment"] is spec_augment
    spectrograms = jnp.asarray(RNG.uniform(size=(3, 24, 32)).astype(np.float32))
    keys = jax.random.split(jax.random.key(0), 3)
    batched = jax.jit(jax.vmap(spec_augment))
    views = batched(keys, spectrograms)
    # A view depends on its own key and example, and on nothing else.
    np.testing.assert_array_equal(batched(keys[::-1], spectrograms[::-1])[::-1], views)
    assert (batched(keys[::-1], spectrograms) != views)[0].any()


def test_small_spectrograms_are_hidden_as_far_as_they_go():
    views = augmented(jax.random.split(jax.random.key(0), 50), jnp.ones((3, 2)))
    assert views.shape == (50, 1, 3, 2) and np.isfinite(views).all()


@pytest.mark.parametrize("augment", [random_shift_noise, spec_augment])
def test_wrong_shapes(augment):
    with pytest.raises(UserError, match=r"\[frames, bands\], got shape \(4, 4, 1\)"):
        augment(jax.random.key(0), jnp.zeros((4, 4, 1)))
