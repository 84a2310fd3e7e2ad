"""Reading the labelled photos: photos as grey arrays and crops in colour, in memory, split into train and held-out.

Coordinates are pixels of the stored file, x right, y down. A corner quad is a float32 array [4, 2],
clockwise from the plate's own top left corner. Grey images are uint8 arrays [height, width].

Texts and origins that nobody gave with the photos were read by eye from enlarged pictures; they lie in `labels/`.

The split is by content, never by row: a stable hash of the photo's name decides, all frames of one
dashcam ride fall on one side, and copies of one Open Images photo in two folders share their side.
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

HELD_OUT_PERCENT = 8

#: Folder of the state crops -> code in states.txt (ISO 3166-2). Spellings are the data set's own.
STATE_OF_FOLDER = {
    "alabama": "US-AL", "alaska": "US-AK", "american-samoa": "US-AS", "arizona": "US-AZ",
    "arkansas": "US-AR", "california": "US-CA", "cnmi": "US-MP", "colorado": "US-CO",
    "connecticut": "US-CT", "delaware": "US-DE", "florida": "US-FL", "georgia": "US-GA",
    "guam": "US-GU", "hawai": "US-HI", "idaho": "US-ID", "illinois": "US-IL", "indiana": "US-IN",
    "iowa": "US-IA", "kansas": "US-KS", "kentucky": "US-KY", "louisiana": "US-LA",
    "maine": "US-ME", "maryland": "US-MD", "massachusetts": "US-MA", "michigan": "US-MI",
    "minnesota": "US-MN", "missippi": "US-MS", "missouri": "US-MO", "montana": "US-MT",
    "nebraska": "US-NE", "nevada": "US-NV", "new-hampshire": "US-NH", "new-jersey": "US-NJ",
    "new-mexico": "US-NM", "new-york": "US-NY", "north-carolina": "US-NC",
    "north-dakota": "US-ND", "ohio": "US-OH", "oklahoma": "US-OK", "oregon": "US-OR",
    "pennsylvania": "US-PA", "puerto-rico": "US-PR", "rhode-island": "US-RI",
    "south-carolina": "US-SC", "south-dakota": "US-SD", "tennessee": "US-TN", "texas": "US-TX",
    "u-s-virgin-islands": "US-VI", "utah": "US-UT", "vermont": "US-VT", "virginia": "US-VA",
    "washington": "US-WA", "washington-dc": "US-DC", "west-virginia": "US-WV",
    "wisconsin": "US-WI", "wyoming": "US-WY",
}
#: All labels of the reader's state head, in the order of its outputs.
STATES = sorted(STATE_OF_FOLDER.values()) + ["BR", "EU", "MX", "other"]
STATE_INDEX = {code: index for index, code in enumerate(STATES)}
#: Characters of the reader after the CTC blank (index 0).
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#: Texts and origins by eye. photos.csv: source, image, the box's x1 and y1, text, place, remark; crops.csv: image, text, remark;
#: unboxed.csv: source, image, box and what it is: a word that a reader took for a text, or a plate that the labels left out.
LABELS = Path(__file__).resolve().parent / "labels"
BOX = ("x1", "y1", "x2", "y2")
#: What stands for a text of which a character is not certain.
UNREAD = "?"


@dataclass
class Plate:
    """One labelled plate: its box x1, y1, x2, y2 in pixels and, where known, its corner quad.

    text: None where it has no row in `LABELS`, `UNREAD`, empty where no line is to be read (no plate, or two rows), or the
    serial; state: index in STATES, -1 unknown.
    """

    box: np.ndarray
    quad: np.ndarray | None = None
    text: str | None = None
    state: int = -1


@dataclass
class Photo:
    """One grey photo [h, w] uint8 with its plates; `complete` if small plates are all labelled; `words` are boxes of what is no plate
    though it was read as one, `left_out` those of plates that aren't among `plates`."""

    name: str
    source: str
    grey: np.ndarray
    plates: list[Plate] = field(default_factory=list)
    complete: bool = True
    words: list[np.ndarray] = field(default_factory=list)
    left_out: list[np.ndarray] = field(default_factory=list)

    @property
    def boxes(self) -> list[np.ndarray]:
        """x1, y1, x2, y2 of all plates known of, labelled or left out."""
        return [plate.box for plate in self.plates] + self.left_out


@dataclass
class Crop:
    """One plate crop [h, w, 3] uint8 (BGR) that shows little but the plate; text is empty when unknown."""

    name: str
    colour: np.ndarray
    text: str
    state: int

    @property
    def grey(self) -> np.ndarray:
        """Its luma [h, w] uint8."""
        return cv2.cvtColor(self.colour, cv2.COLOR_BGR2GRAY)


@dataclass
class PhotoPlate:
    """A plate [h, w] uint8 of a photo with some of its surroundings, its corners [4, 2] in pixels, its text (None: not
    known; empty: no line to be read) and its state (-1: not known)."""

    grey: np.ndarray
    quad: np.ndarray
    text: str | None
    state: int


def held_out(key: str) -> bool:
    """True for the share of keys that is kept for validation; the same on every machine."""
    return int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) % 100 < HELD_OUT_PERCENT


def order_quad(points: np.ndarray) -> np.ndarray | None:
    """Order four points clockwise from the plate's own top left, given that it hangs roughly upright.

    Of the four rotations the one is taken whose top edge points most to the right. None if the
    points don't make a convex quad.
    """
    centre = points.mean(0)
    angle = np.arctan2(points[:, 1] - centre[1], points[:, 0] - centre[0])
    quad = points[np.argsort(angle)]  # y points down, so growing angle is clockwise
    if not cv2.isContourConvex(quad.astype(np.float32)):
        return None
    best = max(range(4), key=lambda k: _rightness(np.roll(quad, -k, axis=0)))
    return np.roll(quad, -best, axis=0).astype(np.float32)


