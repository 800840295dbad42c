import io

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from hierjax import plotting


def test_a_saved_figure_is_small_and_looks_the_same(tmp_path):
    figure = Figure((3, 2))
    axes = figure.subplots()
    axes.imshow(np.random.default_rng(0).normal(size=(40, 60)), cmap="viridis")
    plotting.save_png(figure, tmp_path / "small.png", dpi=100)
    whole = io.BytesIO()
    figure.savefig(whole, format="png", dpi=100)
    small = Image.open(tmp_path / "small.png")
    assert small.mode == "P" and small.size == (300, 200)
    assert 2 * (tmp_path / "small.png").stat().st_size < whole.tell()
    pixels, wanted = (
        np.asarray(image.convert("RGB"), int) for image in (small, Image.open(whole))
    )
    assert abs(pixels - wanted).mean() < 4 and abs(pixels - wanted).max() < 64
