"""Crops that a detector may cut out though they are no plate: badges, stickers, the words on vans.

They teach the reader to answer nothing. The words are drawn at random or from a list of their own,
never from the words that the road scenes and the demo clip are lettered with (vehicles.py).
"""
from __future__ import annotations

import cv2
import numpy as np

from . import glyphs
from .formats import DIGITS, LETTERS
from .sensor import degrade

ORDINARY = ("TAXI", "POLICE", "DIESEL", "PREMIUM", "EXPRESS", "SERVICE", "TITANIUM", "COUPE", "TOURING", "EXECUTIVE", "CLASSIC",
            "PLATINUM", "HEAVY", "DUTY", "QUATTRO", "BLUE", "DRIVE", "ENERGY", "SYSTEM", "CARGO", "MOVING", "HOME", "GARDEN", "WATER",
            "SCHOOL", "BUS", "STOP", "ONLY", "LANE", "SPEED", "LIMIT", "NORTH", "WEST", "BRIDGE", "STREET", "AVENUE", "CENTER", "OPEN",
            "SALE", "MARKET", "COFFEE", "BAKERY", "PAINT", "ROOF", "GLASS", "TIRES", "AUTO", "PARTS", "MOTORS", "LEASING", "CLEAN")

BEFORE_A_NUMBER = ("TEL", "PHONE", "DIAL", "INFO", "UNIT", "TEXT US", "FAX", "RENT", "BOOK", "HOTLINE", "OFFICE")


def _word(rng: np.random.Generator) -> str:
    """A word, a made-up type name or a number."""
    kind = rng.random()
    if kind < 0.6:
        return ORDINARY[int(rng.integers(len(ORDINARY)))]
    if kind < 0.85:
        # Letters and digits mixed are short: longer ones would teach that plates are no plates.
        marks, least, most = (LETTERS, 4, 9) if rng.random() < 0.5 else (LETTERS + DIGITS, 2, 5)
        return "".join(marks[int(rng.integers(len(marks)))] for _ in range(int(rng.integers(least, most))))
    return "".join(DIGITS[int(rng.integers(10))] for _ in range(int(rng.integers(2, 5))))


def _lines(rng: np.random.Generator) -> list[str]:
    kind = rng.random()
    if kind < 0.45:
        return [_word(rng)]
    if kind < 0.65:  # a telephone number or a unit's number, often with the word before it
        digits = "".join(DIGITS[int(rng.integers(10))] for _ in range(int(rng.integers(7, 11))))
        number = f"{digits[:3]} {digits[3:6]} {digits[6:]}" if rng.random() < 0.5 else f"{digits[:3]} {digits[3:7]}"
        before = BEFORE_A_NUMBER[int(rng.integers(len(BEFORE_A_NUMBER)))]
        return [f"{before} {number}" if rng.random() < 0.5 else number]
    if kind < 0.8:
        return [_word(rng) + " " + _word(rng)]
    return [_word(rng) for _ in range(int(rng.integers(2, 4)))]


def lettering(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Lettering without a plate: a picture (luma uint8), and corners [4, 2] as if a detector took it for one."""
    tall = int(np.exp(rng.uniform(np.log(12), np.log(60))))
    face = list(glyphs.LEGENDS)[int(rng.integers(len(glyphs.LEGENDS)))]
    lines = [glyphs.legend(face, line, tall, 420) for line in _lines(rng)]
    gap = int(tall * rng.uniform(0.2, 0.6))
    tw, th = max(m.shape[1] for m in lines), sum(m.shape[0] for m in lines) + gap * (len(lines) - 1)
    pad = int(0.6 * tw + 1.5 * tall)
    ground = rng.uniform(5, 235)
    canvas = np.full((th + 2 * pad, tw + 2 * pad), ground, np.float32)
    canvas *= np.linspace(rng.uniform(0.8, 1.0), rng.uniform(0.8, 1.1), canvas.shape[0], dtype=np.float32)[:, None]
    if rng.random() < 0.5:  # an edge of the body, a lamp, a window
        y = int(rng.uniform(0, pad * 0.95))
        canvas[:y] = rng.uniform(5, 235)
    if rng.random() < 0.3:
        canvas[canvas.shape[0] - int(rng.uniform(0, pad * 0.95)):] = rng.uniform(5, 235)
    long, board = max(len(lines) > 1, tw > 7 * tall), None
    if long and rng.random() < 0.6:  # a sticker or a board: not of a single word, which might be a plate
        ground = rng.uniform(5, 235)
        mx, my = int(tall * rng.uniform(0.1, 1.0)), int(tall * rng.uniform(0.1, 0.8))
        board = (pad - mx, pad - my, pad + tw + mx, pad + th + my)
        cv2.rectangle(canvas, (pad - mx, pad - my), (pad + tw + mx, pad + th + my), float(ground), -1)
    ink = ground + rng.choice((-1.0, 1.0)) * rng.uniform(40, 200)
    ink = float(np.clip(ink, 3, 250)) if abs(np.clip(ink, 3, 250) - ground) > 30 else (250.0 if ground < 128 else 3.0)
    y = pad
    for mask in lines:
        x = pad + (0 if rng.random() < 0.3 else (tw - mask.shape[1]) // 2)
        view = canvas[y:y + mask.shape[0], x:x + mask.shape[1]]
        view += mask * (ink - view)
        y += mask.shape[0] + gap
    luma = degrade(rng, np.clip(canvas, 0, 255).astype(np.uint8), bool(rng.random() < 0.4), tall / 0.07)  # as high as a plate's characters
    # Roughly around the words, often with a piece cut off or too much beside them.
    x0, x1 = pad - tw * rng.normal(0.05, 0.12), pad + tw * (1 + rng.normal(0.05, 0.12))
    y0, y1 = pad - tall * rng.normal(0.3, 0.3), pad + th + tall * rng.normal(0.3, 0.3)
    x1, y1 = max(x1, x0 + 0.5 * tall), max(y1, y0 + 0.5 * tall)
    if board and rng.random() < 0.6:  # its edges are as good as a plate's: corners are found on them
        x0, y0, x1, y1 = board
    elif rng.random() < 0.3:  # no plate is so long: a part of it
        x1 = min(x1, x0 + (y1 - y0) * rng.uniform(1.6, 3.5))
    quad = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], float)
    quad[:, 1] += (quad[:, 0] - x0) * rng.normal(0, 0.05)
    quad += rng.normal(0, rng.uniform(0.01, 0.05) * (y1 - y0), (4, 2))
    return luma, quad
