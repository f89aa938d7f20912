"""Shapes of the parameters of real models, written from their published architectures."""

from __future__ import annotations

Shape = tuple[int, ...]


def resnet50() -> list[Shape]:
    """He et al. 2015: 161 tensors, 25.6 million numbers, 107 of the tensors vectors."""
    shapes: list[Shape] = [(64, 3, 7, 7), (64,), (64,)]
    width_in = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            out = 4 * width
            for conv in ((width, width_in, 1, 1), (width, width, 3, 3), (out, width, 1, 1)):
                shapes += [conv, (conv[0],), (conv[0],)]
            if block == 0:
                shapes += [(out, width_in, 1, 1), (out,), (out,)]
            width_in = out
    return [*shapes, (1000, 2048), (1000,)]


def gpt2_small() -> list[Shape]:
    """Radford et al. 2019: 148 tensors, 124 million numbers."""
    d = 768
    block = [(d,), (d,), (d, 3 * d), (3 * d,), (d, d), (d,)]
    block += [(d,), (d,), (d, 4 * d), (4 * d,), (4 * d, d), (d,)]
    return [(50257, d), (1024, d), *block * 12, (d,), (d,)]


def graph_net() -> list[Shape]:
    """Build a message-passing network, 16 rounds, 64 wide: 194 tensors, 0.4 million numbers."""
    update = [(128, 64), (64,), (64, 64), (64,), (64,), (64,)]
    return [(32, 64), *update * 2 * 16, (64, 8)]


MODELS = {"ResNet-50": resnet50, "GPT-2 small": gpt2_small, "graph network": graph_net}
