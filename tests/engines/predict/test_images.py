from __future__ import annotations

import base64
import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tradewind.engines.predict.images import ImageReader, image_bytes


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG whose head says so many pixels; its data is a kilobyte of zeroes that would go on and on."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1 << 20))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize("kind", ["BMP", "GIF", "JPEG", "PNG", "WEBP"])
def test_formats_of_the_web_are_read(kind: str) -> None:
    read = ImageReader(max_pixels=10_000).read(encoded(Image.new("RGB", (4, 3), (200, 0, 0)), kind))
    assert read.shape == (3, 4, 3)
    assert np.abs(read.mean(axis=(0, 1)) - [200, 0, 0]).max() < 6  # JPEG and WEBP lose a little


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_every_mode_becomes_colours(mode: str) -> None:
    assert ImageReader(max_pixels=100).read(encoded(Image.new(mode, (4, 3)))).shape == (3, 4, 3)


def test_turned_photograph_is_turned_back() -> None:
    image = Image.new("RGB", (4, 2))
    exif = image.getexif()
    exif[0x0112] = 6  # turned by 90 degrees
    assert ImageReader(max_pixels=100).read(encoded(image, "JPEG", exif=exif)).shape == (4, 2, 3)


def test_size_is_height_and_width() -> None:
    reader = ImageReader(max_pixels=1_000_000, size=(10, 20))
    assert reader.read(encoded(Image.new("RGB", (640, 480)), "JPEG")).shape == (10, 20, 3)


@pytest.mark.parametrize("size", [(101, 100), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_bomb_is_refused_by_its_head(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"pixels|exceeds|image"):
        ImageReader(max_pixels=10_000).read(bomb(*size))


def test_as_many_pixels_as_are_allowed_are_read() -> None:
    image = encoded(Image.new("RGB", (100, 100)))
    assert ImageReader(max_pixels=10_000).read(image).shape == (100, 100, 3)


def test_format_that_is_not_of_the_web_is_refused() -> None:
    with pytest.raises(ValueError, match="UnidentifiedImageError"):
        ImageReader(max_pixels=10_000).read(encoded(Image.new("RGB", (4, 3)), "TIFF"))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (3, "not int"),
        (None, "not NoneType"),
        ("http://elsewhere/a.png", "not fetched"),
        ("file:///etc/passwd", "not fetched"),
        ("data:image/png,abc", "data: URL"),
        ("data:image/png;base64", "data: URL"),
        ("not base64!", "not base64"),
        ("abc", "not base64"),
        ("é", "not base64"),
    ],
)
def test_text_that_holds_no_image_is_refused(text: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        image_bytes(text)


def test_data_url_holds_the_bytes() -> None:
    text = base64.b64encode(b"bytes").decode()
    assert image_bytes(text) == image_bytes(f"data:image/png;base64,{text}") == b"bytes"
