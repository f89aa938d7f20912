"""FSDP2's DTensor parameters: each process steps its shard, as torch.optim does."""

from __future__ import annotations

import pytest
import torch

import fastopt.torch
from fastopt.errors import ArrayTypeError, StateError

pytest.importorskip("torch.distributed.fsdp")
if not torch.distributed.is_available():
    pytest.skip("torch without distributed", allow_module_level=True)

CASES = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("AdamW", {"lr": 0.1}),
    ("NAdam", {"lr": 0.1}),
    ("Adagrad", {"lr": 0.1}),
]


def sharded(mesh, seed=0):
    """Uneven over two processes: three rows of weights, and a bias."""
    from torch.distributed.fsdp import fully_shard

    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
    return fully_shard(model, mesh=mesh)


def train(models, optimizers, steps):
    for t in range(steps):
        x = torch.randn(8, 4, generator=torch.Generator().manual_seed(t))
        for model, optimizer in zip(models, optimizers):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
    for p, q in zip(*(model.parameters() for model in models)):
        torch.testing.assert_close(p.full_tensor(), q.full_tensor(), rtol=1e-5, atol=1e-6)


def check(rank, world, path):
    import torch.distributed as dist
    from torch.distributed.checkpoint.state_dict import (
        get_optimizer_state_dict,
        set_optimizer_state_dict,
    )
    from torch.distributed.device_mesh import init_device_mesh

    torch.set_num_threads(1)
    store = dist.FileStore(path, world)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world)
    mesh = init_device_mesh("cpu", (world,))
    for name, options in CASES:
        models = sharded(mesh), sharded(mesh)
        classes = getattr(fastopt.torch, name), getattr(torch.optim, name)
        optimizers = [cls(m.parameters(), **options) for cls, m in zip(classes, models)]
        train(models, optimizers, 3)
        for p, q in zip(*(model.parameters() for model in models)):
            mine, theirs = optimizers[0].state[p], optimizers[1].state.get(q, {})
            assert {k: type(a) for k, a in mine.items()} == {k: type(a) for k, a in theirs.items()}
            for key, a in theirs.items():
                assert getattr(mine[key], "placements", None) == getattr(a, "placements", None)
        again = classes[0](models[0].parameters(), **options)
        again.load_state_dict(optimizers[0].state_dict())
        train(models, [again, optimizers[1]], 2)
        if name == "AdamW":  # from torch's, through its checkpoints
            saved = get_optimizer_state_dict(models[1], optimizers[1])
            last = classes[0](models[0].parameters(), **options)
            set_optimizer_state_dict(models[0], last, saved)
            train(models, [last, optimizers[1]], 2)
            plain = last.state_dict()
            for entry in plain["state"].values():
                entry["exp_avg"] = entry["exp_avg"].full_tensor()
            with pytest.raises(StateError, match="DTensor placed as"):
                last.load_state_dict(plain)
    if world > 1:
        with pytest.raises(ArrayTypeError, match="sums over whole tensors"):
            fastopt.torch.LAMB(sharded(mesh).parameters())
    dist.destroy_process_group()


@pytest.mark.parametrize("world", [pytest.param(1, marks=pytest.mark.soak), 2])
def test_shards_are_stepped_as_torch_does(world, tmp_path):
    torch.multiprocessing.spawn(check, (world, str(tmp_path / "store")), nprocs=world)
