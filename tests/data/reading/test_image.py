import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from hierjax.data.reading.image import full_scale, measure_image, read_image
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
        measure_image(file)
    Image.new("F", (9, 9), 0.5).save(tmp_path / "f.tif")
    with pytest.raises(UserError, match=r"f.tif: its pixels are floating-point"):
        read_image(tmp_path / "f.tif", 8)


def test_measuring(tmp_path):
    halves(30, 20, 0, 1).save(tmp_path / "a.jpg")
    assert measure_image(tmp_path / "a.jpg") == (20, None)
    deep = Image.fromarray(np.arange(20, dtype=np.uint16).reshape(4, 5) * 50)
    assert measure_image(save(deep)) == (4, 950)


def test_the_white_of_deep_images_is_that_of_their_camera():
    assert full_scale([None, 200, 255]) == 255
    whites = [full_scale([3, most]) for most in (256, 1023, 1024, 4095, 4096, 70_000)]
    assert whites == [1023, 1023, 4095, 4095, 16383, 70_000]
    assert full_scale([None]) == full_scale([]) == 65535
    ramp = np.linspace(0, 4095, 64).astype(np.uint16).reshape(8, 8)
    for kind in (np.uint16, np.int32):
        image = save(Image.fromarray(ramp.astype(kind)), "TIFF")
        pixels, is_grey = read_image(image, 8, white=4095)
        assert is_grey and len(np.unique(pixels)) == 64 and pixels.max() == 255
        np.testing.assert_array_equal(pixels[..., 0], np.rint(ramp * (255 / 4095)))


def deep_png(pixels):
    """A PNG of 16 bits and 1, 3 or 4 channels, which Pillow cannot write."""
    height, width, channels = pixels.shape
    kind = {1: 0, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)

    def chunk(name, content):
        checked = name + content
        return (
            struct.pack(">I", len(content))
            + checked
            + struct.pack(">I", zlib.crc32(checked))
        )

    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    return io.BytesIO(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_deep_colours_keep_all_their_bits(channels):
    pixels = np.random.default_rng(0).integers(0, 4096, (8, 8, channels))
    pixels[..., 3:] = 65535
    pixels[0, 0, 0] = 4000
    image = deep_png(pixels)
    assert measure_image(image) == (8, pixels[..., :3].max())
    found, is_grey = read_image(image, 8, white=4095)
    assert is_grey == (channels == 1)
    np.testing.assert_array_equal(found[..., : channels - channels // 4],
                                  np.rint(pixels[..., :3] * (255 / 4095)))  # fmt: skip
    pixels[..., 3:] = 0
    if channels == 4:
        assert (read_image(deep_png(pixels), 8, white=4095)[0] == 255).all()


@pytest.mark.parametrize("shape", [(20, 61), (90, 21), (20, 20)])
def test_deep_images_are_cut_like_others(shape):
    shallow = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    deep = shallow.astype(np.uint16) * 257
    expected, _ = read_image(save(Image.fromarray(shallow)), 16)
    np.testing.assert_array_equal(
        read_image(save(Image.fromarray(deep)), 16)[0], expected
    )


def test_too_many_pixels_are_told_apart_from_damage(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for read in (measure_image, lambda file: read_image(file, 8)):
        with pytest.raises(UserError, match="more than 200 pixels, the limit; make it"):
            read(save(halves(30, 20, 0, 1)))
