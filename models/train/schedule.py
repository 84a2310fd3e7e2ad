"""What both trainings share: a schedule by steps or by the clock, averaged weights, checkpoints."""

from __future__ import annotations

import copy
import math
import random
import time
from pathlib import Path

import numpy as np
import torch


def seed_all(seed: int) -> None:
    """Seed Python, NumPy and Torch."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


class Progress:
    """Share of the training done, 0..1: by steps when given, else by wall-clock minutes."""

    def __init__(self, steps: int | None, minutes: float | None, spent_s: float = 0.0, share: float | None = None):
        """With `share`, a resumed run enters the schedule there and has `minutes` from now to end it."""
        self.steps, self.minutes, self.step = steps, minutes, 0
        self.start = time.monotonic() - spent_s
        self.entered = (time.monotonic(), share) if share is not None else None

    def spent_s(self) -> float:
        """Seconds since the start, including those before a resume."""
        return time.monotonic() - self.start

    def share(self) -> float:
        """Share done, never above 1."""
        if self.entered:
            since, share = self.entered
            return min(1.0, share + (1 - share) * (time.monotonic() - since) / (self.minutes * 60))
        done = self.step / self.steps if self.steps else self.spent_s() / (self.minutes * 60)
        return min(1.0, done)

    def rate(self, peak: float, warm_steps: int = 200, floor: float = 0.01) -> float:
        """Cosine learning rate with a short linear warm-up."""
        cosine = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * self.share()))
        return peak * cosine * min(1.0, (self.step + 1) / warm_steps)


class Average:
    """Exponential moving average of a model's weights and batch-norm statistics."""

    def __init__(self, model: torch.nn.Module, decay: float = 0.998):
        self.model, self.decay = copy.deepcopy(model).eval(), decay

    @torch.no_grad()
    def update(self, model: torch.nn.Module, step: int) -> None:
        """Fold in the current weights; early on the average follows closely."""
        decay = min(self.decay, (1 + step) / (20 + step))
        for mine, theirs in zip(self.model.state_dict().values(), model.state_dict().values()):
            if mine.dtype.is_floating_point:
                mine.lerp_(theirs, 1 - decay)
            else:
                mine.copy_(theirs)


def save(path: Path, model, average: Average, optimiser, progress: Progress, samples: int, notes: dict) -> None:
    """Write a checkpoint so that an interrupted write never replaces a good one."""
    temporary = path.with_suffix(".tmp")
    torch.save({"model": model.state_dict(), "average": average.model.state_dict(),
                "optimiser": optimiser.state_dict(), "step": progress.step,
                "spent_s": progress.spent_s(), "samples": samples, "notes": notes}, temporary)
    temporary.replace(path)


def weight_groups(model: torch.nn.Module, decay: float) -> list[dict]:
    """Weight decay on convolution and linear weights only."""
    heavy = [p for p in model.parameters() if p.ndim > 1]
    light = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": heavy, "weight_decay": decay}, {"params": light, "weight_decay": 0.0}]
