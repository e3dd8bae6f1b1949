"""Images of requests: decoded within bounds, refused where they are none."""

from __future__ import annotations

import base64
import binascii
import io
import warnings
from typing import Any

import numpy as np

from tradewind.errors import SpecError

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "WEBP")
"""All that is tried: a library for images knows dozens, of which most are seldom looked at by anybody."""


class ImageReader:
    """Bytes or text to an array of height, width and RGB. May be called from any thread.

    An image of more than `max_pixels` is refused by what its head says, before a pixel is decoded. `size` is the
    height and width that it is brought to; its own when left out.
    """

    def __init__(self, *, max_pixels: int, size: tuple[int, int] | None = None) -> None:
        try:
            from PIL import Image, ImageOps
        except ImportError as exc:
            raise SpecError("images cannot be decoded without Pillow", hint="pip install pillow") from exc
        self._images, self._ops = Image, ImageOps
        self._max_pixels = max_pixels
        self._size = size

    def read(self, given: Any) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Raises ValueError for what is no image, is damaged, or is too large."""
        data = given if isinstance(given, bytes) else image_bytes(given)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow warns of what is refused below, or of odd metadata
                return self._decoded(data)
        except ValueError:
            raise
        except Exception as exc:  # each decoder has its own ways to fail, SyntaxError and struct.error among them
            raise ValueError(f"the image cannot be read: {type(exc).__name__}: {exc}") from exc

    def _decoded(self, data: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
        with self._images.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > self._max_pixels:
                raise ValueError(f"the image has {width} x {height} pixels, more than {self._max_pixels} are not read")
            if self._size:
                image.draft("RGB", (self._size[1], self._size[0]))  # JPEG can be decoded at a half, a fourth, an eighth
            upright = self._ops.exif_transpose(image).convert("RGB")
            if self._size:
                upright = upright.resize((self._size[1], self._size[0]))
            return np.array(upright)  # a copy: Pillow's own cannot be written to, of which torch warns


def image_bytes(text: Any) -> bytes:
    """What is in base64 or a `data:` URL. Raises ValueError."""
    if not isinstance(text, str):
        raise ValueError(f"an image is base64 or a data: URL, not {type(text).__name__}")
    if text.startswith("data:"):
        head, comma, text = text.partition(",")
        if not comma or not head.endswith(";base64"):
            raise ValueError("a data: URL of an image is like data:image/png;base64,…")
    elif "://" in text[:16]:
        raise ValueError("images are not fetched from elsewhere: send base64 or a data: URL")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise ValueError(f"the image is not base64: {exc}") from exc
