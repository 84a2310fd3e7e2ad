"""The three networks. Plain convolutions, batch norm (folded at export) and ReLU: quick on any CPU."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F


def conv(cin: int, cout: int, kernel=3, stride=1, groups=1, act=True) -> nn.Sequential:
    """Convolution with 'same' padding, batch norm and, unless told otherwise, ReLU."""
    kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = tuple(k // 2 for k in kernel)
    layers = [nn.Conv2d(cin, cout, kernel, stride, padding, groups=groups, bias=False),
              nn.BatchNorm2d(cout)]
    if act:
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class Block(nn.Module):
    """Residual block: depthwise convolution, then pointwise mixing through `grow` times the width. It starts as the identity,
    also when it is added to a trained network. In training, `skipped` is the share of the samples that pass it by
    (stochastic depth, Huang et al. 2016): small sets of photos are learnt by heart without it."""

    skipped = 0.0

    def __init__(self, width: int, kernel=5, grow: int = 1):
        super().__init__()
        layers = [conv(width, width, kernel, groups=width, act=grow == 1)]
        if grow > 1:
            layers.append(conv(width, width * grow, 1))
        layers.append(conv(width * grow, width, 1, act=False))
        nn.init.zeros_(layers[-1][-1].weight)
        self.body = nn.Sequential(*layers)

    def forward(self, x):
        more = self.body(x)
        if self.training and self.skipped:
            more = more * (torch.rand(len(x), 1, 1, 1, device=x.device) >= self.skipped).to(more.dtype) / (1 - self.skipped)
        return F.relu(x + more)


def shrink(cin: int, cout: int, stride) -> nn.Sequential:
    """Cheap downsampling: depthwise 5x5 with stride, then pointwise to the new width."""
    return nn.Sequential(conv(cin, cin, 5, stride, groups=cin, act=False), conv(cin, cout, 1))


#: Pixels per unit of the corner head and the corners of a typical plate in pixels (initial bias).
CORNER_UNIT = 16.0
TYPICAL_QUAD = (-34.0, -14.0, 34.0, -14.0, 34.0, 14.0, -34.0, 14.0)


class Detector(nn.Module):
    """luma [N,1,H,W] in 0..1 -> heat logits [N,1,H/8,W/8] and corners [N,8,H/8,W/8] in pixels.

    Corners are relative to the cell centre ((x+0.5)*8, (y+0.5)*8), x0, y0 .. x3, y3.
    """

    def __init__(self):
        super().__init__()
        self.s4 = nn.Sequential(conv(1, 12, 3, 2), conv(12, 24, 3, 2))
        self.s8 = nn.Sequential(conv(24, 48, 3, 2), Block(48), Block(48))
        self.s16 = nn.Sequential(shrink(48, 96, 2), Block(96), Block(96), Block(96))
        self.s32 = nn.Sequential(shrink(96, 128, 2), Block(128, grow=2), Block(128, grow=2),
                                 Block(128, grow=2))
        self.lateral32 = conv(128, 64, 1, act=False)
        self.lateral16 = conv(96, 64, 1, act=False)
        self.lateral8 = conv(48, 64, 1, act=False)
        self.mix16 = Block(64)
        self.mix8 = Block(64)
        self.neck = conv(64, 64, 1)
        self.heat = nn.Conv2d(64, 1, 1)
        self.corners = nn.Conv2d(64, 8, 1)
        nn.init.constant_(self.heat.bias, -4.0)
        nn.init.normal_(self.heat.weight, std=0.01)
        nn.init.normal_(self.corners.weight, std=0.01)
        with torch.no_grad():
            self.corners.bias.copy_(torch.tensor(TYPICAL_QUAD) / CORNER_UNIT)

    def forward(self, luma):
        x8 = self.s8(self.s4(luma - 0.45))
        x16 = self.s16(x8)
        x32 = self.s32(x16)
        up = F.interpolate(self.lateral32(x32), scale_factor=2.0, mode="nearest")
        x = self.mix16(F.relu(self.lateral16(x16) + up))
        up = F.interpolate(x, scale_factor=2.0, mode="nearest")
        x = self.neck(self.mix8(F.relu(self.lateral8(x8) + up)))
        return self.heat(x), self.corners(x) * CORNER_UNIT


class Aligner(nn.Module):
    """window [N,1,64,128] in 0..1 -> corners [N,8] in pixels of the window, x0, y0 .. x3, y3.

    One heat map a corner at a step of 4 pixels; the corner is its centre of mass, so that it lies between
    cells and inside the window.
    """

    def __init__(self):
        super().__init__()
        self.s4 = nn.Sequential(conv(1, 16, 3, 2), conv(16, 32, 3, 2), Block(32), Block(32))
        self.s8 = nn.Sequential(shrink(32, 64, 2), Block(64, grow=2), Block(64, grow=2))
        self.s16 = nn.Sequential(shrink(64, 96, 2), Block(96, grow=2), Block(96, (3, 7), grow=2))
        self.lateral16 = conv(96, 48, 1, act=False)
        self.lateral8 = conv(64, 48, 1, act=False)
        self.lateral4 = conv(32, 48, 1, act=False)
        self.mix8, self.mix4 = Block(48), Block(48)
        self.heat = nn.Conv2d(48, 4, 1)

    def forward(self, window):
        x = window - window.mean((2, 3), keepdim=True)
        x = x / (x.square().mean((2, 3), keepdim=True) + 4e-4).sqrt()
        x4 = self.s4(x)
        x8 = self.s8(x4)
        x16 = self.s16(x8)
        up = F.interpolate(self.lateral16(x16), scale_factor=2.0, mode="nearest")
        x = self.mix8(F.relu(self.lateral8(x8) + up))
        up = F.interpolate(x, scale_factor=2.0, mode="nearest")
        x = self.mix4(F.relu(self.lateral4(x4) + up))
        share = torch.softmax(self.heat(x).flatten(2), 2)  # [N,4,512]
        rows, columns = x4.shape[2], x4.shape[3]
        cell = torch.arange(rows * columns, dtype=share.dtype, device=share.device)
        places = torch.stack([(cell % columns + 0.5) * 4, (torch.div(cell, columns, rounding_mode="floor") + 0.5) * 4], 1)
        return (share @ places).flatten(1)


#: Bands of rows that the state head tells apart (the name stands above or below), and pieces of the text.
BANDS, PIECES = 4, 8


class Reader(nn.Module):
    """plate [N,1,64,160] in 0..1 -> character logits [N,40,37] for CTC and state logits [N,S].

    Height is halved four times and then folded away; width keeps a step of 4 pixels, because every
    column votes for a character. The state head branches off where legends are still resolved, keeps
    apart what stands above and below, and looks at the text too: its format says much about the state.
    """

    def __init__(self, states: int):
        super().__init__()
        self.fine = nn.Sequential(conv(1, 32, 3, 2), Block(32, 3), conv(32, 64, 3, 2), *(Block(64, 5, 2) for _ in range(3)))
        self.middle = nn.Sequential(shrink(64, 104, (2, 1)), *(Block(104, 5, 2) for _ in range(4)))
        self.coarse = nn.Sequential(shrink(104, 160, (2, 1)), *(Block(160, 5, 2) for _ in range(3)))
        self.fold = nn.Sequential(
            nn.Conv2d(160, 208, (4, 1), bias=False), nn.BatchNorm2d(208), nn.ReLU(inplace=True))
        self.line = nn.Sequential(*(Block(208, (1, 9), 2) for _ in range(4)), nn.Dropout(0.1))
        self.characters = nn.Conv2d(208, 37, 1)
        self.legend = nn.Sequential(conv(64, 112, 3, 2), *(Block(112, 5, 2) for _ in range(3)), conv(112, 128, 3, (1, 2)),
                                    Block(128, 5, 2))
        self.format = conv(208, 48, 1)
        self.state = nn.Sequential(nn.Dropout(0.4), nn.Linear(2 * 128 * BANDS + 48 * PIECES, states))
        nn.init.constant_(self.characters.bias, 0.0)
        for block in self.modules():
            if isinstance(block, Block):
                block.skipped = 0.08

    def forward(self, plate):
        # Exposure differs by a factor of ten between noon and night: level every crop first.
        plate = plate - plate.mean((2, 3), keepdim=True)
        plate = plate / (plate.square().mean((2, 3), keepdim=True) + 4e-4).sqrt()
        fine = self.fine(plate)
        line = self.line(self.fold(self.coarse(self.middle(fine))))
        characters = self.characters(line).squeeze(2).transpose(1, 2)
        legend = self.legend(fine)  # [N,128,8,10]
        bands = (2, legend.shape[3])
        text = F.avg_pool2d(self.format(line), (1, line.shape[3] // PIECES))
        seen = [F.avg_pool2d(legend, bands), F.max_pool2d(legend, bands), text]
        return characters, self.state(torch.cat([part.flatten(1) for part in seen], 1))
