"""Train a small character transformer in PyTorch with ``fastopt.torch.AdamW``.

One line changes: the class of the optimizer. The same training runs twice, with
``torch.optim.AdamW(fused=True)`` and with ours, from the same weights on the same batches under the
same scheduler, and the two loss curves are printed side by side.
"""

from __future__ import annotations

import torch
from torch import nn

from fastopt.schedules import warmup_cosine
from fastopt.torch import AdamW

TEXT = """
A step of gradient descent is a small thing. You stand on a slope in the fog, feel with one foot
which way is down, and move a little. Then you feel again. Nobody hands you a map; the slope under
your shoe is all there is, and it is noisy, because you asked only a few of your data.

Momentum remembers where you were going. A ball that rolls does not turn at every pebble; it adds
up the pushes, and what points to and fro cancels. Adam remembers more: for each direction how
steep it used to be, so that a gentle valley is crossed in long strides and a ravine in short ones.
Weight decay pulls every weight a little toward nothing, so that what is not needed is forgotten.

A learning rate that warms up lets the memories fill before they are trusted; one that falls lets
the walk settle at the end. None of this is deep, and all of it matters, for a model is trained in a
million such steps, and a step that is slow, or wrong in the last digit every time, is slow or wrong
a million times over.
"""
CONTEXT, WIDTH, HEADS, LAYERS, BATCH, STEPS = 32, 48, 4, 2, 16, 100


class CharTransformer(nn.Module):
    """Decoder of a few layers over characters."""

    def __init__(self, characters):
        super().__init__()
        self.token = nn.Embedding(characters, WIDTH)
        self.place = nn.Embedding(CONTEXT, WIDTH)
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, dropout=0.0, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, characters)
        mask = nn.Transformer.generate_square_subsequent_mask(CONTEXT)
        self.register_buffer("mask", mask)

    def forward(self, tokens):
        """Return the logits of the next character, for every place of every window."""
        x = self.token(tokens) + self.place.weight
        return self.head(self.layers(x, mask=self.mask, is_causal=True))


def train(make_optimizer, data, characters):
    """Return the loss of every step; everything random has the same seed."""
    torch.manual_seed(0)
    model = CharTransformer(characters)
    optimizer = make_optimizer(model.parameters())
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, warmup_cosine(10, STEPS, start=0.1))
    generator = torch.Generator().manual_seed(1)
    losses = []
    for _ in range(STEPS):
        starts = torch.randint(len(data) - CONTEXT, (BATCH, 1), generator=generator)
        windows = data[starts + torch.arange(CONTEXT + 1)]
        logits = model(windows[:, :-1])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    return losses


def main():
    letters = sorted(set(TEXT))
    data = torch.tensor([letters.index(c) for c in TEXT])
    options = {"lr": 3e-3, "betas": (0.9, 0.99), "weight_decay": 0.1}
    theirs = train(lambda p: torch.optim.AdamW(p, fused=True, **options), data, len(letters))
    ours = train(lambda p: AdamW(p, **options), data, len(letters))
    print("step   torch fused   fastopt.torch")
    for t in (*range(0, STEPS, 20), STEPS - 1):
        print(f"{t:4d}   {theirs[t]:11.5f}   {ours[t]:13.5f}")
    return theirs, ours


if __name__ == "__main__":
    main()
