"""What all trainings share: options, a schedule by steps or by the clock, averaged weights, checkpoints."""

from __future__ import annotations

import argparse
import copy
import math
import random
import time
from pathlib import Path

import cv2
import numpy as np
import torch


def parser(description: str, minutes: float, batch: int, seed: int) -> argparse.ArgumentParser:
    """The options that every training takes."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, default=Path("../shared/data"))
    options.add_argument("--out", type=Path, required=True, help="folder of the checkpoint last.pt")
    options.add_argument("--steps", type=int, help="so many and no clock: repeatable")
    options.add_argument("--minutes", type=float, default=minutes)
    options.add_argument("--batch", type=int, default=batch)
    options.add_argument("--rate", type=float, default=2.5e-3)
    options.add_argument("--seed", type=int, default=seed)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options.add_argument("--workers", type=int, default=1, help="processes that draw samples, at least 1")
    options.add_argument("--every", type=int, default=10000, help="samples between two looks at what is held out")
    options.add_argument("--limit", type=int, help="photos per folder, for a quick trial")
    options.add_argument("--from", dest="start", type=Path, help="an exported file whose weights are the start")
    options.add_argument("--resume", action="store_true")
    options.add_argument("--share", type=float, help="on resume: enter the schedule here, 0..1, with --minutes left")
    return options


def prepare(options: argparse.Namespace) -> None:
    """Seed Python, NumPy and Torch; threads; the folder."""
    random.seed(options.seed)
    np.random.seed(options.seed)
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    options.out.mkdir(parents=True, exist_ok=True)


def worker_draws(seed: int) -> tuple[np.random.Generator, int]:
    """For a process that draws samples: its own random numbers, and how many such processes there are."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    worker = torch.utils.data.get_worker_info()
    return np.random.default_rng([seed, worker.id]), worker.num_workers


def batches(dataset: torch.utils.data.IterableDataset, options: argparse.Namespace):
    """Endless batches of the dataset, drawn ahead by `--workers` processes."""
    return iter(torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=options.workers, prefetch_factor=4,
                                            pin_memory=options.device != "cpu"))


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


def weight_groups(model: torch.nn.Module, decay: float) -> list[dict]:
    """Weight decay on convolution and linear weights only."""
    heavy = [p for p in model.parameters() if p.ndim > 1]
    light = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": heavy, "weight_decay": decay}, {"params": light, "weight_decay": 0.0}]


class Run:
    """One training: the model with its optimiser, its average, its progress and its checkpoint."""

    def __init__(self, options: argparse.Namespace, model: torch.nn.Module, decay: float):
        self.options, self.model, self.samples = options, model.to(options.device, memory_format=torch.channels_last), 0
        self.optimiser = torch.optim.AdamW(weight_groups(model, decay), lr=options.rate, betas=(0.9, 0.99))
        self.average, self.progress = Average(model), Progress(options.steps, options.minutes)
        if options.resume:
            kept = torch.load(options.out / "last.pt", map_location="cpu", weights_only=False)
            model.load_state_dict(kept["model"])
            self.average.model.load_state_dict(kept["average"])
            self.optimiser.load_state_dict(kept["optimiser"])
            self.progress = Progress(options.steps, options.minutes, kept["spent_s"], options.share)
            self.progress.step, self.samples = kept["step"], kept["samples"]
        self._epoch_end, self._tick = 0, time.monotonic()
        self._sums, self._noted, self._said = None, 0, self.samples

    def done(self) -> bool:
        """Whether the schedule has ended."""
        return self.progress.share() >= 1.0

    def descend(self, loss: torch.Tensor, count: int, clip: float) -> None:
        """One step down the loss of `count` samples."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.progress.rate(self.options.rate)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), clip)
        self.optimiser.step()
        self.progress.step += 1
        self.average.update(self.model, self.progress.step)
        self.samples += count

    def say(self, steps: int, **losses: torch.Tensor) -> None:
        """Take note of a step's losses; every so many `steps` a line with their means since the last."""
        found = torch.stack([loss.detach() for loss in losses.values()])
        self._sums, self._noted = (found if self._sums is None else self._sums + found), self._noted + 1
        if self.progress.step % steps:
            return
        means = " ".join(f"{name} {mean:.4f}" for name, mean in zip(losses, (self._sums / self._noted).tolist()))
        speed = (self.samples - self._said) / (time.monotonic() - self._tick)
        print(f"step {self.progress.step} share {self.progress.share():.3f} {means} {speed:.0f}/s samples {self.samples}", flush=True)
        self._sums, self._noted, self._said, self._tick = None, 0, self.samples, time.monotonic()

    def epoch(self) -> bool:
        """Whether another `--every` samples, or the whole training, have been seen."""
        if not self._epoch_end:
            self._epoch_end = self.samples + self.options.every
        if self.samples < self._epoch_end and not self.done():
            return False
        self._epoch_end = self.samples + self.options.every
        return True

    def keep(self, note: str, **more) -> None:
        """Write the checkpoint, so that an interrupted write never replaces a good one, and say the note."""
        path = self.options.out / "last.pt"
        temporary = path.with_suffix(".tmp")
        torch.save({"model": self.model.state_dict(), "average": self.average.model.state_dict(),
                    "optimiser": self.optimiser.state_dict(), "step": self.progress.step, "spent_s": self.progress.spent_s(),
                    "samples": self.samples, "notes": {"held_out": note, **more}}, temporary)
        temporary.replace(path)
        print(f"epoch samples {self.samples} {self.progress.spent_s() / 60:.1f} min held-out: {note} {more or ''}", flush=True)
        self._said, self._tick = self.samples, time.monotonic()
