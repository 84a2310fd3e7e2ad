"""Promises of the overlap check: a copy of an evaluation picture is found however it was recoded, another picture is not."""

import tempfile
import unittest
from pathlib import Path

import cv2
import numpy as np

from models.data.overlap import overlaps
from models.render.plates import draw_plate
from models.render.scene import draw_scene


class Overlap(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.train, self.evaluate = (Path(self.folder.name) / side for side in ("train", "evaluate"))

    def put(self, folder: Path, name: str, picture: np.ndarray, text: str | None = None) -> None:
        """Write a picture, and with a text its row of labels."""
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), picture, [cv2.IMWRITE_JPEG_QUALITY, 60])
        if text is not None:
            (folder / "labels.csv").write_text(f"image,text\n{name},{text}\n")

    def test_a_smaller_darker_copy_of_an_evaluation_photo_is_found_and_another_photo_is_not(self):
        one, other = (draw_scene(np.random.default_rng(seed), 640, 384).luma for seed in (1, 2))
        self.put(self.evaluate / "us-scenes", "kept-back.jpg", one)
        self.put(self.train / "photos", "other.jpg", other)
        self.assertEqual(overlaps(self.train, self.evaluate), [])
        copy = cv2.resize(one, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)[4:-4, 6:-6]
        self.put(self.train / "photos", "copy.jpg", cv2.convertScaleAbs(copy, alpha=0.8))
        self.assertRegex("\n".join(overlaps(self.train, self.evaluate)), r"^photos/copy.jpg = us-scenes/kept-back.jpg \(\d+\)$")

    def test_crops_of_one_design_overlap_only_with_the_same_text(self):
        draw = lambda text: draw_plate(np.random.default_rng(5), "ca", text).image
        self.put(self.evaluate / "us-crops", "a.jpg", draw("7ABC123"), "7ABC123")
        # A dozen bits apart: near enough for photos.
        self.put(self.train / "us-state-crops", "b.jpg", draw("7ABC128"), "7ABC128")
        self.assertEqual(overlaps(self.train, self.evaluate), [])
        self.put(self.train / "us-state-crops", "b.jpg", draw("7ABC128"), "7ABC123")
        self.assertEqual(len(overlaps(self.train, self.evaluate)), 1)
        self.put(self.train / "us-state-crops", "b.jpg", draw("7ABC123"), "")
        self.assertEqual(len(overlaps(self.train, self.evaluate)), 1)


if __name__ == "__main__":
    unittest.main()
