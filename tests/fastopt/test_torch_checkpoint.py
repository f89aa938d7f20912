"""fastopt.save and fastopt.load of the drop-in optimizers: the file, and what goes on from it."""

import json
import pickle
import zipfile

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import fastopt
from fastopt import torch as ours
from fastopt.errors import StateError

CLASSES = [name for name in ours.__all__ if name != "Optimizer"]


def network(dtype=torch.float32, seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 2)).to(dtype)


def train(model, optimizer, steps, seed):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        for p in model.parameters():
            p.grad = torch.randn(p.shape, generator=generator).to(p.dtype)
        optimizer.step()


def two_groups(model):
    return [
        {"params": list(model[0].parameters())},
        {"params": list(model[1].parameters()), "lr": 0.02},
    ]


def same(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.parametrize("name", CLASSES)
def test_training_goes_on_with_the_same_bits(name, tmp_path):
    cls, path = getattr(ours, name), tmp_path / "run.safetensors"
    dtype = torch.bfloat16 if name == "AdamW" else torch.float32
    model, other = network(dtype), network(dtype, seed=1)
    optimizer = cls(two_groups(model), lr=0.01)
    train(model, optimizer, 3, seed=1)
    fastopt.save(optimizer, path)
    again = cls(two_groups(other), lr=0.5)
    train(other, again, 1, seed=2)
    fastopt.load(again, path)
    assert same(model, other)
    train(model, optimizer, 2, seed=3)
    train(other, again, 2, seed=3)
    assert same(model, other)
    # By repr: entries of a parameter may come in another order, and tensors have no truth.
    before, after = optimizer.state_dict(), again.state_dict()
    assert after["param_groups"] == before["param_groups"]
    for number, entry in before["state"].items():
        assert {k: repr(v) for k, v in entry.items()} == {
            k: repr(v) for k, v in after["state"][number].items()
        }


def test_the_weights_are_there_for_everybody_and_nothing_is_pickled(tmp_path):
    model, path = network(), tmp_path / "run.safetensors"
    optimizer = ours.AdamW(model.named_parameters(), lr=torch.tensor(0.01))
    train(model, optimizer, 1, seed=1)
    fastopt.save(optimizer, path)
    held = load_file(path)
    for name, p in model.named_parameters():
        assert torch.equal(held[f"param/0/{name}"], p)
    assert {"exp_avg/0/1.bias", "exp_avg_sq/0/1.bias", "step/0/1.bias", "option/0/lr"} <= set(held)
    assert not zipfile.is_zipfile(path)
    with pytest.raises(pickle.UnpicklingError):
        pickle.loads(path.read_bytes())
    other = ours.AdamW(network(seed=1).named_parameters(), lr=torch.tensor(0.5))
    fastopt.load(other, path)
    assert other.param_groups[0]["lr"] == torch.tensor(0.01)


def test_an_optimizer_that_has_not_stepped(tmp_path):
    model, other = network(), network(seed=1)
    fastopt.save(ours.Adam(model.parameters(), lr=0.5), tmp_path / "run.safetensors")
    optimizer = ours.Adam(other.parameters())
    fastopt.load(optimizer, tmp_path / "run.safetensors")
    assert same(model, other)
    assert (optimizer.param_groups[0]["lr"], len(optimizer.state)) == (0.5, 0)


def without(path, tensor=None, **changed):
    """Write a file anew with one tensor less, or with other metadata."""
    with safe_open(path, framework="pt") as file:
        record = json.loads(file.metadata()["fastopt.torch"])
    tensors = {name: a for name, a in load_file(path).items() if name != tensor}
    save_file(tensors, path, {"fastopt.torch": json.dumps(record | changed)})


def parameters_of(name="Adam", **options):
    return lambda: getattr(ours, name)(network(seed=1).parameters(), **options)


@pytest.mark.parametrize(
    ("damage", "make", "message"),
    [
        (lambda path: None, parameters_of("AdamW"), "holds the state of Adam; this is AdamW"),
        (
            lambda path: None,
            lambda: ours.Adam(two_groups(network())),
            "the file has 1 param groups; the optimizer has 2",
        ),
        (
            lambda path: None,
            lambda: ours.Adam(network().named_parameters()),
            "the file has the parameters 0, 1, 2, 3; the optimizer has 0.weight, 0.bias",
        ),
        (
            lambda path: None,
            lambda: ours.Adam(network(torch.float64).parameters()),
            r"has shape \(3, 4\) and dtype torch.float32 in the file, but .* torch.float64",
        ),
        (lambda path: without(path, "param/0/2"), parameters_of(), "lacks the tensor 'param/0/2'"),
        (lambda path: without(path, version=9), parameters_of(), "format version 9"),
        (lambda path: without(path, groups=3), parameters_of(), "metadata is not well formed"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), parameters_of(), "."),
        (lambda path: save_file({"a": torch.ones(1)}, path), parameters_of(), "was not written by"),
    ],
    ids=["class", "groups", "names", "dtype", "tensor", "version", "metadata", "short", "other"],
)
def test_what_does_not_fit_is_refused_and_nothing_changes(damage, make, message, tmp_path):
    model, path = network(), tmp_path / "run.safetensors"
    optimizer = ours.Adam(model.parameters())
    train(model, optimizer, 1, seed=1)
    fastopt.save(optimizer, path)
    damage(path)
    other = make()
    before = [p.clone() for group in other.param_groups for p in group["params"]]
    with pytest.raises(
        StateError, match=rf"(?s)run\.safetensors: .*{message}.*Nothing was changed"
    ):
        fastopt.load(other, path)
    after = [p for group in other.param_groups for p in group["params"]]
    assert all(map(torch.equal, before, after))
    assert not other.state


