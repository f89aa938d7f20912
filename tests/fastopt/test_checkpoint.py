"""Checkpoints: nothing lost, nothing half done, and no file that can do harm."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import math
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import fastopt
from fastopt import (
    SGD,
    Adam,
    AdamW,
    HyperparameterError,
    StateError,
    StateWarning,
    flatten,
    load,
    save,
)
from tests.helpers.makers import arrays, every_maker, everything, gradients

CONTAINERS = {
    "dict": lambda p: p,
    "list": lambda p: list(p.values()),
    "arena": flatten,
    "groups": lambda p: [
        {"params": {"w": p["w"], "b": p["b"]}},
        {"params": [p["e"], p["c"]], "lr": 0.3},
    ],
}


def feed(opt, params, grads, given):
    """Step with gradients given by name, in whatever structure the optimizer has."""
    if given == "arena":
        for name, g in grads.items():
            params.grads[name][...] = g
        opt.step()
    elif given == "dict":
        opt.step(grads)
    elif given == "list":
        opt.step(list(grads.values()))
    else:
        opt.step([{"w": grads["w"], "b": grads["b"]}, [grads["e"], grads["c"]]])


def every_byte(opt):
    """Return the parameters, the slots and the clocks, without an arena's padding."""
    pieces = [(s, p) for group in opt._groups for s, p in group.pieces]
    state = [p.of(a).tobytes() for s, p in pieces for a in (s.array, *s.slots.values())]
    return state, [s.clock.tobytes() for s, _ in pieces], (opt.steps, opt.skipped), repr(opt)


# ---- resuming ----


@every_maker
@pytest.mark.parametrize("given", CONTAINERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_resuming_anywhere_equals_the_uninterrupted_run(tmp_path, cls, options, given, dtype):
    schedule = fastopt.schedules.warmup_cosine(2, 6, start=0.1)
    extra = {"schedule": schedule, "ema": 0.9, "nonfinite": "skip"}
    params = CONTAINERS[given](arrays(dtype=dtype))
    opt = cls(params, **options, **extra)
    run = gradients(5, dtype)
    run[2]["w"][0, 0] = math.nan  # a skipped step is remembered too
    for t, grads in enumerate(run):
        save(opt, tmp_path / f"{t}.safetensors")
        feed(opt, params, grads, given)
    for start in range(5):
        params = CONTAINERS[given](arrays(seed=9, dtype=dtype))
        other = cls(params, **options, **extra)
        load(other, tmp_path / f"{start}.safetensors")
        for grads in run[start:]:
            feed(other, params, grads, given)
        assert every_byte(other) == every_byte(opt)


CLASSES = [
    cls
    for cls in (getattr(fastopt, name) for name in fastopt.__all__)
    if inspect.isclass(cls) and issubclass(cls, fastopt.Optimizer) and not inspect.isabstract(cls)
]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_class_resumes(tmp_path, cls):
    opt = cls(arrays())
    run = gradients(4)
    for t, grads in enumerate(run):
        if t == 2:
            save(opt, tmp_path / "x")
        opt.step(grads)
    other = cls(arrays(seed=9))
    other.step(run[0])
    load(other, tmp_path / "x")
    for grads in run[2:]:
        other.step(grads)
    assert every_byte(other) == every_byte(opt)


def test_loading_forgets_what_evaluation_put_aside(tmp_path):
    opt = fastopt.ScheduleFreeSGD(p := np.ones(3), lr=0.1)
    opt.step(np.ones(3))
    save(opt, tmp_path / "x")
    saved = p.copy()
    opt.step(np.ones(3))
    opt.eval()
    load(opt, tmp_path / "x")
    opt.train()
    np.testing.assert_array_equal(p, saved)


def test_an_arena_continues_what_separate_arrays_began(tmp_path):
    separate, buffer = arrays(), flatten(arrays(seed=5))
    one, many = AdamW(buffer, lr=0.7, ema=0.5), AdamW(separate, lr=0.1, ema=0.5)
    first, second = gradients(2)
    many.step(first)
    save(many, tmp_path / "x")
    load(one, tmp_path / "x")
    many.step(second)
    feed(one, buffer, second, "arena")
    assert every_byte(one) == every_byte(many)


def test_hyperparameters_and_every_float_are_exact(tmp_path):
    p = np.array([0.1, -0.0, 5e-324, np.nan, np.inf, 1 / 3])
    opt = Adam({"p": p}, lr=0.1 + 1e-17, betas=(1 / 3, 0.1 + 0.2), eps=5e-324, ema=2 / 3)
    opt.param_groups[0]["lr"] = np.float32(0.1)
    opt.step({"p": np.full(6, 1e-300)})
    save(opt, tmp_path / "x")
    other = Adam({"p": np.zeros(6)}, ema=0.5)
    load(other, tmp_path / "x")
    assert everything(other) == everything(opt)
    saved = {k: v for k, v in other.param_groups[0].items() if k != "params"}
    assert saved == {k: v for k, v in opt.param_groups[0].items() if k != "params"}


def test_a_rule_that_an_option_switches_on_is_switched_on(tmp_path):
    opt = SGD(np.ones(3), lr=0.1, momentum=0.9)
    opt.step(np.ones(3))
    save(opt, tmp_path / "x")
    other = SGD(np.zeros(3), lr=0.1)
    load(other, tmp_path / "x")
    assert everything(other) == everything(opt)


def test_tensors_are_there_by_name_for_any_program(tmp_path):
    params = arrays(dtype=np.float32)
    opt = Adam(params, ema=0.9)
    opt.step(gradients(1, np.float32)[0])
    save(opt, tmp_path / "x.safetensors")
    tensors = load_file(tmp_path / "x.safetensors")
    expected = [
        f"{kind}/0/{name}" for kind in ("param", "exp_avg", "exp_avg_sq", "ema") for name in params
    ]
    assert sorted(tensors) == sorted(expected)
    np.testing.assert_array_equal(tensors["param/0/w"], params["w"])
    np.testing.assert_array_equal(tensors["ema/0/b"], opt.ema["b"])
    with safe_open(tmp_path / "x.safetensors", "numpy") as file:
        record = json.loads(file.metadata()["fastopt"])
    assert (record["version"], record["optimizer"], record["steps"]) == (2, "Adam", 1)
    assert record["groups"][0]["options"]["betas"] == [0.9, 0.999]


# ---- writing ----


def test_writing_replaces_at_once_and_leaves_nothing_beside(tmp_path):
    path = tmp_path / "run.safetensors"
    opt = AdamW(np.ones(3))
    for _ in range(2):
        opt.step(np.ones(3))
        save(opt, path)
    assert os.listdir(tmp_path) == ["run.safetensors"]
    (tmp_path / "other").touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)
    load(other := AdamW(np.zeros(3)), str(path))
    assert other.steps == 2


