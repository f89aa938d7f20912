"""Two jobs that share a folder and nothing else run a sweep; whoever comes last has all of it.

Run it:  python examples/shard_run.py

In a job array the command line does this: fastopt sweep SPEC --store DIR --shard I/N
"""

import subprocess
import sys
import tempfile

from sweeps import SweepResult, geomspace, problems, sweep

JOBS = 2


def run(store=None, shard=None):
    """Go down a bowl 120 000 times: a second or two of one core, five chunks."""
    space = {"lr": geomspace(1e-5, 1e-1, 60_000), "beta1": [0.8, 0.9]}
    settings = {"optimizer": "adam", "steps": 2000, "n_jobs": 1, "progress": False}
    return sweep(problems.ellipse(), space, store=store, shard=shard, **settings)


def main():
    with tempfile.TemporaryDirectory() as store:
        commands = [[sys.executable, __file__, store, f"{i}/{JOBS}"] for i in range(JOBS)]
        jobs = [subprocess.Popen(command) for command in commands]
        assert [job.wait() for job in jobs] == [0] * JOBS
        print(f"{len(SweepResult.open(store))} trials of {JOBS} jobs")
        whole = run(store)
        print(f"{len(whole) - whole.info['reused']} trials had to run after them")
        same = whole.to_frame().equals(run().to_frame())
        print("the frame is that of one process" if same else "the frames differ")
        return same, whole.info["reused"]


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run(*sys.argv[1:])
    else:
        main()
