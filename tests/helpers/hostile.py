"""Files that somebody made to do harm, and what reads them.

``python -m tests.helpers.hostile FOLDER K`` reads each K-th in a process of its own and prints a
line of JSON: what came of it, and how much memory it took; tests/test_hostile_files.py runs it.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import resource
import shutil
import signal
import struct
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

import fastopt
import fastopt.torch
from sweeps import SweepResult, problems, sweep
from sweeps.cli.spec import read_spec
from sweeps.models import Model
from sweeps.store.status import status

SECONDS = 20
DEEP = 100_000


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, sentinel):
        self.sentinel = str(sentinel)

    def __reduce__(self):
        return open, (self.sentinel, "w")


def safetensors(header, data=b"", size=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + data


def tensor(dtype="F32", shape=(3,), offsets=(0, 12)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def npz(**arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def zipped(name, data):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return file.getvalue()


def containers(sentinel):
    """Files in the place of a checkpoint or a model."""
    evil, of = pickle.dumps(Evil(sentinel)), {"param/0/w": tensor()}
    told = {"version": 2, "optimizer": "AdamW", "steps": 1, "skipped": 0, "groups": []}

    def about(text):
        text = text if isinstance(text, str) else json.dumps(text)
        return {"fastopt": text, "fastopt.model": text, "sha256": "0" * 64}

    return {
        "a pickle": evil,
        "a pickle in metadata": safetensors({**of, "__metadata__": {"fastopt": repr(evil)}}),
        "torch's zip of a pickle": zipped("archive/data.pkl", evil),
        "an array of objects": npz(w=np.array([Evil(sentinel)], object)),
        "a zip bomb": zipped("w.npy", bytes(10**8)),
        "a gzip bomb": gzip.compress(bytes(10**8)),
        "a header of 8 EB": safetensors(of, size=2**63 - 1),
        "a header of -1": safetensors(of, size=2**64 - 1),
        "a header longer than the file": safetensors(of, bytes(12), size=10**6),
        "no header": safetensors(b""),
        "deep lists": safetensors(b"[" * DEEP),
        "deep dicts": safetensors(b'{"a":' * DEEP),
        "a deep record": safetensors({**of, "__metadata__": about("[" * DEEP)}, bytes(12)),
        "a long integer": safetensors(
            {**of, "__metadata__": about('{"version": ' + "9" * DEEP + "}")}, bytes(12)
        ),
        "a shape past 2**64": safetensors({"param/0/w": tensor(shape=[10**30])}, bytes(12)),
        "a shape that overflows": safetensors({"param/0/w": tensor(shape=[2**32] * 2)}, bytes(12)),
        "a negative shape": safetensors({"param/0/w": tensor(shape=[-3])}, bytes(12)),
        "offsets backwards": safetensors({"param/0/w": tensor(offsets=(12, 0))}, bytes(12)),
        "offsets past the end": safetensors({"param/0/w": tensor(offsets=(0, 2**60))}, bytes(12)),
        "negative offsets": safetensors({"param/0/w": tensor(offsets=(-12, 0))}, bytes(12)),
        "two tensors in one place": safetensors({**of, "exp_avg/0/w": tensor()}, bytes(12)),
        "a key twice": safetensors(
            b'{"a":'
            + json.dumps(tensor()).encode()
            + b',"a":'
            + json.dumps(tensor()).encode()
            + b"}",
            bytes(12),
        ),
        "a name that climbs": safetensors({"../../evil": tensor()}, bytes(12)),
        "a name with a zero": safetensors({"param/0/\0": tensor()}, bytes(12)),
        "an unknown dtype": safetensors({"param/0/w": tensor(dtype="PY")}, bytes(12)),
        "the format of the future": safetensors(
            {**of, "__metadata__": about({**told, "version": 99})}, bytes(12)
        ),
        "steps past 2**63": safetensors(
            {**of, "__metadata__": about({**told, "steps": 10**40})}, bytes(12)
        ),
        "steps below zero": safetensors({**of, "__metadata__": about({**told, "steps": -1})}),
        "a class to import": safetensors(
            {**of, "__metadata__": about({**told, "optimizer": "os.system"})}, bytes(12)
        ),
    }


def specs(sentinel):
    """Texts in the place of a spec."""
    good = '[problem]\nname = "ellipse"\n[sweep]\nsteps = 2\n[space]\nlr = [0.1]\n'
    code = f"__import__('os').mkdir('{sentinel}')"
    return {
        "deep lists": "a = " + "[" * DEEP,
        "deep tables": "[" + "a." * 5_000 + "a]",
        "a long integer": good.replace("0.1", "9" * DEEP),
        "a float past all": good.replace("0.1", "1e99999"),
        "a module to import": good.replace("ellipse", "os.system"),
        "a dunder": good.replace('name = "ellipse"', 'name = "ellipse"\n__class__ = "os"'),
        "a target to call": good.replace("[problem]", '[problem]\n_target_ = "os.system"'),
        "an expression": good.replace("[0.1]", f'["{code}"]'),
        "an optimizer to call": good.replace("steps = 2", f'steps = 2\noptimizer = "{code}"'),
        "layers past memory": good.replace('"ellipse"', '"iris"\nhidden = [1000000, 1000000]'),
        "steps past all clocks": good.replace("steps = 2", "steps = 9007199254740993"),
        "a data file that is a device": good.replace(
            '[problem]\nname = "ellipse"', '[data]\nfile = "/dev/zero"\ntarget = "y"'
        ),
        "a pickle": pickle.dumps(Evil(sentinel)),
    }


def tables(sentinel):
    """What :meth:`SweepResult.open` and :func:`problems.table` may be given as Parquet."""
    sink, plain = io.BytesIO(), pa.table({"a": [1.0, 2.0], "y": [0, 1]})
    pq.write_table(plain.replace_schema_metadata({"sweeps": pickle.dumps(Evil(sentinel))}), sink)
    whole = sink.getvalue()
    return {
        "a pickle": pickle.dumps(Evil(sentinel)),
        "metadata of a pickle": whole,
        "cut in its footer": whole[:-20] + whole[-8:],
        "a footer of 4 GB": whole[:-8] + b"\xff\xff\xff\x7f" + whole[-4:],
        "nothing but its marks": b"PAR1PAR1",
        "a zip bomb": zipped("a.csv", bytes(10**8)),
    }


def in_store(change):
    def spoil(store, sentinel):
        document = json.loads((store / "spec.json").read_bytes())
        change(document)
        (store / "spec.json").write_text(json.dumps(document))

    return spoil


def _link_out(store, sentinel):
    for part in (store / "parts").iterdir():
        part.unlink()
        part.symlink_to("/etc/hostname")


def _loop(store, sentinel):
    shutil.rmtree(store / "parts")
    (store / "parts").symlink_to(store / "parts")


def _pickled(place):
    def spoil(store, sentinel):
        files = [store / place] if place.endswith("json") else [*(store / place).iterdir()]
        for file in files:
            file.write_bytes(pickle.dumps(Evil(sentinel)))

    return spoil


def _text(text):
    return lambda store, sentinel: (store / "spec.json").write_bytes(text)


STORES = {
    "a pickle as document": _pickled("spec.json"),
    "pickles as parts": _pickled("parts"),
    "parts that link out": _link_out,
    "a folder that links to itself": _loop,
    "deep lists": _text(b"[" * DEEP),
    "deep dicts": _text(b'{"a":' * DEEP),
    "a long integer": _text(b'{"identity": {"format": ' + b"9" * DEEP + b"}}"),
    "the format of the future": in_store(lambda d: d["identity"].update(format=99)),
    "a problem to import": in_store(lambda d: d["identity"].update(problem={"kind": "os.system"})),
    "trials past memory": in_store(lambda d: d["identity"].update(space={"trials": 10**18})),
    "no identity": in_store(lambda d: d.pop("identity")),
}


def load_checkpoint(path):
    fastopt.load(fastopt.AdamW({"w": np.ones(3, np.float32)}), path)


def load_tensors(path):
    fastopt.load(fastopt.torch.AdamW([torch.nn.Parameter(torch.ones(3))]), path)


def read_table(path):
    problems.table(path, target="y")


def plan_spec(path):
    read_spec(path).plan()


def cases(folder, sentinel):
    """Yield ``(reader, what it is, function, path, size of the file)``."""
    for name, data in containers(sentinel).items():
        path = folder / "file.safetensors"
        path.write_bytes(data)
        for read in (load_checkpoint, load_tensors, Model.load):
            yield read.__qualname__, name, read, path, len(data)
    for name, text in specs(sentinel).items():
        path = folder / "spec.toml"
        data = text if isinstance(text, bytes) else text.encode()
        path.write_bytes(data)
        yield "read_spec", name, plan_spec, path, len(data)
    for name, data in tables(sentinel).items():
        path = folder / "table.parquet"
        path.write_bytes(data)
        yield "SweepResult.open", name, SweepResult.open, path, len(data)
        if name != "metadata of a pickle":  # which is a good table of numbers
            yield "table", name, read_table, path, len(data)
    good = folder / "good"
    sweep(problems.ellipse(), {"lr": [0.1, 0.2]}, optimizer="sgd", steps=2, store=good, n_jobs=1)
    for name, spoil in STORES.items():
        store = folder / "store"
        shutil.rmtree(store, ignore_errors=True)
        shutil.copytree(good, store)
        spoil(store, sentinel)
        size = sum(p.stat().st_size for p in store.rglob("*") if p.is_file())
        yield "SweepResult.open", f"store: {name}", SweepResult.open, store, size
        if name not in ("pickles as parts", "parts that link out"):  # which it counts, not reads
            yield "status", f"store: {name}", status, store, size


def outcome(read_file, path, size):
    """Read in a child; return what it raised, how long it took and what memory."""
    read, write = os.pipe()
    child = os.fork()
    if child:
        os.close(write)
        with os.fdopen(read) as pipe:
            said = pipe.read()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return json.loads(said) if said else {"error": f"ended by {code}"}
    signal.alarm(SECONDS)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    try:
        read_file(path)
        error, ours, text = "none", False, ""
    except (fastopt.FastoptError, OSError) as raised:
        error, ours, text = type(raised).__name__, True, str(raised)
    except BaseException as raised:
        error, ours, text = type(raised).__name__, False, str(raised)
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    seconds = time.process_time() - start
    facts = {"error": error, "ours": ours, "text": text[:400], "length": len(text)}
    said = json.dumps({**facts, "growth": growth, "size": size, "seconds": seconds})
    os.write(write, said.encode())
    os._exit(0)


def main(folder, every):
    folder = Path(folder)
    sentinel = folder / "executed"
    # What is imported at first use would count as memory of the first file.
    problems.table(pd.DataFrame({"a": np.arange(40.0), "y": [0, 1] * 20}), target="y")
    for k, (reader, name, read_file, path, size) in enumerate(cases(folder, sentinel)):
        if k % int(every):
            continue
        facts = outcome(read_file, path, size)
        print(json.dumps({"reader": reader, "name": name, **facts}))
        sys.stdout.flush()
    assert not sentinel.exists()


if __name__ == "__main__":
    main(*sys.argv[1:])