@pytest.mark.parametrize("fails", ["save_file", "_flush", "os.replace"])
def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch, fails):
    path = tmp_path / "x"
    opt = AdamW(np.ones(3))
    save(opt, path)
    before = path.read_bytes()
    opt.step(np.ones(3))

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"fastopt.checkpoint.{fails}", fail)
    with pytest.raises(OSError, match="No space left"):
        save(opt, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["x"]


def test_the_data_is_on_the_disk_before_the_name(tmp_path, monkeypatch):
    order = []
    flush, sync, replace = fastopt.checkpoint._flush, fastopt.checkpoint.sync_folder, os.replace

    def noted(path, how):
        order.append(("flush", path.is_dir()))
        how(path)

    def noted_replace(a, b):
        order.append(("replace", os.path.dirname(a) == os.path.dirname(b)))
        replace(a, b)

    monkeypatch.setattr("fastopt.checkpoint._flush", lambda path: noted(path, flush))
    monkeypatch.setattr("fastopt.checkpoint.sync_folder", lambda path: noted(path, sync))
    monkeypatch.setattr("fastopt.checkpoint.os.replace", noted_replace)
    save(AdamW(np.ones(3)), tmp_path / "x")
    assert order == [("flush", False), ("replace", True), ("flush", True)]


def test_a_missing_folder_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        save(AdamW(np.ones(3)), tmp_path / "none" / "x")
    with pytest.raises(FileNotFoundError):
        load(AdamW(np.ones(3)), tmp_path / "none")


def test_what_could_not_be_loaded_is_not_saved(tmp_path):
    opt = AdamW({1: np.ones(3), "1": np.ones(3)})
    with pytest.raises(StateError, match="two parameters of group 0 are called '1'"):
        save(opt, tmp_path / "x")
    opt = AdamW(np.ones(3))
    opt.param_groups[0]["lr"] = math.nan
    with pytest.raises(HyperparameterError, match="lr"):
        save(opt, tmp_path / "x")
    assert os.listdir(tmp_path) == []


# ---- what does not fit ----

W, B = np.ones((2, 3)), np.ones(3)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: Adam({"w": W * 0, "b": B * 0}), "holds the state of AdamW; this is Adam"),
        (lambda: AdamW({"w": W * 0, "bias": B * 0}), "lacks '0/bias'.*did you mean '0/b'"),
        (lambda: AdamW({"w": W * 0}), "the file has '0/b' that the optimizer lacks"),
        (lambda: AdamW([W * 0, B * 0]), "the file has '0/b', '0/w' that the optimizer lacks"),
        (
            lambda: AdamW({"w": W.T.copy(), "b": B * 0}),
            r"'0/w' has shape \(2, 3\) and dtype F64 in the file, but shape \(3, 2\)",
        ),
        (
            lambda: AdamW({"w": W * 0, "b": np.zeros(3, np.float32)}),
            "'0/b' has shape .* dtype F64 in the file, but .* dtype float32",
        ),
        (
            lambda: AdamW({"w": W * 0, "b": B * 0}, ema=0.9),
            "hyperparameters differ: the file has nothing .* lacks 'ema'",
        ),
        (
            lambda: AdamW([{"params": {"w": W * 0, "b": B * 0}}, {"params": np.ones(2)}]),
            "has 1 param groups; the optimizer has 2",
        ),
    ],
)
def test_another_optimizer_is_refused_with_the_difference(tmp_path, other, message):
    opt = AdamW({"w": W.copy(), "b": B.copy()})
    opt.step({"w": W, "b": B})
    save(opt, tmp_path / "x")
    other = other()
    before = every_byte(other)
    with pytest.raises(StateError, match=rf"(?s)x: .*{message}.*Nothing was changed\."):
        load(other, tmp_path / "x")
    assert every_byte(other) == before


