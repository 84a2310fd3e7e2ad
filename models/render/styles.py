"""Looks: paints, backgrounds and the table of plate styles.

A colour is float32 (B, G, R, IR), 0-255. IR is how bright the paint is under an 850 nm
lamp next to the camera: sheeting near white, carbon black near zero, and many coloured
inks in between or gone altogether.
"""
from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

#: Plates of other countries; EU_WIDE has its characters far apart, TWO_ROWS its serial in two rows.
EU, EU_WIDE, BR, MX, TWO_ROWS = "eu", "eu-wide", "BR", "MX", "two-rows"

# name: (R, G, B, darkest IR, brightest IR)
INKS = {
    "white": (240, 240, 236, 205, 250), "cream": (240, 230, 200, 200, 245),
    "silver": (205, 208, 210, 180, 230), "chrome": (170, 172, 175, 60, 140),
    "black": (22, 22, 26, 8, 45), "navy": (20, 32, 92, 15, 70), "blue": (34, 66, 150, 25, 110),
    "eu blue": (16, 60, 150, 30, 160), "sky": (140, 185, 228, 170, 235),
    "green": (18, 92, 58, 20, 90), "pale green": (165, 208, 170, 180, 235),
    "red": (176, 32, 42, 60, 170), "maroon": (110, 24, 40, 25, 90), "faint red": (205, 40, 50, 150, 235),
    "orange": (240, 140, 32, 150, 235), "yellow": (246, 202, 40, 185, 245),
    "gold": (222, 168, 30, 170, 235), "purple": (92, 60, 130, 60, 160),
    "teal": (32, 130, 140, 60, 170), "sand": (226, 180, 130, 170, 230),
    "grey": (120, 124, 128, 70, 140), "brown": (96, 62, 40, 30, 90), "pink": (232, 160, 176, 180, 240),
}
DARK = ("black", "navy", "blue", "green", "maroon", "red", "purple", "brown")
LIGHT = ("white", "cream", "silver", "sky", "pale green", "yellow", "gold", "orange", "sand", "pink")


def ink(rng: np.random.Generator, name: str) -> np.ndarray:
    """One paint of a name, each batch a little different: float32 (B, G, R, IR)."""
    r, g, b, low, high = INKS[name]
    out = np.array([b, g, r, 0], np.float32)
    out[:3] += rng.uniform(-14, 14, 3)
    out[3] = rng.uniform(low, high)
    return np.clip(out, 0, 255)


def scalar(colour: np.ndarray) -> tuple[float, ...]:
    """A colour as OpenCV's drawing calls take it."""
    return tuple(float(v) for v in colour)


@dataclass(frozen=True)
class Style:
    """How one kind of plate looks. Empty fields are drawn at random."""

    name: str
    state: str = ""
    ground: tuple[str, ...] = ("white",)  # one paint, or several from top to bottom
    serial: str = "navy"
    accent: str = "blue"
    picture: str = ""  # mountains, hills, bands, centre, wave, desert, flag, sun
    name_ink: str = ""
    slogan_ink: str = ""
    face: str = ""  # legend face, see glyphs.LEGENDS
    upper: bool | None = None
    name_on_top: float = 1.0
    dies: tuple[str, ...] = ("semi", "condensed")
    formats: tuple[str, ...] = ()  # of this look only; else those of the state
    embossed: float = 0.6
    stickers: float = 0.5
    personal: float = 0.08
    any_format: float = 0.04
    symbols: float = 0.0  # of personal plates: a heart, hand, star or plus that stands for no letter


#: The dies of looks that are no state's own.
DIES = ("overpass", "condensed", "semi", "boxy")

