"""A sweep on the workers of a dask cluster, here two processes of this machine.

Run it:  python examples/dask_run.py        (needs: pip install "fastopt[dask]")

On a real cluster only the first lines of ``main`` differ: ``Client("tcp://scheduler:8786")``, or a
cluster of dask-jobqueue or dask-kubernetes.
"""

from distributed import Client, LocalCluster

from sweeps import geomspace, problems, sweep


def run(executor=None):
    """Go down a bowl 100 000 times: two seconds or so of one core, in four chunks."""
    space = {"lr": geomspace(1e-5, 1e-1, 50_000), "beta1": [0.8, 0.9]}
    settings = {"optimizer": "adam", "steps": 2000, "progress": False}
    return sweep(problems.ellipse(), space, executor=executor, **settings)


def main():
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        there = run(client)
    here = run()
    same = there.to_frame().equals(here.to_frame())
    print(f"{len(there)} trials on {options['n_workers']} workers")
    print("the frame is that of this process" if same else "the frames differ")
    return same


if __name__ == "__main__":
    main()
