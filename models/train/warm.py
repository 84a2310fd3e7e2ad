"""Going on from an exported file: its weights as the start of a training.

At export batch norm was folded into the convolutions before it. Here each gets one back that measures
what passes and changes nothing, so that the network starts where the file stands. Layers that the file doesn't
have, or has with another shape, keep their fresh weights.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import onnx
import torch
import torch.nn as nn
from onnx import numpy_helper


def _pairs(model: nn.Module):
    """(name, convolution, batch norm) of every such pair."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Sequential):
            for index in range(len(module) - 1):
                if isinstance(module[index], nn.Conv2d) and isinstance(module[index + 1], nn.BatchNorm2d):
                    yield f"{name}.{index}", module[index], module[index + 1]


def begin(model: nn.Module, options: argparse.Namespace, images: Callable[[], torch.Tensor]) -> None:
    """Start from the ONNX file that `--from` names, unless a checkpoint is gone on from; `images` gives some hundred inputs to
    measure with."""
    if options.start and not options.resume:
        taken, fresh = start_from(model, options.start, images())
        print(f"{taken} layers from {options.start}, fresh: {', '.join(fresh) or 'none'}", flush=True)


@torch.no_grad()
def start_from(model: nn.Module, path: Path, images: torch.Tensor) -> tuple[int, list[str]]:
    """Take the weights of the ONNX file; `images` are inputs to measure with, a few hundred.

    Returns how many layers were taken and the names of those that were left fresh.
    """
    stored = {i.name.removeprefix("net."): torch.from_numpy(numpy_helper.to_array(i).copy())
              for i in onnx.load(str(path)).graph.initializer}
    normed = {name: norm for name, _, norm in _pairs(model)}
    taken, fresh, measured = 0, [], []
    for name, module in model.named_modules():
        if not isinstance(module, (nn.Conv2d, nn.Linear)):
            continue
        weight, bias = stored.get(f"{name}.weight"), stored.get(f"{name}.bias")
        if weight is None or bias is None or weight.shape != module.weight.shape:
            fresh.append(name)
            continue
        module.weight.copy_(weight)
        taken += 1
        if module.bias is not None:
            module.bias.copy_(bias)
        elif (norm := normed.get(name)) is not None:
            norm.running_mean.zero_()
            norm.running_var.fill_(1.0 - norm.eps)
            norm.weight.fill_(1.0)
            norm.bias.copy_(bias)
            measured.append((module, norm))
    sums: dict[nn.Module, list[torch.Tensor]] = {norm: [] for _, norm in measured}
    hooks = [layer.register_forward_hook(lambda _, __, out, norm=norm: sums[norm].append(
        torch.stack([out.mean((0, 2, 3)), out.square().mean((0, 2, 3))]))) for layer, norm in measured]
    model.eval()
    for part in images.split(64):
        model(part)
    for hook in hooks:
        hook.remove()
    for norm, parts in sums.items():
        mean, square = torch.stack(parts).mean(0)
        variance = (square - mean.square()).clamp(min=0)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.add_(mean)
    model.train()
    return taken, fresh
