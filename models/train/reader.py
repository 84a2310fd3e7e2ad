"""Train the plate reader (text by CTC, state by classification).

    python -m models.train.reader --data ../shared/data --out build/reader --minutes 90

With `--device cuda` a GPU learns what many `--workers` draw; it takes large batches. A checkpoint `last.pt` is written
at every epoch; its `average` weights are the model to export and `notes` hold the temperatures fitted on the held-out samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ..data.read import Sampler, decode_greedy, encode_text, known_text, no_plate, photographed, rectify, rendered
from ..data.photo_plates import load_photo_plates
from ..data.sources import ALPHABET, STATES, PhotoPlate, load_crops
from ..evaluate.outcome import edit_distance
from ..evaluate.score import calibration_error
from .nets import Reader
from .schedule import Run, batches, parser, prepare, worker_draws
from .warm import begin


#: Batches during which the even spacing of characters helps CTC to start.
SPACED = 625
#: Characters that "nothing" counts as in the loss.
EMPTY = 7


class Stream(torch.utils.data.IterableDataset):
    """Endless batches: images [N,1,64,160], texts padded with 0 [N,10], lengths [N] (0: no plate; -1: text
    unknown), states [N]. Each of several workers draws its own; `drawn` is what all have drawn before."""

    def __init__(self, sampler: Sampler, batch: int, seed: int, drawn: int):
        self.sampler, self.batch, self.seed, self.drawn = sampler, batch, seed, drawn

    def __iter__(self):
        rng, workers = worker_draws(self.seed)
        drawn = self.drawn
        while True:
            ease = max(0.0, 1 - drawn / (SPACED * self.batch))
            yield collate([self.sampler.draw(rng, ease) for _ in range(self.batch)])
            drawn += self.batch * workers


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

    `lengths` stay on the CPU, where CTC wants them; logits and texts are on the device. Where there is no plate the known text is
    empty; it then counts as one of `EMPTY` characters.
    """
    logs = F.log_softmax(logits.float(), 2)
    columns = torch.full((len(logs),), logs.shape[1], dtype=torch.long)
    loss = F.ctc_loss(logs.transpose(0, 1), texts, columns, lengths.clamp(min=0), zero_infinity=True, reduction="none")
    lengths = lengths.to(logs.device, non_blocking=True)
    known = lengths >= 0
    loss = loss / torch.where(lengths > 0, lengths, EMPTY) - smooth * logs.mean((1, 2))
    return (loss * known).sum() / known.sum().clamp(min=1)


def spacing_loss(logits: torch.Tensor, texts, lengths) -> torch.Tensor:
    """Start-up help for CTC: characters stand about evenly from column 5 to 35 of 40.

    Each known character should be likely within two columns of its even place. Used with a weight
    that falls to 0 early on; CTC alone then settles where they really are.
    """
    lengths = lengths.to(logits.device)
    known = lengths > 0
    logs, texts, lengths = F.log_softmax(logits[known].float(), 2), texts[known], lengths[known, None]
    place = torch.arange(texts.shape[1], device=logs.device)[None]
    column = (5 + 30 * (place + 0.5) / lengths).long().clamp(2, logs.shape[1] - 3)
    rows = torch.arange(len(texts), device=logs.device)[:, None]
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
            self.sets["photos"] = [(rectify(plate.grey, plate.quad).astype(np.float32) / 255, known_text(plate.text), plate.state)
                                   for plate in photos]
        self.nothing = [(no_plate(rng, negatives).astype(np.float32) / 255, [], -1) for _ in range(count)]

    @torch.no_grad()
    def measure(self, model, device: str = "cpu") -> tuple[str, list[float]]:
        """A line with the figures of a reader on `device`, and the temperatures [characters, state] fitted on all sets, what has
        no line to be read included."""
        outputs = lambda images: [[part.float().cpu() for part in model(images[i : i + 64].to(device))] for i in range(0, len(images), 64)]
        parts, everything = [], []
        for name, samples in self.sets.items():
            images, texts, lengths, states = collate(samples)
            logits, state_logits = (torch.cat(part) for part in zip(*outputs(images)))
            everything.append((logits, texts, lengths, state_logits, states))
            right, errors, total, confidences, invented = [], 0, 0, [], []
            for row, probabilities in enumerate(torch.softmax(logits, 2).numpy()):
                text, confidence = decode_greedy(probabilities)
                if lengths[row] == 0:
                    invented.append((len(text) >= 2, len(text) >= 2 and confidence >= 0.5))
                if lengths[row] <= 0:
                    continue
                wanted = "".join(ALPHABET[k - 1] for k in texts[row, : lengths[row]])
                right.append(text == wanted)
                confidences.append(confidence)
                errors += edit_distance(text, wanted)
                total += len(wanted)
            known = states >= 0
            state_right = (state_logits.argmax(1) == states)[known].float().mean()
            parts.append(f"{name}: exact {np.mean(right):.3f} characters {1 - errors / total:.4f} state {state_right:.3f} "
                         f"ece {calibration_error(np.array(confidences), np.array(right, float)):.3f}")
            if invented:
                read, sure = np.mean(invented, 0)
                parts.append(f"{len(invented)} without a line to read: text of 2 or more in {read:.3f}, more sure than not in {sure:.3f}")
        logits = torch.cat([logits for logits, _ in outputs(collate(self.nothing)[0])])
        said = [decode_greedy(p) for p in torch.softmax(logits, 2).numpy()]
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
    options = choices.parse_args()
    prepare(options)
    device = options.device
    crops = load_crops(options.data, False, options.limit)
    negatives = np.load(options.negatives)["crops"]
    kept_back = len(negatives) // 12
    held_out = HeldOut(load_crops(options.data, True, options.limit), load_photo_plates(options.photos, True), negatives[:kept_back])
    print(f"crops {len(crops)} held out {len(held_out.sets['real'])}", flush=True)
    sampler = Sampler(crops, negatives[kept_back:], load_photo_plates(options.photos, False))
    model, rng = Reader(len(STATES)), np.random.default_rng(options.seed)
    # Samples of the start-up, and how many of them a trained start is spared.
    spaced = SPACED * options.batch
    spared = spaced if options.start else 0
    begin(model, options, lambda: torch.from_numpy(np.stack([sampler.draw(rng)[0] for _ in range(512)]))[:, None])
    run = Run(options, model, decay=0.03)
    dataset = Stream(sampler, options.batch, options.seed + run.progress.step, run.samples + spared)
    drawn = batches(dataset, options)
    while not run.done():
        images, texts, lengths, states = next(drawn)
        images = images.to(device, non_blocking=True, memory_format=torch.channels_last)
        texts, states = texts.to(device, non_blocking=True), states.to(device, non_blocking=True)
        with torch.autocast(device, torch.bfloat16, enabled=device != "cpu"):
            logits, state_logits = model(images)
        loss_text = text_loss(logits, texts, lengths)
        loss_state = F.cross_entropy(state_logits.float(), states, ignore_index=-1, label_smoothing=0.05)
        loss = loss_text + loss_state
        if run.samples + spared < spaced and (lengths > 0).any():
            loss = loss + (1 - run.samples / spaced) * spacing_loss(logits, texts, lengths)
        run.descend(loss, len(images), clip=5.0)
        run.say(50, text=loss_text, state=loss_state)
        if run.epoch():
            note, temperature = held_out.measure(run.average.model, device)
            run.keep(note, temperature=temperature)


if __name__ == "__main__":
    main()
