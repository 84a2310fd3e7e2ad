"""Glyphs and legends as masks, cached: what makes drawing a plate fast.

Masks are float32, 0 (nothing) to 1 (ink), cut tight to the ink.
"""
from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

FONTS = Path(__file__).parent / "fonts"
MASTER_PX = 192  # height of the master glyphs that all sizes are scaled from

# Dies by name: (font file, corner rounding in master px, width of I and 1 against the rest).
DIES = {
    "overpass": ("overpass-700.ttf", 5.0),
    "condensed": ("barlow-condensed-600.ttf", 6.0),
    "semi": ("barlow-semi-condensed-600.ttf", 7.0),
    "boxy": ("rajdhani-700.ttf", 6.0),
}
LEGENDS = {
    "sans": "overpass-700.ttf",
    "narrow": "barlow-condensed-600.ttf",
    "script": "milepost-script-400.ttf",
    "slab": "zilla-slab-700.ttf",
}


@lru_cache(maxsize=64)
def _font(file: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(FONTS / file), size)


def _ink(file: str, size: int, text: str) -> np.ndarray:
    """Text drawn once in a font, cut to its ink: uint8 mask."""
    font = _font(file, size)
    x0, y0, x1, y1 = font.getbbox(text)
    image = Image.new("L", (max(1, x1 - x0), max(1, y1 - y0)))
    ImageDraw.Draw(image).text((-x0, -y0), text, font=font, fill=255)
    return np.asarray(image)


@lru_cache(maxsize=512)
def _master(die: str, char: str) -> np.ndarray:
    file, rounding = DIES[die]
    mask = _ink(file, MASTER_PX * 4 // 3, char)
    # Plate dies have round ends and corners: blur, then take the edge back.
    pad = 16
    mask = cv2.copyMakeBorder(mask, pad, pad, pad, pad, cv2.BORDER_CONSTANT)
    soft = cv2.GaussianBlur(mask.astype(np.float32) / 255.0, (0, 0), rounding)
    soft = np.clip((soft - 0.40) * 5.0, 0.0, 1.0)
    ys, xs = np.where(soft > 0.5)
    return soft[ys.min():ys.max() + 1, xs.min():xs.max() + 1]


@lru_cache(maxsize=8192)
def glyph(die: str, char: str, width: int, height: int) -> np.ndarray:
    """One character, width x height px (I and 1 keep their own width): float32 mask."""
    master = _master(die, char)
    h, w = master.shape
    if char in "I1":
        # Scaled by the stretch of an ordinary letter so that the stroke is as thick.
        stretch = (width / height) / (_master(die, "H").shape[1] / _master(die, "H").shape[0])
        width = int(np.clip(round(height * w / h * stretch), 2, width))
    return cv2.resize(master, (max(2, width), max(2, height)), interpolation=cv2.INTER_AREA)


@lru_cache(maxsize=4096)
def legend(face: str, text: str, height: int, max_width: int) -> np.ndarray:
    """A line of small text about `height` px tall, squeezed to max_width: float32 mask."""
    big = _ink(LEGENDS[face], max(8, height * 2), text).astype(np.float32) / 255.0
    h, w = big.shape
    scale = height / h
    width = max(2, min(int(w * scale), max_width))
    return cv2.resize(big, (width, max(2, height)), interpolation=cv2.INTER_AREA)