CODES = {"float16": "F16", "float32": "F32", "float64": "F64", "int64": "I64"}


def signature(text, tensors):
    """The digest of a file once more: whoever forges one can compute it, too."""
    parts = [text.encode()]
    for name, a in sorted(tensors.items()):
        parts += [f"\0{name}\0{CODES[str(a.dtype)]}{a.shape}\0".encode(), a.tobytes()]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def saved(folder, **changes):
    """Save an optimizer, then change its file: the record, or tensors by name (None: without)."""
    opt = AdamW({"w": W.copy(), "b": B.copy()}, lr=0.5)
    opt.step({"w": W, "b": B})
    path = folder / "x"
    save(opt, path)
    with safe_open(path, "numpy") as file:
        metadata = file.metadata()
    record, tensors = json.loads(metadata["fastopt"]), load_file(path)
    for name, a in changes.pop("tensors", {}).items():
        tensors.pop(name, None)
        if a is not None:
            tensors[name] = a
    if "record" in changes:
        record = changes.pop("record")(record)
    text = record if isinstance(record, str) else json.dumps(record)
    metadata = {"fastopt": text, "fastopt.sha256": signature(text, tensors)}
    save_file(tensors, path, None if record is None else metadata)
    return path


def changed(**values):
    return lambda record: {**record, **values}


def in_group(**values):
    return lambda record: {**record, "groups": [{**record["groups"][0], **values}]}


def option(**values):
    return lambda r: in_group(options={**r["groups"][0]["options"], **values})(r)


def clock(values):
    return lambda r: in_group(clocks={**r["groups"][0]["clocks"], "0/w": values})(r)


