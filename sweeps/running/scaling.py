"""What a sweep is on a cluster: chunks, files, bytes and messages, before anybody pays for it."""

from __future__ import annotations

from dataclasses import dataclass

from fastopt.errors import SpecError
from sweeps.running.estimate import Estimate

__all__ = ["Scale", "at_scale"]

# Seconds a scheduler of dask spends on a task, at most: "about one millisecond of overhead",
# https://docs.dask.org/en/stable/best-practices.html.
TASK = 1e-3
# Requests to a file system for a part: create, write, sync and rename it, sync its folder, note it.
REQUESTS = 6
# Bytes of the name of a part, which a listing of the folder sends.
NAME = 64


@dataclass(frozen=True)
class Scale:
    """A sweep on a cluster: the answer of :func:`at_scale`.

    Parameters
    ----------
    nodes, cores : int
        Machines, and cores of all of them.
    seconds : float
        From the first trial to the last: every core busy, and at the end one chunk long some not.
    chunks, trials_of_a_chunk : int
        How many chunks, and trials in each.
    seconds_of_a_chunk : float
        On one core.
    chunks_a_second : float
        That end, on all nodes.
    scheduler_load : float
        Seconds of work each second for one dask scheduler: above 1 it is what all wait for.
    chunks_of_a_node : int
        Files in the store of a node, if each has one.
    bytes_of_a_part, bytes_of_a_node, bytes : int
        Of a file, of all that a node writes, and of the whole store.
    bytes_a_second : float
        That are written, on all nodes.
    listing : int
        Bytes of the names of all files in one folder: what each process reads when it starts.
    requests_a_second : float
        To a file system that all nodes share.

    Examples
    --------
    >>> from sweeps import estimate, problems
    >>> found = estimate(problems.ellipse(), {"lr": [0.1], "seed": range(10**9)}, steps=1000)
    >>> at_scale(found, nodes=10, cores=64).cores
    640
    """

    nodes: int
    cores: int
    seconds: float
    chunks: int
    trials_of_a_chunk: int
    seconds_of_a_chunk: float
    chunks_a_second: float
    scheduler_load: float
    chunks_of_a_node: int
    bytes_of_a_part: int
    bytes_of_a_node: int
    bytes: int
    bytes_a_second: float
    listing: int
    requests_a_second: float


def at_scale(estimate: Estimate, nodes: int, cores: int) -> Scale:
    """Lay a sweep out on a cluster, by arithmetic: nothing runs.

    Parameters
    ----------
    estimate : Estimate
        From :func:`sweeps.estimate`; its cost model is right within a factor of two or three.
    nodes : int
        Machines.
    cores : int
        Of each.

    Returns
    -------
    Scale

    Raises
    ------
    SpecError
        There are no nodes or cores.

    Examples
    --------
    >>> from sweeps import estimate, problems
    >>> found = estimate(problems.ellipse(), {"lr": [0.1], "seed": range(10**9)}, steps=1000)
    >>> scale = at_scale(found, nodes=10, cores=64)
    >>> scale.chunks == found.n_chunks, scale.chunks_of_a_node * 10 >= scale.chunks
    (True, True)
    >>> round(scale.seconds * scale.cores / (found.cost / 1e9), 2)  # nobody waits long
    1.04
    """
    if nodes < 1 or cores < 1:
        raise SpecError(f"a cluster has nodes and cores; got nodes={nodes}, cores={cores}")
    work, chunks, workers = estimate.cost / 1e9, estimate.n_chunks, nodes * cores
    chunk = work / chunks
    seconds = work / min(workers, chunks) + chunk
    return Scale(
        nodes=nodes,
        cores=workers,
        seconds=seconds,
        chunks=chunks,
        trials_of_a_chunk=-(-estimate.n_trials // chunks),
        seconds_of_a_chunk=chunk,
        chunks_a_second=chunks / seconds,
        scheduler_load=TASK * chunks / seconds,
        chunks_of_a_node=-(-chunks // nodes),
        bytes_of_a_part=estimate.disk // chunks,
        bytes_of_a_node=estimate.disk // nodes,
        bytes=estimate.disk,
        bytes_a_second=estimate.disk / seconds,
        listing=NAME * chunks,
        requests_a_second=REQUESTS * chunks / seconds,
    )
