"""Training samples for the reader: rendered plates and real crops, both as the detector leaves them.

A sample is a luma crop [64, 160] whose plate corners lie `MARGIN_X` of the plate's width and `MARGIN_Y`
of its height inside the crop on each side, give or take the detector's error.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ..render import optics
from ..render.lettering import lettering
from ..render.parts import US_M
from ..render.sensor import HALF, STREAMED, degrade, halves, plate_on_sensor
from .augment import jpeg, noise, tone
from .sources import ALPHABET, STATE_INDEX, Crop, PhotoPlate

HEIGHT, WIDTH = 64, 160
MARGIN_X, MARGIN_Y = 0.06, 0.12
#: Plates this many times wider than in the picture are averaged down first; `rectify.rs` has the same rule.
SHRINK_ABOVE = 2.0
#: Shares of the samples that are rendered plates, show no plate, and are plates of photos; the others are real crops.
RENDERED, NOTHING, PHOTOS = 0.4, 0.1, 0.24
#: Share of the degraded crops and photos that are small at any rate, 60 to 100 px wide: where most readings go wrong.
SMALL = 0.3
#: Width in metres of a photo's plate, of whichever country.
SOME_WIDE = 0.4
#: Longest text that is trained on; CTC needs a blank between equal neighbours within 40 columns.
LONGEST = 10


def encode_text(text: str) -> list[int] | None:
    """CTC classes (1..36) of a text; None for one that cannot be a label."""
    classes = [ALPHABET.index(c) + 1 for c in text if c in ALPHABET]
    return classes if 0 < len(classes) <= LONGEST else None


def known_text(text: str | None) -> list[int] | None:
    """CTC classes of what is known of a text: None for nothing, no classes for a picture without one."""
    return [] if text == "" else encode_text(text or "")


def decode_greedy(probabilities: np.ndarray) -> tuple[str, float]:
    """Best path of [T, 37] -> text and confidence: the product over characters of their best column."""
    best = probabilities.argmax(1)
    text, confidence, last, peak = "", 1.0, 0, 0.0
    for column, kind in enumerate(best):
        p = float(probabilities[column, kind])
        if kind != last:
            if last:
                confidence *= peak
            if kind:
                text += ALPHABET[kind - 1]
            peak = p
        peak, last = max(peak, p), kind
    return text, confidence * (peak if last else 1.0)


#: Share of the rendered plates that are drawn in a style of these, beside what the renderer draws by chance.
EXTRA = {"eu": 0.05, "eu-wide": 0.09, "BR": 0.07, "MX": 0.05, "ca": 0.02, "ca-legacy": 0.01, "ca-legacy-blue": 0.01,
         "ca-commercial": 0.015, "ca-exempt": 0.01, "ca-environmental": 0.01, "ca-kids": 0.01, "symbols": 0.02, "stacks": 0.08, "two-rows": 0.06}


#: Characters that small or blurred plates make alike (only such as a clear picture tells apart), and those that are missed where
#: they stand side by side; `ALIKE_SHARE` of the rendered plates are made of one such group above all.
ALIKE = ("1", "0", "11T7", "8B3", "5S", "2Z7", "6G", "VUYW", "MNWH", "4AL", "EFB", "PRF", "KXY", "CG", "DQ", "JU")
ALIKE_SHARE = 0.08


def alike(rng: np.random.Generator) -> str:
    """A text of 4 to 8 characters, two thirds of them of one group of `ALIKE`."""
    group = ALIKE[rng.integers(len(ALIKE))]
    return "".join(str(rng.choice(list(group if rng.random() < 0.67 else ALPHABET))) for _ in range(rng.integers(4, 9)))


def rendered(rng: np.random.Generator, style: str | None = None) -> tuple[np.ndarray, str, int]:
    """A rendered sample; state -1 where the plate doesn't show it.

    style None: as the renderer draws them by chance, with more from abroad and of California. A plate of two rows is shown whole, and
    then has no text as no line of it can be read, or one of its halves, with that row's text and no state.
    """
    serial = None
    if style is None:
        style = rng.choice([*EXTRA, None], p=[*EXTRA.values(), 1 - sum(EXTRA.values())])
        if style not in ("stacks", "two-rows") and rng.random() < ALIKE_SHARE:
            serial = alike(rng)
    luma, quad, plate = plate_on_sensor(rng, style, serial)
    quad, text, state = misplaced(rng, quad), plate.text, state_class(plate.state)
    if plate.upper and (row := int(rng.integers(3))) < 2:
        text, state, quad = (text[: plate.upper], text[plate.upper :])[row], -1, halves(quad)[row]
    elif plate.upper:
        text = ""
    return rectify(luma, quad), text, state


def state_class(state: str) -> int:
    """Index in states.txt of the renderer's state name; -1 where none is given."""
    if not state:
        return -1
    return STATE_INDEX[state]


def corner_spread(rng: np.random.Generator) -> float:
    """Spread of the errors of a plate's corners as a share of its height: mostly small, now and then as large as the aligner's worst."""
    return float(abs(rng.normal(0, 0.1 if rng.random() < 0.15 else 0.04)))


