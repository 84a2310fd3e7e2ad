"""Train the plate reader (text by CTC, state by classification).

    python -m models.train.reader --data ../shared/data --out build/reader --minutes 90

A checkpoint `last.pt` is written at every epoch; its `average` weights are the model to export and
`notes` hold the temperatures fitted on the held-out samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from ..data.read import Sampler, decode_greedy, encode_text, known_text, no_plate, photographed, rectify, rendered
from ..data.photo_plates import load_photo_plates
from ..data.sources import ALPHABET, STATES, PhotoPlate, load_crops
from ..evaluate.outcome import edit_distance
from ..evaluate.score import calibration_error
from .nets import Reader
from .schedule import Run, parser, prepare
from .warm import start_from


#: Samples during which the even spacing of characters helps CTC to start.
SPACED = 15000
#: Characters that "nothing" counts as in the loss.
EMPTY = 7


class Stream(torch.utils.data.IterableDataset):
    """Endless batches: images [N,1,64,160], texts padded with 0 [N,10], lengths [N] (0: no plate; -1: text
    unknown), states [N]."""

    def __init__(self, sampler: Sampler, batch: int, seed: int, drawn: int):
        self.sampler, self.batch, self.seed, self.drawn = sampler, batch, seed, drawn

    def __iter__(self):
        cv2.setNumThreads(1)
        torch.set_num_threads(1)
        rng = np.random.default_rng(self.seed)
        drawn = self.drawn
        while True:
            ease = max(0.0, 1 - drawn / SPACED)
            yield collate([self.sampler.draw(rng, ease) for _ in range(self.batch)])
            drawn += self.batch


def collate(samples):
    """Stack samples (image, classes, state)."""
    texts = torch.zeros(len(samples), 10, dtype=torch.long)
    for row, (_, classes, _) in enumerate(samples):
        if classes:
            texts[row, : len(classes)] = torch.tensor(classes, dtype=torch.long)
    images = torch.from_numpy(np.stack([image for image, _, _ in samples]))[:, None]
    return (images, texts, torch.tensor([-1 if classes is None else len(classes) for _, classes, _ in samples]),
            torch.tensor([state for _, _, state in samples]))


def text_loss(logits: torch.Tensor, texts, lengths, smooth: float = 0.01) -> torch.Tensor:
    """CTC over the samples whose text is known, with a little entropy kept so that it stays humble.

    Where there is no plate the known text is empty; it then counts as one of `EMPTY` characters.
    """
    known = lengths >= 0
    if not known.any():
        return logits.sum() * 0
    logs = F.log_softmax(logits[known].float(), 2)
    columns = torch.full((int(known.sum()),), logs.shape[1], dtype=torch.long)
    loss = F.ctc_loss(logs.transpose(0, 1), texts[known], columns, lengths[known], zero_infinity=True, reduction="none")
    return (loss / torch.where(lengths[known] > 0, lengths[known], EMPTY)).mean() - smooth * logs.mean()


def spacing_loss(logits: torch.Tensor, texts, lengths) -> torch.Tensor:
    """Start-up help for CTC: characters stand about evenly from column 5 to 35 of 40.

    Each known character should be likely within two columns of its even place. Used with a weight
    that falls to 0 early on; CTC alone then settles where they really are.
    """
    known = lengths > 0
    logs, texts, lengths = F.log_softmax(logits[known], 2), texts[known], lengths[known, None]
    place = torch.arange(texts.shape[1])[None]
    column = (5 + 30 * (place + 0.5) / lengths).long().clamp(2, logs.shape[1] - 3)
    rows = torch.arange(len(texts))[:, None]
    near = torch.stack([logs[rows, (column + step).clamp(0, logs.shape[1] - 1), texts] for step in (-2, -1, 0, 1, 2)])
    inside = place < lengths
    return -torch.logsumexp(near, 0)[inside].mean()


class HeldOut:
    """Fixed validation sets: real crops as they are and degraded, rendered plates of another seed, plates of photos."""

    def __init__(self, crops, photos: Sequence[PhotoPlate], negatives: np.ndarray, count: int = 500):
        rng = np.random.default_rng(987654321)
        self.sets = {"real": [], "real degraded": [], "rendered": []}
        for crop in crops:
            entry = (encode_text(crop.text), crop.state)
            self.sets["real"].append((photographed(rng, crop.grey, True).astype(np.float32) / 255, *entry))
            self.sets["real degraded"].append((photographed(rng, crop.grey).astype(np.float32) / 255, *entry))
        for _ in range(count):
            image, text, state = rendered(rng)
            self.sets["rendered"].append((image.astype(np.float32) / 255, known_text(text), state))
        if photos:
            self.sets["photos"] = [(rectify(plate.grey, plate.quad).astype(np.float32) / 255, encode_text(plate.text or ""), plate.state)
                                   for plate in photos]
        self.nothing = [(no_plate(rng, negatives).astype(np.float32) / 255, [], -1) for _ in range(count)]

    @torch.no_grad()
    def measure(self, model: Reader) -> tuple[str, list[float]]:
        """A line with the figures, and the temperatures [characters, state] fitted on the real sets."""
        parts, everything = [], []
        for name, samples in self.sets.items():
            images, texts, lengths, states = collate(samples)
            outputs = [model(images[i : i + 64]) for i in range(0, len(images), 64)]
            logits, state_logits = torch.cat([o[0] for o in outputs]), torch.cat([o[1] for o in outputs])
            everything.append((logits, texts, lengths, state_logits, states))
            right, errors, total, confidences = [], 0, 0, []
            for row, probabilities in enumerate(torch.softmax(logits, 2).numpy()):
                if lengths[row] <= 0:
                    continue
                text, confidence = decode_greedy(probabilities)
                wanted = "".join(ALPHABET[k - 1] for k in texts[row, : lengths[row]])
                right.append(text == wanted)
                confidences.append(confidence)
                errors += edit_distance(text, wanted)
                total += len(wanted)
            known = states >= 0
            state_right = (state_logits.argmax(1) == states)[known].float().mean()
            parts.append(f"{name}: exact {np.mean(right):.3f} characters {1 - errors / total:.4f} state {state_right:.3f} "
                         f"ece {calibration_error(np.array(confidences), np.array(right, float)):.3f}")
        images = collate(self.nothing)[0]
        outputs = torch.cat([model(images[i : i + 64])[0] for i in range(0, len(images), 64)])
        said = [decode_greedy(p) for p in torch.softmax(outputs, 2).numpy()]
        parts.append(f"no plate: text of 4 or more in {np.mean([len(t) >= 4 for t, _ in said]):.3f}, "
                     f"sure of it {np.mean([len(t) >= 4 and c >= 0.8 for t, c in said]):.3f}")
        return "; ".join(parts), fit_temperatures([torch.cat(column) for column in zip(*everything)])


def fit_temperatures(held_out) -> list[float]:
    """Temperatures that minimise the held-out likelihood loss of text and state."""
    logits, texts, lengths, state_logits, states = held_out
    grid = np.exp(np.linspace(np.log(0.6), np.log(2.5), 30))
    known = states >= 0
    text = [float(text_loss(logits / t, texts, lengths, 0.0)) for t in grid]
    state = [float(F.cross_entropy(state_logits[known] / t, states[known])) for t in grid]
    return [round(float(grid[int(np.argmin(text))]), 3), round(float(grid[int(np.argmin(state))]), 3)]


def main() -> None:
    """Command line."""
    choices = parser(__doc__, minutes=90, batch=24, seed=30)
    choices.add_argument("--negatives", type=Path, required=True, help="crops without a plate: models.data.negatives")
    choices.add_argument("--photos", type=Path, help="plates of photos with their texts: models.data.photo_plates")
    choices.add_argument("--from", dest="start", type=Path, help="an exported reader whose weights are the start")
    options = choices.parse_args()
    prepare(options)
    crops = load_crops(options.data, False, options.limit)
    negatives = np.load(options.negatives)["crops"]
    kept_back = len(negatives) // 12
    held_out = HeldOut(load_crops(options.data, True, options.limit), load_photo_plates(options.photos, True), negatives[:kept_back])
    print(f"crops {len(crops)} held out {len(held_out.sets['real'])}", flush=True)
    sampler = Sampler(crops, negatives[kept_back:], load_photo_plates(options.photos, False))
    model, spaced = Reader(len(STATES)), SPACED
    if options.start:
        rng = np.random.default_rng(options.seed)
        images = torch.from_numpy(np.stack([sampler.draw(rng)[0] for _ in range(512)]))[:, None]
        taken, fresh = start_from(model, options.start, images)
        spaced = 0
        print(f"{taken} layers from {options.start}, fresh: {', '.join(fresh)}", flush=True)
    run = Run(options, model, decay=0.03)
    dataset = Stream(sampler, options.batch, options.seed + run.progress.step, run.samples if spaced else SPACED)
    batches = iter(torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=1, prefetch_factor=4))
    sums = np.zeros(3)
    while not run.done():
        images, texts, lengths, states = next(batches)
        logits, state_logits = model(images.contiguous(memory_format=torch.channels_last))
        loss_text = text_loss(logits, texts, lengths)
        loss_state = F.cross_entropy(state_logits, states, ignore_index=-1, label_smoothing=0.05)
        loss = loss_text + loss_state
        if run.samples < spaced and (lengths > 0).any():
            loss = loss + (1 - run.samples / spaced) * spacing_loss(logits, texts, lengths)
        run.descend(loss, len(images), clip=5.0)
        sums += [loss_text.item(), loss_state.item(), 1]
        if run.progress.step % 50 == 0:
            run.say(f"text {sums[0] / sums[2]:.3f} state {sums[1] / sums[2]:.3f}", 50, len(images))
            sums = np.zeros(3)
        if run.epoch(10000):
            note, temperature = held_out.measure(run.average.model)
            run.keep(note, temperature=temperature)


if __name__ == "__main__":
    main()