_TABLE = (
    Style("ca", "US-CA", serial="navy", name_ink="red", slogan_ink="navy", face="script", dies=("boxy", "semi", "condensed"), stickers=0.8),
    Style("ca-legacy", "US-CA", ("black",), "gold", "gold", face="sans", upper=True, dies=("boxy", "semi"), formats=("9A99999", "AAA999", "1AAA999", "A99999")),
    Style("tx", "US-TX", serial="black", accent="black", face="slab", upper=True, embossed=0.1),
    Style("ny-gold", "US-NY", ("orange",), "navy", "navy", "bands", name_ink="gold", face="sans", upper=True, slogan_ink="navy"),
    Style("ny", "US-NY", ("white",), "navy", "navy", "bands", name_ink="white", face="sans", upper=True, embossed=0.2),
    Style("fl", "US-FL", ("white", "pale green"), "green", "green", "sun", face="sans", upper=True),
    Style("il", "US-IL", ("white", "sky"), "black", "blue", "hills", face="slab", embossed=0.5),
    Style("il-red", "US-IL", ("white",), "red", "blue", face="script", embossed=0.8),
    Style("pa", "US-PA", ("white",), "navy", "blue", "bands", name_ink="white", slogan_ink="black", face="slab", upper=True),
    Style("oh", "US-OH", ("sky", "white"), "navy", "red", "hills", face="sans", upper=True, embossed=0.1),
    Style("ga", "US-GA", ("white", "sand"), "black", "black", "sun", face="slab", upper=True, embossed=0.1),
    Style("nc", "US-NC", ("white", "sky"), "navy", "red", "hills", face="slab", upper=True, name_on_top=0.2),
    Style("mi", "US-MI", ("white",), "navy", "blue", "bands", name_ink="white", face="sans", embossed=0.3),
    Style("nj", "US-NJ", ("yellow", "cream"), "black", "black", face="script", dies=("boxy", "semi")),
    Style("va", "US-VA", ("white",), "navy", "navy", face="slab", upper=True, name_on_top=0.3, embossed=0.4),
    Style("wa", "US-WA", ("white", "sky"), "navy", "red", "mountains", face="sans", upper=True, embossed=0.7),
    Style("az", "US-AZ", ("sky", "sand"), "green", "purple", "desert", face="slab", upper=True, embossed=0.3),
    Style("ma", "US-MA", ("white",), "red", "blue", face="slab", dies=("semi", "overpass")),
    Style("co", "US-CO", ("green",), "white", "white", face="sans", upper=True, name_on_top=0.0, embossed=0.9),
    Style("mn", "US-MN", ("sky", "white"), "navy", "blue", "hills", face="script"),
    Style("wi", "US-WI", ("white",), "black", "red", "hills", face="slab", upper=True),
    Style("md", "US-MD", ("white",), "black", "red", "flag", face="sans", upper=True, dies=("boxy", "semi")),
    Style("mo", "US-MO", ("white",), "navy", "red", "wave", face="slab", upper=True),
    Style("tn", "US-TN", ("navy",), "white", "white", face="sans", embossed=0.1),
    Style("or", "US-OR", ("sky", "white"), "navy", "navy", "mountains", face="slab", name_on_top=0.7),
    Style("nv", "US-NV", ("sky", "sand"), "navy", "navy", "mountains", face="sans", upper=True),
    Style("ut", "US-UT", ("sky", "orange", "white"), "navy", "maroon", "desert", face="slab", upper=True),
    Style("ct", "US-CT", ("blue", "white"), "navy", "navy", face="slab"),
    Style("la", "US-LA", ("white", "white", "sky"), "navy", "red", "wave", face="script"),
    Style("in", "US-IN", ("sky", "white"), "navy", "navy", "bands", name_ink="white", face="sans", upper=True),
    Style("sc", "US-SC", ("white", "sky"), "navy", "navy", "sun", face="slab", upper=True),
    Style("vt", "US-VT", ("green",), "white", "white", face="sans", name_on_top=0.8),
    Style("any", embossed=0.5, stickers=0.45, personal=0.16, any_format=0.4, name_on_top=0.72,
          dies=DIES),
)
STYLES: dict[str, Style] = {s.name: s for s in _TABLE}

