"""Train the plate detector.

    python -m models.train.detector --data ../shared/data --out build/detector --minutes 90

A checkpoint `last.pt` is written at every epoch; its `average` weights are the model to export.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ..data.detect import Sampler, encode
from ..data.sources import load_crops, load_photos
from ..evaluate.detections import decode, letterbox, matched
from .nets import Detector
from .schedule import Run, batches, parser, prepare, worker_draws
from .warm import begin


def focal(logits: torch.Tensor, heat: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
    """Penalty-reduced focal loss, summed over [N,1,h,w] and divided by the number of plates."""
    p = torch.sigmoid(logits).clamp(1e-5, 1 - 1e-5)
    peak = heat >= 1.0
    loss_peak = -(1 - p) ** 2 * torch.log(p)
    loss_rest = -negative * (1 - heat) ** 4 * p**2 * torch.log(1 - p)
    return torch.where(peak, loss_peak, loss_rest).sum() / peak.sum().clamp(min=1)


def corner_loss(predicted, corners, size, weights) -> torch.Tensor:
    """Mean over plates of the corner error in units of the plate's size.

    predicted, corners [N,8,h,w] px; size [N,2,h,w] px; weights [N,2,h,w] (exact, box only).
    """
    scale = size.repeat(1, 4, 1, 1)
    apart = (predicted - corners) / scale
    exact = F.smooth_l1_loss(apart, torch.zeros_like(apart), beta=0.05, reduction="none").mean(1)
    x, y = predicted[:, 0::2], predicted[:, 1::2]
    found = torch.stack([x.amin(1), y.amin(1), x.amax(1), y.amax(1)], 1)
    tx, ty = corners[:, 0::2], corners[:, 1::2]
    true = torch.stack([tx.amin(1), ty.amin(1), tx.amax(1), ty.amax(1)], 1)
    off = (found - true) / size.repeat(1, 2, 1, 1)
    box = F.smooth_l1_loss(off, torch.zeros_like(off), beta=0.05, reduction="none").mean(1)
    # A box alone leaves the corners free: keep the quad a parallelogram with nearly level edges.
    skew = (x[:, 0] + x[:, 2] - x[:, 1] - x[:, 3]).abs() / size[:, 0]
    skew = skew + (y[:, 0] + y[:, 2] - y[:, 1] - y[:, 3]).abs() / size[:, 1]
    lean = (x[:, 0] - x[:, 3]).abs() / size[:, 0] + 0.5 * (y[:, 0] - y[:, 1]).abs() / size[:, 1]
    inter_w = (torch.minimum(found[:, 2], true[:, 2]) - torch.maximum(found[:, 0], true[:, 0])).clamp(min=0)
    inter_h = (torch.minimum(found[:, 3], true[:, 3]) - torch.maximum(found[:, 1], true[:, 1])).clamp(min=0)
    inter = inter_w * inter_h
    union = (found[:, 2] - found[:, 0]) * (found[:, 3] - found[:, 1]) + size[:, 0] * size[:, 1] - inter
    iou = inter / union.clamp(min=1)
    both = weights.sum(1)
    total = (weights[:, 0] * exact + weights[:, 1] * (box + 0.05 * skew + 0.05 * lean) + 0.1 * both * (1 - iou))
    return total.sum() / both.sum().clamp(min=1)


class Stream(torch.utils.data.IterableDataset):
    """Endless batches; the size of the pictures grows near the end (`progress` share of minutes)."""

    def __init__(self, sampler: Sampler, batch: int, seed: int, sizes, scenes: Path | None):
        self.sampler, self.batch, self.seed, self.sizes, self.scenes = sampler, batch, seed, sizes, scenes
        self.known: set[str] = set()

    def rescan(self) -> None:
        """Pick up scenes that were rendered since the last look (the cache may still be filling)."""
        for path in sorted(self.scenes.glob("*.npz")) if self.scenes else []:
            if path.name in self.known:
                continue
            data = np.load(path)
            images, quads, owner = data["images"], data["quads"], data["owner"]
            self.sampler.scenes += [(image, quads[owner == i]) for i, image in enumerate(images)]
            self.known.add(path.name)

    def __iter__(self):
        rng, _ = worker_draws(self.seed)
        count = 0
        while True:
            if count % 200 == 0:
                self.rescan()
            width, height = self.sizes[int(rng.integers(len(self.sizes)))]
            images, parts = [], []
            for _ in range(max(4, self.batch * 256 * 256 // (width * height))):
                image, targets, ignore, weight = self.sampler.draw(rng, width, height)
                images.append(image)
                parts.append(encode(targets, ignore, width, height, weight))
            heat, negative, corners, size, weights = (torch.from_numpy(np.stack(p)) for p in zip(*parts))
            yield torch.from_numpy(np.stack(images))[:, None], heat[:, None], negative[:, None], corners, size, weights
            count += 1


@torch.no_grad()
def validate(model: Detector, photos, device: str, threshold: float = 0.3) -> str:
    """Recall and false positives on held-out photos at 640 pixels wide; plates under 2% excluded."""
    found = total = false = 0
    for photo in photos:
        image, scale = letterbox(photo.grey)
        logits, corners = (part.cpu() for part in model(torch.from_numpy(image)[None, None].to(device)))
        heat = torch.sigmoid(logits)
        heat = heat * (F.max_pool2d(heat, 3, 1, 1) == heat)
        boxes = [d.box / scale for d in decode(heat[0, 0].numpy(), corners[0].numpy(), threshold)]
        for plate in photo.plates:
            if (plate.box[2] - plate.box[0]) * scale >= 20:
                total += 1
                found += any(matched(plate.box, box) for box in boxes)
        false += sum(not any(matched(plate, box, 0.3) for plate in photo.boxes) for box in boxes)
    return f"recall {found / max(1, total):.3f} of {total}, false {false / len(photos):.3f} a photo"


def main() -> None:
    """Command line."""
    choices = parser(__doc__, minutes=90, batch=24, seed=20)
    choices.add_argument("--scenes", type=Path, help="folder of rendered scenes (models.data.cache)")
    options = choices.parse_args()
    prepare(options)
    photos = load_photos(options.data, False, options.limit)
    kept = load_photos(options.data, True, options.limit)
    crops = load_crops(options.data, False, options.limit)
    kept = [p for p in kept if p.source == "open-images-plates"][:90] + \
        [p for p in kept if p.source != "open-images-plates"][:60]
    print(f"photos {len(photos)} held out {len(kept)} crops {len(crops)}", flush=True)
    model, sampler = Detector(), Sampler(photos, crops)
    rng = np.random.default_rng(options.seed)
    begin(model, options, lambda: torch.from_numpy(np.stack([sampler.draw(rng, 384, 320)[0] for _ in range(192)]))[:, None])
    run = Run(options, model, decay=0.02)

    def stream(sizes):
        return batches(Stream(sampler, options.batch, options.seed + run.progress.step, sizes, options.scenes), options)

    late = run.progress.share() >= 0.5
    drawn = stream([(384, 320)] if late else [(256, 256)])
    while not run.done():
        if not late and run.progress.share() >= 0.5:
            late, drawn = True, stream([(384, 320)])
        image, heat, negative, corners, size, weights = (part.to(options.device, non_blocking=True) for part in next(drawn))
        logits, predicted = model(image.contiguous(memory_format=torch.channels_last))
        loss_heat = focal(logits, heat, negative)
        loss_corner = corner_loss(predicted, corners, size, weights)
        run.descend(loss_heat + 6.0 * loss_corner, len(image), clip=10.0)
        run.say(50, heat=loss_heat, corners=loss_corner)
        if run.epoch():
            run.keep(validate(run.average.model, kept, options.device))


if __name__ == "__main__":
    main()
