import numpy as np

from hierjax.data.reading.mel import mel_filters


def test_mel_filters_are_triangles_of_equal_area_on_the_mel_scale():
    filters = mel_filters(64, window=1024, rate=16_000, lowest_hz=40, highest_hz=7900)
    assert filters.shape == (513, 64)
    assert (filters >= 0).all()
    frequencies = np.arange(513) * 8000 / 512
    assert not filters[(frequencies <= 40) | (frequencies >= 7900)].any()
    # Wide triangles are sampled well enough to show their area and their centre.
    np.testing.assert_allclose(filters.sum(axis=0)[32:], 1.0, atol=0.02)
    centres = frequencies @ filters / filters.sum(axis=0)
    mel = 2595 * np.log10(1 + centres / 700)
    np.testing.assert_allclose(np.diff(mel)[32:], np.diff(mel)[32:].mean(), rtol=0.1)
    for column in filters.T:
        inside = np.flatnonzero(column)
        assert (np.diff(inside) == 1).all()
        peak = column.argmax()
        assert (np.diff(column[: peak + 1]) >= 0).all()
        assert (np.diff(column[peak:]) <= 0).all()