def misplaced(rng: np.random.Generator, quad: np.ndarray) -> np.ndarray:
    """Corners [4, 2] as wrong as the aligner's, each by itself and all together."""
    error = corner_spread(rng) * np.linalg.norm(quad[3] - quad[0])
    return (quad + rng.normal(0, error, (4, 2)) + rng.normal(0, 0.6 * error, 2)).astype(np.float32)


def monochrome(rng: np.random.Generator, colour: np.ndarray) -> np.ndarray:
    """Grey [h, w] uint8 of a crop [h, w, 3], its colours weighed at random: sensors, lamps and filters all see inks differently."""
    if rng.random() < 0.5:
        return cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY)
    return cv2.transform(colour, rng.dirichlet((0.8, 2.0, 1.4))[None])


def hidden(rng: np.random.Generator, face: np.ndarray) -> np.ndarray:
    """A crop [h, w] whose edge a dealer's frame hides, or a sticker a piece of it: name and slogan are there no more, or
    in part, so that the state must be told by what is left. Most serials stay free."""
    height, width = face.shape
    tall = round(height * rng.uniform(0.08, 0.22))
    left, right = (0, width) if rng.random() < 0.5 else sorted(rng.integers(0, width, 2))
    top = 0 if rng.random() < 0.5 else height - tall
    face = face.copy()
    face[top : top + tall, left:right] = np.clip(rng.normal(rng.uniform(0, 255), rng.uniform(0, 30), (tall, right - left)), 0, 255)
    return face


