"""All training sets in one go, from the photos and the renderer, with fixed seeds.

    python -m models.data.build --data ../shared/data --out build

In this order, each as its own module does it: the check that no evaluation photo is among the training photos,
which ends everything on a hit; rendered road scenes; crops without a plate; plates of photos with their texts, with a
sheet to check by eye; the data card. The two that read photos use the models that lie here.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    data, out = ["--data", str(options.data)], options.out
    for module, *arguments in (
        ("overlap", *data),
        ("cache", "--out", out / "scenes", "--count", "1200", "--seed", "7"),
        ("negatives", *data, "--out", out / "negatives.npz", "--seed", "50"),
        ("photo_plates", *data, "--out", out / "photo_plates.npz", "--sheet", out / "photo_plates.png", "--seed", "60"),
        ("card", *data, "--photos", out / "photo_plates.npz", "--negatives", out / "negatives.npz", "--out", out / "data.md"),
    ):
        print(f"==> {module}", flush=True)
        done = subprocess.run([sys.executable, "-m", f"models.data.{module}", *map(str, arguments)])
        if done.returncode:
            sys.exit(f"models.data.{module} failed; nothing after it was made")


if __name__ == "__main__":
    main()