HOSTILE = {
    "no metadata": lambda record: None,
    "not json": lambda record: "{",
    "a list": lambda record: [],
    "deep": lambda record: "[" * 100_000,
    "a number": lambda record: "7",
    "newer": changed(version=3),
    "older, with a digest": lambda record: {**record, "version": 1, "digest": ""},
    "version of another type": changed(version=[1]),
    "no version": lambda record: {k: v for k, v in record.items() if k != "version"},
    "unknown key": changed(run="rm -rf"),
    "steps as text": changed(steps="1"),
    "negative steps": changed(steps=-1),
    "steps past counting": changed(steps=2**63),
    "steps past a float": changed(steps=10**400),
    "skipped past counting": changed(skipped=2**53 + 1),
    "half a step": changed(steps=0.5),
    "no groups": changed(groups=[]),
    "group of nothing": changed(groups=[{}]),
    "NaN lr": option(lr=math.nan),
    "negative lr": option(lr=-1.0),
    "lr as text": option(lr="fast"),
    "lr as list": option(lr=[1.0]),
    "enormous lr": option(lr=10**400),
    "three betas": option(betas=[0.9, 0.9, 0.9]),
    "betas of text": option(betas=["a", "b"]),
    "no flag": option(amsgrad=None),
    "unknown option": option(lrr=0.5),
    "other rule": option(amsgrad=True),
    "empty clock": clock([]),
    "short clock": clock([1.0]),
    "clock without a step": clock(["nan", 0.9, 0.0, 0.9, 0.0]),
    "endless clock": clock(["inf", 0.9, 0.0, 0.9, 0.0]),
    "clock past counting": clock([2.0**63, 0.9, 0.0, 0.9, 0.0]),
    "negative clock": clock([-1.0, 0.9, 0.0, 0.9, 0.0]),
    "clock with a NaN": clock([1.0, "nan", 0.0, 0.9, 0.0]),
    "half a clock": clock([0.5, 0.9, 0.0, 0.9, 0.0]),
    "clock of text": clock(["1", 0.9, 0.0, 0.9, 0.0]),
}
TENSORS = {
    "no parameter": {"param/0/w": None},
    "no slot": {"exp_avg/0/w": None},
    "slot of another shape": {"exp_avg/0/w": np.ones(6)},
    "slot of another dtype": {"exp_avg/0/w": W.astype(np.float32)},
    "unknown slot": {"exp/0/w": W},
    "unknown parameter": {"exp_avg/0/c": W},
    "unknown kind": {"rubbish": W},
    "another group": {"param/1/w": W},
    "integers": {"exp_avg/0/w": W.astype(np.int64)},
    "half": {"param/0/w": W.astype(np.float16)},
}


@pytest.mark.parametrize(
    "change",
    [{"record": f} for f in HOSTILE.values()] + [{"tensors": t} for t in TENSORS.values()],
    ids=[*HOSTILE, *TENSORS],
)
def test_a_hostile_file_is_refused_and_changes_nothing(tmp_path, change):
    path = saved(tmp_path, **change)
    opt = AdamW({"w": W * 2, "b": B * 2}, lr=0.25)
    before = every_byte(opt)
    with pytest.raises(StateError, match="Nothing was changed"):
        load(opt, path)
    assert every_byte(opt) == before


def test_the_unchanged_file_is_accepted(tmp_path):
    """The control of the test above: what it rewrites is the only reason to refuse."""
    opt = AdamW({"w": W * 2, "b": B * 2}, lr=0.25)
    load(opt, saved(tmp_path))
    assert (opt.steps, opt.param_groups[0]["lr"]) == (1, 0.5)