def test_a_byte_that_has_changed_is_refused_and_changes_nothing(tmp_path):
    """Each of the tensors' bytes, and every seventh of what is said of them."""
    model, path = torch.nn.Linear(2, 2), tmp_path / "run.safetensors"
    optimizer = ours.Adam(model.parameters(), lr=torch.tensor(0.01))
    train(model, optimizer, 1, seed=1)
    fastopt.save(optimizer, path)
    whole = path.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    other = torch.nn.Linear(2, 2)
    again = ours.Adam(other.parameters(), lr=torch.tensor(0.5))
    before = [p.clone() for p in other.parameters()]
    # Blanks at the end of the header say nothing.
    for k in [*range(8, len(whole[:start].rstrip()), 7), *range(start, len(whole))]:
        path.write_bytes(whole[:k] + bytes([whole[k] ^ 1]) + whole[k + 1 :])
        with pytest.raises(StateError, match="Nothing was changed"):
            fastopt.load(again, path)
        assert all(map(torch.equal, before, other.parameters()))
        assert not again.state
        assert again.param_groups[0]["lr"] == 0.5
    path.write_bytes(whole)
    fastopt.load(again, path)
    assert same(model, other)


def test_what_a_file_cannot_hold_is_named_and_nothing_is_written(tmp_path):
    optimizer = ours.Adam(network().parameters())
    optimizer.param_groups[0]["note"] = {"a": 1}
    with pytest.raises(StateError, match=r"option/0/note is \{'a': 1\}, of type dict"):
        fastopt.save(optimizer, tmp_path / "run.safetensors")
    assert not list(tmp_path.iterdir())


def test_what_could_not_be_loaded_is_not_saved(tmp_path):
    model = network()
    optimizer = ours.Adam(model.parameters())
    train(model, optimizer, 1, seed=1)
    optimizer._clocks[model[0].weight][1][1] = float("nan")
    with pytest.raises(StateError, match=r"the clock of parameter '0/0' has a NaN in it: \(1"):
        fastopt.save(optimizer, tmp_path / "run.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("call", [fastopt.save, fastopt.load])
def test_optimizers_of_others_are_refused_with_what_to_do(call, tmp_path):
    theirs = torch.optim.Adam(network().parameters())
    with pytest.raises(StateError, match=r"torch\.optim\.adam\.Adam.*torch\.save\(opt\.state_dict"):
        call(theirs, tmp_path / "run.safetensors")
    assert not list(tmp_path.iterdir())