def photographed(rng: np.random.Generator, face: np.ndarray, gentle: bool = False) -> np.ndarray:
    """A real crop as a camera would see it from 60 to 260 pixels wide, rectified with corner errors.

    face uint8 [h, w] shows the whole plate and nothing else; the result is uint8 [64, 160].
    """
    height, width = face.shape
    if not gentle and rng.random() < 0.06:
        face = 255 - face  # dark plates are few
    nearest = 260 if gentle or rng.random() > SMALL else 100
    long = np.exp(rng.uniform(np.log(60 if not gentle else 110), np.log(nearest)))
    wide, tall = long * np.cos(rng.normal(0, 0.35)), long * 0.5 * np.exp(rng.normal(0, 0.12))
    pad = 0.2 * long + 3
    quad = np.array([[0, 0], [wide, 0], [wide, tall], [0, tall]], np.float32) + np.float32(pad)
    quad += rng.normal(0, 0.03 * tall, (4, 2)).astype(np.float32)
    shear = np.float32(rng.normal(0, 0.08))
    quad[:, 1] += shear * (quad[:, 0] - pad)
    quad[:, 1] += np.float32(pad - min(quad[:, 1].min(), pad))
    size = (int(quad[:, 0].max() + pad), int(quad[:, 1].max() + pad))
    shrink = 1.3 * long / width
    if shrink < 0.9:
        face = cv2.resize(face, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        height, width = face.shape
    source = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    ground = float(rng.uniform(5, 230))
    seen = cv2.warpPerspective(face, cv2.getPerspectiveTransform(source - HALF, quad - HALF), size, flags=cv2.INTER_LINEAR,
                               borderMode=cv2.BORDER_CONSTANT, borderValue=ground)
    if not gentle:
        seen = degrade(rng, seen, bool(rng.random() < 0.3), long / US_M[0])
    return rectify(seen, quad if gentle else misplaced(rng, quad))


def seen_again(rng: np.random.Generator, plate: PhotoPlate) -> np.ndarray:
    """A photo's plate from farther off or as it is, under another light, with corner errors; uint8 [64, 160]."""
    grey, quad = plate.grey, plate.quad
    if rng.random() < 0.05:
        grey = 255 - grey  # dark plates are few
    if rng.random() < 0.7:
        scale = np.exp(rng.uniform(np.log(0.33), np.log(0.55 if rng.random() < SMALL else 1.0)))
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        quad = quad * [grey.shape[1] / plate.grey.shape[1], grey.shape[0] / plate.grey.shape[0]]
        grey = degrade(rng, grey, bool(rng.random() < 0.3), np.linalg.norm(quad[1] - quad[0]) / SOME_WIDE)
    return rectify(grey, misplaced(rng, quad))


def upright_corners(size: tuple[int, int], margin: tuple[float, float]) -> np.ndarray:
    """Where a plate's corners lie [4, 2] px in an upright picture of `size` (width, height) with `margin` (shares of the
    plate's width and height) around it."""
    (width, height), (mx, my) = size, (side * share / (1 + 2 * share) for side, share in zip(size, margin))
    return np.array([[mx, my], [width - mx, my], [width - mx, height - my], [mx, height - my]], np.float32)


def rectify(luma: np.ndarray, quad: np.ndarray, size: tuple[int, int] = (WIDTH, HEIGHT),
            margin: tuple[float, float] = (MARGIN_X, MARGIN_Y)) -> np.ndarray:
    """An upright picture of `size` (width, height) whose corners [4, 2] lie `margin` (shares of the plate's
    width and height) inside it; by default the reader's input. As the appliance does it: a plate of more than
    `SHRINK_ABOVE` times the picture's width is averaged down first."""
    target = upright_corners(size, margin)
    wide = np.linalg.norm(quad[[1, 2]] - quad[[0, 3]], axis=1).mean() / (target[1, 0] - target[0, 0])
    if wide > SHRINK_ABOVE:
        height, width = luma.shape
        luma = cv2.resize(luma, (max(1, round(width / wide * 1.25)), max(1, round(height / wide * 1.25))), interpolation=cv2.INTER_AREA)
        quad = quad * [luma.shape[1] / width, luma.shape[0] / height]
    matrix = cv2.getPerspectiveTransform(np.float32(quad - HALF), target - HALF)
    return cv2.warpPerspective(luma, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def finish(rng: np.random.Generator, crop: np.ndarray) -> np.ndarray:
    """Small changes that make a sample worth showing again; uint8 in, float32 0..1 out."""
    image = crop.astype(np.float32) / 255
    if rng.random() < 0.6:
        dx, dy = rng.uniform(-3, 3), rng.uniform(-2, 2)
        matrix = np.array([[1 + rng.normal(0, 0.02), rng.normal(0, 0.02), dx], [rng.normal(0, 0.01), 1 + rng.normal(0, 0.02), dy]])
        image = cv2.warpAffine(image, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
    if rng.random() < 0.5:
        image = tone(rng, image, 0.7)
    if rng.random() < 0.2:
        image = noise(rng, image, abs(rng.normal(0, 0.03)))
    if rng.random() < 0.1:
        image = jpeg(rng, image, 40)
    if rng.random() < 0.05:  # a bolt, a leaf, a hanging cable
        x, y = int(rng.integers(0, WIDTH)), int(rng.integers(0, HEIGHT))
        cv2.circle(image, (x, y), int(rng.integers(2, 6)), float(rng.random()), -1)
    return np.clip(image, 0, 1)


class Pool:
    """A store of what `make` draws slowly, renewed bit by bit: each is shown about `uses` times."""

    def __init__(self, make, size: int = 4000, uses: float = 4.0):
        self.make, self.size, self.uses, self.items = make, size, uses, []

    def draw(self, rng: np.random.Generator):
        """A sample, new or seen before."""
        if len(self.items) < self.size and (len(self.items) < 256 or rng.random() < 0.5):
            self.items.append(self.make(rng))
            return self.items[-1]
        index = int(rng.integers(len(self.items)))
        if rng.random() < 1 / self.uses:
            self.items[index] = self.make(rng)
        return self.items[index]


class Sampler:
    """Mixes rendered plates, real crops, plates of photos, and crops that show no plate."""

    def __init__(self, crops: list[Crop], negatives: np.ndarray, photos: Sequence[PhotoPlate] = ()):
        """negatives: uint8 [n, 64, 160], mined from photos; half as many again are drawn lettering."""
        self.crops, self.photos = crops, photos
        self.plates, self.nothing = Pool(rendered), Pool(lambda rng: no_plate(rng, negatives))

    def draw(self, rng: np.random.Generator, ease: float = 0.0):
        """image float32 [64, 160], CTC classes (empty: no plate; None: text unknown), state class (-1: unknown).

        ease 0..1 is the share of plain real crops, for the start of the training.
        """
        kind = rng.random()
        if rng.random() < ease:
            kind = 1.0
        if kind < RENDERED:
            crop, text, state = self.plates.draw(rng)
            return finish(rng, crop), known_text(text), state
        if kind < RENDERED + NOTHING:
            return finish(rng, self.nothing.draw(rng)), [], -1
        if self.photos and kind < RENDERED + NOTHING + PHOTOS:
            plate = self.photos[rng.integers(len(self.photos))]
            return finish(rng, seen_again(rng, plate)), known_text(plate.text), plate.state
        item = self.crops[rng.integers(len(self.crops))]
        gentle, face = kind == 1.0 or bool(rng.random() < 0.25), monochrome(rng, item.colour)
        if rng.random() < 0.3:
            face = hidden(rng, face)
        return finish(rng, photographed(rng, face, gentle)), encode_text(item.text), item.state


def no_plate(rng: np.random.Generator, negatives: np.ndarray) -> np.ndarray:
    """A crop uint8 [64, 160] that shows no plate: a mined piece of a photo or drawn lettering, of that some by halves, as
    the appliance looks for two rows."""
    if rng.random() < 0.4:
        mined = negatives[rng.integers(len(negatives))]
        return optics.h264(rng, mined) if rng.random() < STREAMED else mined  # as plates come, lest the codec tells them apart
    luma, quad = lettering(rng)
    return rectify(luma, halves(quad)[int(rng.integers(2))] if rng.random() < 0.25 else quad)