def test_every_truncation_is_refused(tmp_path, counted):
    path = saved(tmp_path)
    whole = path.read_bytes()
    opt = AdamW({"w": W * 2, "b": B * 2}, lr=0.25)
    before = every_byte(opt)
    for size in (*range(0, len(whole), 7), len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(StateError):
            load(opt, path)
    assert every_byte(opt) == before
    counted(len(whole) // 7 + 1)


@pytest.mark.parametrize("count", [400, pytest.param(20_000, marks=pytest.mark.soak)])
def test_any_damage_is_refused_or_says_the_same(tmp_path, count, counted):
    """Any byte of the file changed: StateError and nothing changed, or the same to the last bit.

    The same: between its header and its tensors a file has blanks.
    """
    path, rng = saved(tmp_path), np.random.default_rng(0)
    whole = path.read_bytes()
    load(truth := AdamW({"w": W * 2, "b": B * 2}), path)
    refused = 0
    for k in rng.integers(0, len(whole), count):
        damaged = bytearray(whole)
        damaged[k] ^= 1 << rng.integers(8) if rng.random() < 0.5 else rng.integers(1, 256)
        path.write_bytes(damaged)
        opt = AdamW({"w": W * 2, "b": B * 2}, lr=0.25)
        before = every_byte(opt)
        try:
            load(opt, path)
            assert every_byte(opt) == every_byte(truth)
        except StateError:
            refused += 1
            assert every_byte(opt) == before
    assert refused > 0.98 * count
    counted(count)


def test_every_bit_of_the_tensors_counts(tmp_path, counted):
    path = saved(tmp_path)
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    opt = AdamW({"w": W * 2, "b": B * 2}, lr=0.25)
    before = every_byte(opt)
    for k in range(header, len(whole)):
        damaged = bytearray(whole)
        damaged[k] ^= 1 << k % 8
        path.write_bytes(damaged)
        with pytest.raises(StateError, match="not what was written"):
            load(opt, path)
    assert every_byte(opt) == before
    counted(len(whole) - header)


def test_two_tensors_that_are_swapped_are_refused(tmp_path):
    """Same bytes, same lengths, other names."""
    path = saved(tmp_path, tensors={"exp_avg/0/w": W * 3})
    text = path.read_bytes()
    swapped = text.replace(b'"exp_avg/0/w"', b'"#"').replace(b'"param/0/w"', b'"exp_avg/0/w"')
    swapped = swapped.replace(b'"#"', b'"param/0/w"')
    assert len(swapped) == len(text) != swapped
    path.write_bytes(swapped)
    with pytest.raises(StateError, match="not what was written"):
        load(AdamW({"w": W * 2, "b": B * 2}), path)


GOLDEN = Path(__file__).parents[1] / "golden"


def golden_run():
    """What ``golden/checkpoint_*.safetensors`` were saved after, and a step of it more."""
    params = {
        "w": np.arange(6, dtype=np.float32).reshape(2, 3) / 4,
        "b": np.array([0.5, -1.0], np.float32),
    }
    run = [
        {"w": np.full((2, 3), 0.25 * (t + 1), np.float32), "b": np.array([1, -0.5 * t], np.float32)}
        for t in range(4)
    ]
    return params, AdamW(params, lr=0.1, ema=0.5), run


@pytest.mark.parametrize("version", [1, 2])
def test_files_of_every_version_load(version):
    params, opt, run = golden_run()
    for grads in run[:3]:
        opt.step(grads)
    other = AdamW({name: p * 0 for name, p in params.items()}, lr=0.5, ema=0.5)
    context = contextlib.nullcontext()
    if version == 1:
        context = pytest.warns(StateWarning, match=r"has no digest.*Save it again")
    with context:
        load(other, GOLDEN / f"checkpoint_{version}.safetensors")
    assert (other.steps, other.param_groups[0]["lr"]) == (3, 0.1)
    opt.step(run[3])
    other.step(run[3])
    for (_, mine), (_, theirs) in zip(opt._groups[0].pieces, other._groups[0].pieces):
        np.testing.assert_allclose(mine.array, theirs.array, rtol=1e-6)


def test_a_file_without_a_digest_changes_nothing_where_warnings_are_errors():
    _, opt, _ = golden_run()
    before = every_byte(opt)
    with pytest.raises(StateWarning):
        load(opt, GOLDEN / "checkpoint_1.safetensors")
    assert every_byte(opt) == before


def test_what_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to(tmp_path / "none")
    for path in (
        tmp_path / "pipe",
        tmp_path,
        "/dev/zero",
        tmp_path / "loop",
        tmp_path / "dangling",
    ):
        with pytest.raises(OSError, match=r"not a file|No such file|symbolic links"):
            load(AdamW(np.ones(3)), path)


def test_saving_replaces_files_only_and_leaves_links_pipes_and_rights(tmp_path):
    opt, target, link = AdamW(np.ones(3)), tmp_path / "disk" / "x", tmp_path / "latest"
    target.parent.mkdir()
    link.symlink_to(target)
    for _ in range(2):  # through a link to nothing yet, and to a file
        opt.step(np.ones(3))
        save(opt, link)
        assert link.is_symlink()
        load(other := AdamW(np.zeros(3)), target)
        assert every_byte(other) == every_byte(opt)
        target.chmod(0o600)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    pipe, none = tmp_path / "pipe", tmp_path / "dangling"
    os.mkfifo(pipe)
    none.symlink_to(tmp_path / "none" / "x")
    for path, text in (
        (pipe, "not a file"),
        (tmp_path, "not a file"),
        (none, "there is no folder"),
    ):
        before = sorted(tmp_path.iterdir())
        with pytest.raises(OSError, match=text):
            save(opt, path)
        assert sorted(tmp_path.iterdir()) == before
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_read_only_parameter_is_refused_before_the_state_is_changed(tmp_path):
    path = saved(tmp_path)
    params = {"w": W * 2, "b": B * 2}
    opt = AdamW(params, lr=0.25)
    before = every_byte(opt)
    params["b"].flags.writeable = False
    opt._groups[0].pieces[1][1].array.flags.writeable = False
    with pytest.raises(StateError, match="read-only"):
        load(opt, path)
    assert every_byte(opt) == before


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x80\x04K\x01.", b"\xff" * 64])
def test_garbage_is_refused(tmp_path, content):
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(StateError, match="Nothing was changed"):
        load(AdamW(np.ones(3)), path)