# Looks that are drawn only where they are asked for: the training asks, road scenes and clips don't.
_SPECIAL = (
    Style("ca-commercial", "US-CA", serial="navy", name_ink="red", slogan_ink="navy", face="script", dies=("boxy", "semi", "condensed"),
          formats=("99999A1", "9A99999", "99999A9"), stickers=0.8, personal=0, any_format=0),
    Style("ca-exempt", "US-CA", serial="navy", name_ink="red", face="script", dies=("boxy", "semi"), formats=("*1999999", "1999999"),
          stickers=0, personal=0, any_format=0),
    Style("ca-environmental", "US-CA", ("sky", "white"), "navy", "green", "mountains", face="sans", upper=True, dies=("boxy", "semi"),
          stickers=0.8, personal=1.0),
    Style("ca-kids", "US-CA", ("white",), "navy", "red", face="sans", upper=True, dies=("boxy", "semi"), stickers=0.8, personal=1.0,
          symbols=0.85),
    Style("ca-legacy-blue", "US-CA", ("blue",), "gold", "gold", face="sans", upper=True, dies=("boxy", "semi"),
          formats=("999AAA", "1AAA999", "9A99999"), personal=0.1),
    Style("stacks", personal=0, any_format=0, dies=DIES,
          formats=("{AA}99999", "{AA}9999", "{AA}999", "{AA} 9999", "{AA}999A", "{AA}A999", "{AA}-9999", "{AA}99-999", "*{AA}9999", "{AA}*999",
                   "9999{AA}", "999{AA}", "A999{AA}", "99999{AA}", "*999{AA}", "999A{AA}", "9{AA}9999", "99{AA}99", "9{AA}*999", "99{AA}-999",
                   "{9A}9999", "{9A}9 999", "{9A}A9999", "{99}*9999", "{99}AAA999", "{99}*999", "{A9}9999")),
    Style("symbols", personal=1.0, symbols=0.8, dies=DIES),
)
SPECIAL: dict[str, Style] = {s.name: s for s in _SPECIAL}
PICTURES = ("", "", "", "mountains", "hills", "bands", "wave", "desert", "flag", "sun", "centre")


def _ridge(rng, w: int, base: float, rough: float, n: int) -> np.ndarray:
    xs = np.linspace(-10, w + 10, n)
    ys = base + rng.uniform(-rough, rough, n)
    return np.stack([xs, ys], 1)


def background(rng: np.random.Generator, style: Style, w: int, h: int):
    """Ground and picture of a plate, from a stock that is drawn on first use.

    Returns canvas float32 h x w x 4 (the caller's to draw on), the serial's paint and the
    accent's paint. The stock is numbered, not remembered in order of use, so that the
    same seed gives the same plate whatever was drawn before.
    """
    number = int(rng.integers(6 if style.state else 128))
    ground, paint, tint = _stock(style, number, w, h)
    return ground.astype(np.float32), paint, tint


@lru_cache(maxsize=512)
def _stock(style: Style, number: int, w: int, h: int):
    seed = np.random.default_rng([number, *style.name.encode()])
    canvas, paint, tint = _ground(seed, style, w, h)
    return np.clip(canvas, 0, 255).astype(np.uint8), paint, tint


