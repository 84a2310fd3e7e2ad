"""Promises of the photo score: each kind of mistake is counted as that kind, and chance is told from change."""

import json
import tempfile
import unittest
from pathlib import Path

from models.evaluate import score
from models.evaluate.outcome import outcomes

HEAD = "image,width,height,x1,y1,x2,y2,corners,text,state,note\n"


def plate(text, box=(100, 100, 80, 40), confidence=0.9, state="US-CA"):
    """A plate as `milepost read --json` prints it."""
    x, y, w, h = box
    return {"text": text, "confidence": confidence, "state": state, "state_confidence": 0.8,
            "corners": [[x, y], [x + w, y], [x + w, y + h], [x, y + h]], "box": list(box)}


def run(labels, reads):
    """Outcomes of label rows (image, box or None, text, state) and reads {image: plates}, on photos of 640x480."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        if labels:
            rows = [f"{image},640,480,{','.join(map(str, box or ('',) * 4))},,{text},{state}," for image, box, text, state in labels]
            (folder / "labels.csv").write_text(HEAD + "\n".join(rows) + "\n")
        (folder / "reads.jsonl").write_text("".join(json.dumps({"file": f"x/{k}", "plates": v}) + "\n" for k, v in reads.items()))
        return outcomes(folder, folder / "reads.jsonl")


BOX = (100, 100, 180, 140)


class Score(unittest.TestCase):
    def test_o_and_0_are_folded_but_not_strict(self):
        row = score.figures(run([("a.jpg", BOX, "1OI", "us")], {"a.jpg": [plate("101")]}))
        self.assertEqual((row["strict"], row["folded"]), ("0.0 % (0/1)", "100.0 % (1/1)"))

    def test_a_plate_elsewhere_is_a_miss_and_a_spare(self):
        result = run([("a.jpg", BOX, "ABC123", "us")], {"a.jpg": [plate("ABC123", (400, 300, 80, 40))]})
        self.assertEqual((result.plates[0].seen, len(result.spare)), (None, 1))

    def test_a_photo_without_a_line_counts_as_missed(self):
        row = score.figures(run([("a.jpg", BOX, "ABC123", "us"), ("b.jpg", BOX, "XYZ789", "us")], {"a.jpg": [plate("ABC123")]}))
        self.assertEqual((row["recall"], row["strict"]), ("50.0 % (1/2)", "50.0 % (1/2)"))

    def test_a_text_where_no_plate_is_makes_its_photo_false_once(self):
        row = score.figures(run([], {"a.jpg": [plate("ABC123"), plate("Z9")], "b.jpg": [plate("")]}))
        self.assertEqual(row["photos with a false text"], "50.0 % (1/2)")

    def test_a_text_beside_a_labelled_plate_is_counted(self):
        beside = [plate("ABC123"), plate("TAXI", (400, 300, 80, 40)), plate("", (10, 10, 80, 40))]
        row = score.figures(run([("a.jpg", BOX, "ABC123", "us")], {"a.jpg": beside}))
        self.assertEqual((row["strict"], row["texts where no plate is labelled"]), ("100.0 % (1/1)", "1"))

    def test_a_state_is_scored_only_where_the_label_names_one(self):
        row = score.figures(run([("a.jpg", BOX, "ABC123", "ca"), ("b.jpg", BOX, "ABC124", "us")],
                                {"a.jpg": [plate("ABC123")], "b.jpg": [plate("ABC124")]}))
        self.assertEqual(row["state"], "100.0 % (1/1)")

    def test_rendered_labels_name_states_as_the_reader_does(self):
        row = score.figures(run([("a.jpg", BOX, "ABC123", "EU")], {"a.jpg": [plate("ABC123", state="EU")]}))
        self.assertEqual(row["state"], "100.0 % (1/1)")

    def test_another_set_than_the_baselines_is_said(self):
        before = score.counts(run([("a.jpg", BOX, "ABC123", "us")], {"a.jpg": [plate("ABC123")]}))
        self.assertIn("another set", score.worse(run([], {"a.jpg": []}), before))

    def test_leaving_the_least_sure_unread_makes_the_rest_better(self):
        labels = [(f"{i}.jpg", BOX, "ABC123", "us") for i in range(10)]
        reads = {f"{i}.jpg": [plate("ABC123" if i else "WRONG1", confidence=0.9 if i else 0.2)] for i in range(10)}
        row = score.figures(run(labels, reads))
        self.assertEqual((row["folded"], row["folded, least sure 10 % unread"]), ("90.0 % (9/10)", "100.0 %"))

    def test_a_baseline_tells_chance_from_change(self):
        labels = [(f"{i}.jpg", BOX, "ABC123", "us") for i in range(100)]
        right = lambda n: run(labels, {f"{i}.jpg": [plate("ABC123" if i < n else "ABC124")] for i in range(100)})
        before = score.counts(right(90))
        self.assertEqual(score.worse(right(88), before), "")
        self.assertIn("folded 80 of 100, was 90", score.worse(right(80), before))

    def test_false_texts_beyond_chance_are_worse_than_the_baseline(self):
        empty = lambda n: run([], {f"{i}.jpg": [plate("ABC123")] if i < n else [] for i in range(50)})
        before = score.counts(empty(1))
        self.assertEqual(score.worse(empty(2), before), "")
        self.assertIn("9 false texts, were 1", score.worse(empty(9), before))


if __name__ == "__main__":
    unittest.main()
