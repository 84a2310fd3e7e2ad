"""Counts and rights of what is trained on, as models/data.md.

    python -m models.data.card --data ../shared/data --photos build/photo_plates.npz --negatives build/negatives.npz
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np

from ..render.plates import style_names
from .photo_plates import load_photo_plates
from .read import EXTRA
from .sources import HELD_OUT_PERCENT, STATES, UNREAD, by_eye, load_crops, load_photos

#: Rights as the sources state them.
RIGHTS = {
    "open-images-plates": "photos CC BY 2.0, boxes CC BY 4.0 (Open Images)",
    "dashcam-day-night": "MIT",
    "plate-polygons-300": "Apache-2.0 of the repository; origin of the photos unstated",
    "us-state-crops": "MIT of the repository, published as free to use",
}


def photo_rows(data: Path) -> list[str]:
    """A row for each source of photos, and one for the crops."""
    rows = []
    sides = [load_photos(data, held) for held in (False, True)]
    for source in RIGHTS:
        if source == "us-state-crops":
            continue
        mine = [[p for p in side if p.source == source] for side in sides]
        plates = [plate for photo in mine[0] for plate in photo.plates]
        corners = sum(plate.quad is not None for plate in plates)
        rows.append(f"| {source} | {len(mine[0])} | {len(mine[1])} | {len(plates)} | {corners} | | {RIGHTS[source]} |")
    crops = [load_crops(data, held) for held in (False, True)]
    texts = sum(bool(crop.text) for crop in crops[0])
    rows.append(f"| us-state-crops | {len(crops[0])} | {len(crops[1])} | {len(crops[0])} | the picture's own | {texts} | {RIGHTS['us-state-crops']} |")
    return rows


def read_by_eye(file: str) -> tuple[int, int]:
    """How many rows a file of labels has, and how many of them a text that is certain."""
    texts = [row["text"] for row in by_eye(file)]
    return len(texts), sum(text not in ("", UNREAD) for text in texts)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--negatives", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "data.md")
    options = parser.parse_args()
    states = Counter(STATES[crop.state] for crop in load_crops(options.data, False))
    few = ", ".join(f"{state} {count}" for state, count in sorted(states.items(), key=lambda s: s[1])[:5])
    nothing = len(np.load(options.negatives)["crops"])
    sides = [load_photo_plates(options.photos, held) for held in (False, True)]
    texts, origins = ([sum(bool(known(plate)) for plate in side) for side in sides] for known in (lambda p: p.text, lambda p: p.state >= 0))
    boxes = Counter(row["what"] for row in by_eye("unboxed.csv"))
    eye, crops = read_by_eye("photos.csv"), read_by_eye("crops.csv")
    options.out.write_text(f"""# What the models are trained on

Written by `python -m models.data.card`; the photos themselves are not ours to publish and are not here.

| source | for training | held out | plates | with corners | with text | rights as stated by the source |
| --- | ---: | ---: | ---: | ---: | ---: | --- |
{chr(10).join(photo_rows(options.data))}
| rendered plates | drawn as needed | 500 | | all | all | ours; fonts under the Open Font License and ours (models/render/fonts) |

The 77 photos of open-images-plates-416 are not used: they are squeezed to squares. About {HELD_OUT_PERCENT} % is held out, by a hash of the name: copies of one photo share their side, frames of one ride too.
Photos of `evaluate/` are in neither: `python -m models.data.overlap` compares every training picture with every one of
them by perceptual hash and fails on a hit. Plate crops of one design look alike, so a crop counts as the same only if its text is
the same too, or if next to no bit differs.

## Labels that nobody gave

- **Plates of photos** (`labels/photos.csv`): {eye[0]} plates, every one that is 40 pixels wide and more of the dashcam rides and nearly every
  one of the others that the detector finds, were looked at enlarged and read by eye, with where they are from; {eye[1]} have a text,
  the others have a character that is not certain, another script, or are no plate. A blurred frame of a ride has the text of a sharp one of
  the same vehicle where all that is seen agrees. The texts of the hundred of two rows are not trained on. Of 120 of the first
  1,564 in a second reading 2 are wrong; the 954 after them were read once. Before, the rides had texts by agreement: nine looks at a
  plate read the same, in the country's format. Of those 195 the eye found 18 wrong, 17 of them for one reason, which no agreement
  shows: all looks missed one of two 1s side by side.
  In all {texts[0]} plates with a text and {origins[0]} of known origin are trained on; {texts[1]} and {origins[1]} are held out, to measure text on photos.
- **Texts of the state crops**: by two independent readers that agree, as the source gives them; and by eye (`labels/crops.csv`, {crops[0]} crops,
  {crops[1]} with a certain text) where they don't, or where our reader saw another text. Of 2,506 other
  labels, of the states that stack characters, 66 were wrong and are corrected there too. Of 80 in a second reading 3 are wrong. Of 5,701
  texts of training crops that rest on agreement alone, 250 at random were read without a look at the label: 248 could be told, and one differs,
  an O labelled 0. Small stacked
  characters that belong to the serial are part of the text: a list has them too.
- **Corners of the state crops**: the picture's own. Corners of photos: the sources' polygons, brought to four corners where five or
  more close to a quadrilateral (`sources.py`); boxes alone train the detector's boxes, never its corners alone. Of 50 of these plates at
  random the eye could tell 165 corners: they are off by 5 % of the plate's height in the median (which is about what the eye resolves), nine in ten by
  12 % at most, six by 20 % and more, four of which are of one plate whose polygon is altogether wrong.
- **No plate** ({nothing} crops, `models/data/negatives.py`): what the detector, asked too low, takes for a plate in training photos whose
  plates are all labelled, and pieces at random. Rendered lettering is added: three fifths of such samples.
- **What no label boxed** (`labels/unboxed.csv`): of all photos, training and held out, the pieces of which reader 3.0.0, before it was
  taught otherwise, made a text (of two characters or more, however unsure)
  and that overlap no labelled plate were looked at by eye, one by one: {boxes["word"]} are words, signs,
  badges, inspection stickers, windows; {boxes["plate"]} are plates that the labels left out; some 150 where the eye could not tell
  are not listed. The reader learns to say nothing of the words; the detector is shown more of them, and a plate left out counts as
  neither right nor wrong.

## Rendered plates

{len(style_names())} looks: {', '.join(style_names())}. {100 * sum(EXTRA.values()):.0f} % of the samples are {', '.join(EXTRA)}; of
the others half have a named state's look, a third any state's name on any look, a sixth are European. States with the fewest real crops: {few}.
""")


if __name__ == "__main__":
    main()
