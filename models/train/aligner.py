"""Train the aligner, which finds a plate's four corners in the window around a detection.

    python -m models.train.aligner --data ../shared/data --out build/aligner --minutes 30

A checkpoint `last.pt` is written at every epoch; its `average` weights are the model to export.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ..data.align import AlignSampler, corner_error, from_window, textures, window
from ..data.sources import load_crops, load_photos
from ..evaluate.detections import matched
from ..evaluate.read_photos import Models
from .nets import Aligner
from .schedule import Run, batches, parser, prepare, worker_draws
from .warm import begin

#: Plates drawn to be pasted.
RENDERED = 1200


class Stream(torch.utils.data.IterableDataset):
    """Endless batches: windows [N,1,64,128] and corners [N,8] in pixels."""

    def __init__(self, sampler: AlignSampler, batch: int, seed: int):
        self.sampler, self.batch, self.seed = sampler, batch, seed

    def __iter__(self):
        (rng, _), waiting = worker_draws(self.seed), []
        while True:
            # Windows of one picture go into different batches.
            while len(waiting) < 8 * self.batch:
                waiting += self.sampler.draw(rng)
            chosen = [waiting.pop(int(rng.integers(len(waiting)))) for _ in range(self.batch)]
            images, corners = zip(*chosen)
            yield torch.from_numpy(np.stack(images))[:, None], torch.from_numpy(np.stack(corners)).reshape(-1, 8)


def corner_loss(predicted: torch.Tensor, corners: torch.Tensor) -> torch.Tensor:
    """Smooth L1 of corners [N,8] in units of 4 pixels: far misses count, fine errors still pull."""
    return F.smooth_l1_loss(predicted / 4, corners / 4, beta=0.25)


def validation_set(data: Path) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(photo, the detector's quad, the labelled quad) of held-out photos with polygons, as the shipped detector finds them."""
    models, found = Models(), []
    models.aligner = None
    for photo in load_photos(data, True):
        plates = [plate for plate in photo.plates if plate.quad is not None]
        if not plates:
            continue
        for detection in models.detect(photo.grey, 0.3, widths=(640, 320)):
            true = [p.quad for p in plates if matched(p.box, detection.box)]
            found += [(photo.grey, detection.quad.astype(np.float32), quad) for quad in true[:1]]
    return found


@torch.no_grad()
def validate(model: Aligner, held_out, device: str) -> str:
    """Median and 90th percentile of the corner error before and after, as shares of the plate's height."""
    before, after = [], []
    for grey, quad, true in held_out:
        corners = model(torch.from_numpy(window(grey, quad))[None, None].to(device).float() / 255).cpu()
        before.append(corner_error(quad, true))
        after.append(corner_error(from_window(quad, corners[0].numpy().reshape(4, 2)), true))
    middle, far = np.percentile(after, [50, 90])
    return f"corner error {np.median(before):.3f} -> {middle:.3f} (90 %: {np.percentile(before, 90):.3f} -> {far:.3f}) of {len(after)}"


def main() -> None:
    """Command line."""
    options = parser(__doc__, minutes=30, batch=32, seed=40).parse_args()
    prepare(options)
    held_out = validation_set(options.data)
    faces = textures(np.random.default_rng(options.seed), RENDERED)
    sampler = AlignSampler(load_photos(options.data, False, options.limit), load_crops(options.data, False, options.limit), faces)
    print(f"photos {len(sampler.pictures.photos)} held-out plates {len(held_out)}", flush=True)
    model, rng = Aligner(), np.random.default_rng(options.seed)
    begin(model, options, lambda: torch.from_numpy(np.stack([image for _ in range(256) for image, _ in sampler.draw(rng)]))[:, None])
    run = Run(options, model, decay=0.02)
    dataset = Stream(sampler, options.batch, options.seed + run.progress.step)
    drawn = batches(dataset, options)
    while not run.done():
        images, corners = (part.to(options.device, non_blocking=True) for part in next(drawn))
        loss = corner_loss(model(images.contiguous(memory_format=torch.channels_last)), corners)
        run.descend(loss, len(images), clip=5.0)
        run.say(100, loss=loss)
        if run.epoch():
            run.keep(validate(run.average.model, held_out, options.device))


if __name__ == "__main__":
    main()
