import io

import numpy as np
import pytest
from PIL import Image

from hierjax.data.reading.image import read_image, shorter_side
from hierjax.errors import UserError


def halves(width, height, left, right):
    """An image whose left and right halves have a colour each."""
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:, : width // 2], pixels[:, width // 2 :] = left, right
    return Image.fromarray(pixels)


def save(image, format="PNG", **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return io.BytesIO(file.getvalue())


def test_the_middle_square_is_taken_undistorted():
    pixels = np.zeros((20, 60, 3), np.uint8)
    pixels[:, 20:40, 0] = 255
    image, is_grey = read_image(save(Image.fromarray(pixels)), 20)
    assert image.shape == (20, 20, 3) and image.dtype == np.uint8 and not is_grey
    assert (image[..., 0] == 255).all() and not image[..., 1:].any()
    tall, _ = read_image(save(Image.fromarray(pixels.transpose(1, 0, 2))), 10)
    # Only where it meets the black is the colour mixed.
    assert tall.shape == (10, 10, 3) and (tall[1:-1, :, 0] == 255).all()
    large, _ = read_image(save(halves(4, 4, 0, 200)), 32)
    assert large[:, 0].max() == 0 and large[:, -1].min() == 200


def test_the_camera_orientation_is_applied():
    image = halves(40, 40, (255, 0, 0), (0, 0, 255))
    exif = Image.Exif()
    exif[0x0112] = 6  # To be turned clockwise: left comes to the top.
    turned, _ = read_image(save(image, "JPEG", exif=exif, quality=95), 8)
    assert turned[0, :, 0].min() > 200 and turned[-1, :, 2].min() > 200


def test_large_jpegs_are_the_same_as_large_pngs():
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
    photo = smooth.resize((800, 800), Image.Resampling.BICUBIC)
    exact, _ = read_image(save(photo), 32)
    shrunk, _ = read_image(save(photo, "JPEG", quality=95), 32)
    assert abs(exact.astype(int) - shrunk).mean() < 2


@pytest.mark.parametrize(
    ("image", "grey", "value"),
    [
        (Image.new("L", (9, 9), 100), True, (100, 100, 100)),
        (Image.new("1", (9, 9), 1), True, (255, 255, 255)),
        (Image.new("LA", (9, 9), (100, 255)), True, (100, 100, 100)),
        (Image.new("RGBA", (9, 9), (0, 0, 0, 0)), False, (255, 255, 255)),
        (Image.new("RGBA", (9, 9), (200, 0, 0, 255)), False, (200, 0, 0)),
        (Image.new("RGB", (9, 9), (1, 2, 3)).quantize(4), False, (1, 2, 3)),
        (Image.fromarray(np.full((9, 9), 257 * 77, np.uint16)), True, (77,) * 3),
        (Image.fromarray(np.full((9, 9), 65535, np.uint16)), True, (255,) * 3),
    ],
)
def test_modes(image, grey, value):
    pixels, is_grey = read_image(save(image), 8)
    assert is_grey == grey
    assert pixels.shape == (8, 8, 3) and (pixels == value).all()


def test_inks_and_animations():
    inks, _ = read_image(save(Image.new("CMYK", (9, 9), (0, 255, 255, 0)), "JPEG"), 8)
    assert inks[..., 0].min() > 200 and inks[..., 1:].max() < 60
    first, second = Image.new("L", (9, 9), 10), Image.new("L", (9, 9), 200)
    both = save(first, "GIF", save_all=True, append_images=[second])
    assert (read_image(both, 8)[0] == 10).all()


def test_damaged_files_are_named(tmp_path):
    file = tmp_path / "photo.png"
    halves(60, 60, 0, 200).save(file)
    whole = file.read_bytes()
    for content in (b"", b"no image", whole[: len(whole) // 2], whole[:40]):
        file.write_bytes(content)
        with pytest.raises(UserError, match=r"photo.png: cannot be read as an image"):
            read_image(file, 8)
    file.write_bytes(b"no image")
    with pytest.raises(UserError, match=r"photo.png: cannot be read as an image"):
        shorter_side(file)
    Image.new("F", (9, 9), 0.5).save(tmp_path / "f.tif")
    with pytest.raises(UserError, match=r"f.tif: its pixels are floating-point"):
        read_image(tmp_path / "f.tif", 8)


def test_shorter_side(tmp_path):
    halves(30, 20, 0, 1).save(tmp_path / "a.jpg")
    assert shorter_side(tmp_path / "a.jpg") == 20
