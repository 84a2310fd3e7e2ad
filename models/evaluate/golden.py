"""Make the golden images: rendered plates and scenes with what the shipped models must answer.

    python -m models.evaluate.golden --seed 11

Only samples are kept that the models read with a clear margin, so that a golden failure means a broken
runtime, a wrong file or wrong preprocessing, never a hard picture. `golden.json` holds the truth, not
the models' answers: `plates` with file, text, state; `scenes` with file and plates (text, corners
in pixels, clockwise from the plate's own top left).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np

from ..data.read import rendered
from ..data.sources import STATES
from ..render.scene import draw_scene
from ..render.sensor import halves
from .detections import iou
from .fixed_set import draw_two_rows
from .read_photos import HERE, Models, decode_greedy


#: Pictures that are tried for one that is kept; models that need more read too little to be shipped.
TRIES = 200


def load_golden(folder: Path) -> tuple[list[tuple[np.ndarray, dict]], list[tuple[np.ndarray, dict]]]:
    """The plates and the scenes of a folder, each luma uint8 [h, w] with its entry of golden.json."""
    known = json.loads((folder / "golden.json").read_text())
    load = lambda kind: [(cv2.imread(str(folder / one["file"]), cv2.IMREAD_GRAYSCALE), one) for one in known[kind]]
    return load("plates"), load("scenes")


def tries(wanted: int, entries: list):
    """Goes on until `entries` has as many as wanted; ends the program where that takes too long."""
    for _ in range(TRIES * wanted):
        yield
        if len(entries) == wanted:
            return
    raise SystemExit(f"of {TRIES * wanted} rendered pictures the models read only {len(entries)} for certain; {wanted} are wanted")


def certain(texts: list[str], confidences: list[float]) -> bool:
    """Whether every reading is sure and has no character that is another's look-alike."""
    return min(confidences) >= 0.9 and not any(set(text) & set("OI01") for text in texts)


def keep_scene(folder: Path, name: str, luma: np.ndarray, plates: list[tuple[str, np.ndarray]]) -> dict:
    """Write the picture; its entry with the text and the corners [4, 2] of each plate."""
    cv2.imwrite(str(folder / name), luma)
    return {"file": name, "plates": [{"text": text, "corners": [[round(float(v), 2) for v in c] for c in corners]} for text, corners in plates]}


def golden_plates(models: Models, rng, folder: Path, count: int) -> list[dict]:
    """Plates [64, 160] of different states, read right with confidence of at least 0.9."""
    entries, seen = [], set()
    for _ in tries(count, entries):
        crop, text, state = rendered(rng)
        if state < 0 or STATES[state] in seen or len(text) < 5:
            continue
        characters, states = models.reader.run(None, {"plate": crop[None, None].astype(np.float32) / 255})
        read, confidence = decode_greedy(characters[0])
        if read != text or not certain([read], [confidence]) or states[0].argmax() != state:
            continue
        seen.add(STATES[state])
        name = f"plate-{len(entries) + 1}.png"
        cv2.imwrite(str(folder / name), crop)
        entries.append({"file": name, "text": text, "state": STATES[state]})
    return entries


def golden_scenes(models: Models, rng, folder: Path, count: int) -> list[dict]:
    """Scenes [384, 640], all of whose plates are found with a score of at least 0.6 and read for certain: one by day, one by night."""
    entries = []
    for _ in tries(count, entries):
        scene = draw_scene(rng, 640, 384, night=len(entries) % 2 == 1)
        if not 1 <= len(scene.plates) <= 2 or min(np.ptp(p.corners[:, 0]) for p in scene.plates) < 60:
            continue
        found = models.detect(scene.luma, 0.6, widths=(640,))
        boxes = [np.array([*p.corners.min(0), *p.corners.max(0)]) for p in scene.plates]
        if len(found) != len(boxes) or not all(any(iou(b, d.box) > 0.75 for d in found) for b in boxes):
            continue
        read = models.read(scene.luma, [d.quad for d in found])
        texts = [r[0] for r in read]
        if sorted(texts) != sorted(p.text for p in scene.plates) or not certain(texts, [r[1] for r in read]):
            continue
        entries.append(keep_scene(folder, f"scene-{len(entries) + 1}.png", scene.luma, [(p.text, p.corners) for p in scene.plates]))
    return entries


def golden_two_rows(models: Models, rng, folder: Path, count: int) -> list[dict]:
    """Scenes [384, 640] with one plate of two rows, which is found, read as nothing in one line, and in its halves for certain."""
    entries = []
    for _ in tries(count, entries):
        luma, plate, corners = draw_two_rows(rng, (640, 384), night=False)
        found = models.detect(luma, 0.6, widths=(640,))
        (width, height), box = np.ptp(corners, 0), np.array([*corners.min(0), *corners.max(0)])
        if width > 1.6 * height or len(found) != 1 or iou(box, found[0].box) <= 0.75:
            continue
        quad = found[0].quad
        (whole, *_), *rows = models.read(luma, [quad, *halves(quad)])
        texts = [row[0] for row in rows]
        if whole or "".join(texts) != plate.text or not certain(texts, [row[1] for row in rows]):
            continue
        entries.append(keep_scene(folder, f"two-rows-{len(entries) + 1}.png", luma, [(plate.text, corners)]))
    return entries


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "golden")
    parser.add_argument("--models", type=Path, default=HERE)
    parser.add_argument("--seed", type=int, default=11)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    models, rng = Models(options.models), np.random.default_rng(options.seed)
    plates, scenes = golden_plates(models, rng, options.out, 6), golden_scenes(models, rng, options.out, 2)
    golden = {"plates": plates, "scenes": scenes + golden_two_rows(models, rng, options.out, 1)}
    (options.out / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