def _rightness(quad: np.ndarray) -> float:
    """Cosine between the top-plus-bottom edge direction and the x axis."""
    along = (quad[1] - quad[0]) + (quad[2] - quad[3])
    return float(along[0] / (np.linalg.norm(along) + 1e-6))


def _polygon_quad(text: str) -> np.ndarray | None:
    """Corner quad of a polygon label, or None where it is not close to four corners."""
    points = np.array([float(value) for value in text.split()], np.float32).reshape(-1, 2)
    if len(points) > 4 and np.abs(points[0] - points[-1]).max() < 1.0:
        points = points[:-1]
    if len(points) < 4:
        return None
    if len(points) > 4:
        hull = cv2.convexHull(points)
        for share in (0.02, 0.04, 0.06, 0.08):
            simple = cv2.approxPolyDP(hull, share * cv2.arcLength(hull, True), True)
            if len(simple) == 4:
                break
        else:
            return None
        if cv2.contourArea(simple) > 1.12 * cv2.contourArea(hull) or cv2.contourArea(simple) < 0.88 * cv2.contourArea(hull):
            return None
        points = simple.reshape(4, 2)
    return order_quad(points)


def _rows(folder: Path) -> dict[str, list[dict]]:
    by_image: dict[str, list[dict]] = {}
    with open(folder / "labels.csv", newline="") as file:
        for row in csv.DictReader(file):
            by_image.setdefault(row["image"], []).append(row)
    return by_image


def _split_key(source: str, name: str) -> str:
    stem = name.split(".")[0]
    if source.startswith("open-images"):
        return "open-images/" + stem
    return source + "/" + stem


def _is_held_out(source: str, name: str) -> bool:
    if source == "dashcam-day-night":  # by ride: the short second day ride is held out
        return name.startswith("dayride_type1_002")
    return held_out(_split_key(source, name))


def box_of(row: dict) -> np.ndarray:
    """Its x1, y1, x2, y2 in pixels."""
    return np.array([float(row[key]) for key in BOX], np.float32)


def by_eye(file: str) -> list[dict]:
    """Rows of a file of `LABELS`."""
    with open(LABELS / file, newline="") as rows:
        return list(csv.DictReader(rows))


def place_class(place: str) -> int:
    """Class of where a plate is from, as `labels/photos.csv` says it (ISO 3166, or EU); -1 where it isn't known which."""
    if place in ("", "US"):
        return -1
    if place.startswith("US-"):
        return STATE_INDEX[place]
    return STATE_INDEX.get({"GB": "EU"}.get(place, place), STATE_INDEX["other"])


def known_of(seen: dict) -> tuple[str, int]:
    """Text and state of a row of `labels/photos.csv`. A serial in two rows is no line that can be read: it counts as
    none, and its state is known all the same."""
    if seen["remark"] == "mirror":
        return UNREAD, -1
    if seen["remark"] == "two":
        return "", place_class(seen["place"])
    return seen["text"], place_class(seen["place"]) if seen["text"] else -1


def load_photos(data: Path, want_held_out: bool, limit: int | None = None) -> list[Photo]:
    """All photos of the training folders on one side of the split (never evaluate/)."""
    photos, texts = [], {(row["source"], row["image"], row["x1"], row["y1"]): row for row in by_eye("photos.csv")}
    unboxed: dict[tuple[str, str, str], list[np.ndarray]] = {}
    for row in by_eye("unboxed.csv"):
        unboxed.setdefault((row["source"], row["image"], row["what"]), []).append(box_of(row))
    for source in ("open-images-plates", "dashcam-day-night", "plate-polygons-300"):
        folder = data / "train" / source
        for name, rows in list(_rows(folder).items())[:limit]:
            if _is_held_out(source, name) != want_held_out:
                continue
            grey = cv2.imread(str(folder / name), cv2.IMREAD_GRAYSCALE)
            if grey is None:
                continue
            plates = []
            for row in rows:
                box = box_of(row)
                quad = _polygon_quad(row["corners"]) if row["corners"] else None
                if min(box[2] - box[0], box[3] - box[1]) >= 3:
                    seen = texts.get((source, name, str(round(box[0])), str(round(box[1]))))
                    plates.append(Plate(box, quad, *(known_of(seen) if seen else ())))
            # Boxes without corners in the polygon set are its augmented copies: mosaics of upside
            # down plates and turned photos whose box says little.
            if source == "plate-polygons-300" and any(plate.quad is None for plate in plates):
                continue
            if plates:
                words, left_out = (unboxed.get((source, name, what), []) for what in ("word", "plate"))
                photos.append(Photo(name, source, grey, plates, source != "open-images-plates", words, left_out))
    return photos


def load_crops(data: Path, want_held_out: bool, limit: int | None = None) -> list[Crop]:
    """All state crops on one side of the split, in colour at their stored size (224 x 128); texts by eye go before the source's."""
    folder = data / "train" / "us-state-crops"
    crops, texts = [], {row["image"]: row["text"] for row in by_eye("crops.csv")}
    for name, rows in list(_rows(folder).items())[:limit]:
        if held_out("us-state-crops/" + name) != want_held_out:
            continue
        colour = cv2.imread(str(folder / name), cv2.IMREAD_COLOR)
        if colour is None:
            continue
        text = "".join(c for c in texts.get(name, rows[0]["text"]).upper() if c in ALPHABET)
        state = STATE_INDEX[STATE_OF_FOLDER[name.split("/")[0]]]
        crops.append(Crop(name, colour, text, state))
    return crops
