"""Promises of the detector's samples: what the labels left out is neither right nor wrong, and a word is no plate."""

import unittest

import numpy as np

from models.data.detect import CELL, Sampler, encode
from models.data.sources import Photo, Plate

SIDE = 256


def photo(**more) -> Photo:
    """A photo with one labelled plate at its left edge."""
    grey = np.full((SIDE, SIDE), 90, np.uint8)
    return Photo("a.jpg", "open-images-plates", grey, [Plate(np.array([4, 100, 64, 130], np.float32))], False, **more)


class Detect(unittest.TestCase):
    def cut(self, one: Photo, aim: np.ndarray):
        """Samples of the photo around `aim`: (targets, boxes to ignore)."""
        sampler, rng = Sampler([one], []), np.random.default_rng(3)
        return [sampler._photo(rng, one, aim, SIDE, SIDE)[1:] for _ in range(60)]

    def test_a_plate_that_the_labels_left_out_is_no_target_and_costs_nothing(self):
        box = np.array([120, 100, 180, 130], np.float32)
        samples = [(targets, ignore) for targets, ignore in self.cut(photo(left_out=[box]), box) if ignore]
        self.assertGreater(len(samples), 30)
        for targets, ignore in samples:
            self.assertTrue(all(target.wanted for target in targets))
            _, negative, *_ = encode(targets, ignore, SIDE, SIDE, 0.7)
            x, y = (int(np.clip((low + high) / 2, 0, SIDE - 1)) // CELL for low, high in zip(ignore[-1][:2], ignore[-1][2:]))
            self.assertEqual(negative[y, x], 0)

    def test_a_word_is_no_target_and_finding_one_there_costs(self):
        word = np.array([120, 100, 180, 130], np.float32)
        for targets, ignore in self.cut(photo(words=[word]), word):
            self.assertLessEqual(len(targets) + len(ignore), 1)  # the labelled plate, where it is seen
            _, negative, *_ = encode(targets, ignore, SIDE, SIDE, 1.0)
            if not ignore:
                self.assertTrue((negative == 1.0).all())

    def test_photos_without_words_serve_alone(self):
        rng = np.random.default_rng(1)
        image, _, _, weight = Sampler([photo()], []).draw(rng, SIDE, SIDE)
        self.assertEqual((image.shape, weight), ((SIDE, SIDE), 0.7))


if __name__ == "__main__":
    unittest.main()
