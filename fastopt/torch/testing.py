"""What :func:`fastopt.testing.check_optimizer` asks of a class over tensors."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch

from fastopt.torch.adapter import Optimizer
from fastopt.torch.binding import made_of


def stepped(arrays: type, p: np.ndarray, grads: Sequence[np.ndarray]) -> list[bytes]:
    """Return the bytes of a tensor after steps of the class that is made of one over arrays.

    Of a run in one go, and of one that goes on in another optimizer, by its state dict, before the
    last step.

    >>> from fastopt import classes
    >>> first, second = stepped(classes.SGD, np.zeros(2), [np.ones(2)])
    >>> np.frombuffer(first), first == second
    (array([-0.001, -0.001]), True)
    """
    made, found = made_of(arrays, Optimizer, __name__), []
    for moves in (False, True):
        tensor = torch.nn.Parameter(torch.from_numpy(p.copy()))
        optimizer = made([tensor])  # type: ignore[arg-type]
        for t, g in enumerate(grads):
            if moves and t == len(grads) - 1:
                state = copy.deepcopy(optimizer.state_dict())
                optimizer = made([tensor])  # type: ignore[arg-type]
                optimizer.load_state_dict(state)
            tensor.grad = torch.from_numpy(g.copy())
            optimizer.step()
        found.append(tensor.detach().numpy().tobytes())
    return found
