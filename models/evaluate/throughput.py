"""Latency and batch throughput of the three networks on a GPU.

    python -m models.evaluate.throughput

From PyTorch, with batch norm folded as in the shipped files and each run replayed as one CUDA graph: what the card
can do, not what an execution provider of ONNX Runtime makes of it. Times don't depend on the weights, so fresh ones
serve.
"""

from __future__ import annotations

import statistics

import torch

from ..data.sources import STATES
from ..train.fold import folded
from ..train.nets import Aligner, Detector, Reader

#: Network, shape of one input, batches.
NETS = {"detector": (Detector, (1, 384, 640), (1, 8, 32)), "aligner": (Aligner, (1, 64, 128), (1, 64, 512)),
        "reader": (lambda: Reader(len(STATES)), (1, 64, 160), (1, 64, 512))}


@torch.inference_mode()
def median_ms(net: torch.nn.Module, images: torch.Tensor, rounds: int = 30) -> float:
    """Median time of a run on the card, in milliseconds."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            net(images)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        net(images)
    times = []
    for _ in range(5 + rounds):
        start, end = torch.cuda.Event(True), torch.cuda.Event(True)
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times[5:])


def main() -> None:
    """Command line."""
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}\n\n| network | batch | TF32, ms | a second | FP16, ms | a second |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, (make, shape, batches) in NETS.items():
        net = folded(make()).cuda()
        for batch in batches:
            times = []
            for kind in (torch.float32, torch.float16):
                images = torch.rand(batch, *shape, device="cuda", dtype=kind).to(memory_format=torch.channels_last)
                times.append(median_ms(net.to(kind, memory_format=torch.channels_last), images))
            print(f"| {name} | {batch} | " + " | ".join(f"{ms:.2f} | {batch / ms * 1000:,.0f}" for ms in times) + " |")


if __name__ == "__main__":
    main()