def _ground(rng: np.random.Generator, style: Style, w: int, h: int):
    """One background. Pictures are soft, and softer still under IR: inks vanish there."""
    if not style.state:
        if rng.random() < 0.22:  # dark plates with light characters
            ground, serial = (DARK[int(rng.integers(len(DARK)))],), ("white", "yellow", "cream", "silver")[int(rng.integers(4))]
            accent = serial
        else:
            n = 1 if rng.random() < 0.4 else int(rng.integers(2, 4))
            ground = tuple(("white" if rng.random() < 0.5 else LIGHT[int(rng.integers(len(LIGHT)))]) for _ in range(n))
            serial = DARK[int(rng.integers(len(DARK)))]
            accent = DARK[int(rng.integers(len(DARK)))]
        picture = PICTURES[int(rng.integers(len(PICTURES)))]
    else:
        ground, serial, accent, picture = style.ground, style.serial, style.accent, style.picture

    stops = np.stack([ink(rng, g) for g in ground])
    light = stops[:, 3].mean() > 120
    if len(stops) == 1:
        canvas = np.empty((h, w, 4), np.float32)
        canvas[:] = stops[0]
    else:
        column = cv2.resize(stops[:, None, :], (1, h), interpolation=cv2.INTER_LINEAR)
        canvas = np.repeat(column.reshape(h, 1, 4), w, axis=1)
    paint, tint = ink(rng, serial), ink(rng, accent)
    # Under the lamp the serial must differ from its ground, as issued plates do.
    if light and paint[3] > stops[:, 3].min() - 60:
        paint[3] = max(10.0, stops[:, 3].min() - rng.uniform(60, 140))
    if picture and light:
        before = canvas.copy()
        strong = rng.uniform(0.15, 0.5)
        hue = rng.uniform(60, 230, 4).astype(np.float32)
        if picture in ("bands",):
            edge = int(rng.uniform(34, 46))
            canvas[:edge] = tint
            if rng.random() < 0.7:
                canvas[h - int(rng.uniform(26, 36)):] = tint if rng.random() < 0.5 else ink(rng, "yellow")
            strong = 1.0
            before[:] = canvas
        elif picture == "mountains":
            cv2.fillPoly(canvas, [np.vstack([_ridge(rng, w, 55, 28, 9), [[w, 110], [0, 110]]]).astype(np.int32)], scalar(hue), cv2.LINE_AA)
        elif picture == "hills":
            for base in (0.5, 0.75):
                cv2.fillPoly(canvas, [np.vstack([_ridge(rng, w, h * base, 18, 7), [[w, h], [0, h]]]).astype(np.int32)], scalar(hue), cv2.LINE_AA)
                hue = rng.uniform(60, 230, 4).astype(np.float32)
        elif picture == "desert":
            cv2.fillPoly(canvas, [np.vstack([_ridge(rng, w, h * 0.7, 14, 6), [[w, h], [0, h]]]).astype(np.int32)], scalar(ink(rng, "purple")), cv2.LINE_AA)
            cv2.circle(canvas, (int(rng.uniform(40, w - 40)), 46), 20, scalar(ink(rng, "white")), -1, cv2.LINE_AA)
        elif picture == "flag":
            step = int(rng.uniform(10, 26))
            for k, x in enumerate(range(0, w, step)):
                cv2.rectangle(canvas, (x, h - 40), (x + step, h), scalar(ink(rng, ("red", "gold", "black", "white")[k % 4])), -1)
            strong = 0.9
        elif picture == "wave":
            xs = np.linspace(0, w, 24)
            for base, name in ((30, "red"), (h - 34, "blue")):
                ys = base + np.sin(xs / w * 6.3 + rng.uniform(0, 6)) * 10
                pts = np.stack([xs, ys], 1).astype(np.int32)
                cv2.polylines(canvas, [pts], False, scalar(ink(rng, name)), 14, cv2.LINE_AA)
        elif picture in ("sun", "centre"):
            c = (int(w / 2 + rng.uniform(-20, 20)), int(h * rng.uniform(0.4, 0.6)))
            cv2.circle(canvas, c, int(rng.uniform(26, 60)), scalar(ink(rng, "orange")), -1, cv2.LINE_AA)
            cv2.ellipse(canvas, (c[0] + 12, c[1] - 34), (22, 9), -30, 0, 360, scalar(ink(rng, "green")), -1, cv2.LINE_AA)
        if picture not in ("bands",):
            keep = np.array([strong] * 3 + [strong * rng.uniform(0.1, 0.6)], np.float32)
            canvas = before + (canvas - before) * keep
    return canvas, paint, tint
