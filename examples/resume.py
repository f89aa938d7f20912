"""A sweep is killed in the middle; the same call goes on, to the same frame bit for bit.

Run it:  python examples/resume.py
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sweeps import SweepResult, geomspace, problems, sweep


def run(store=None, n_jobs=-1):
    """Go down a bowl 120 000 times: a second or two of one core, three chunks."""
    space = {"lr": geomspace(1e-5, 1e-1, 60_000), "beta1": [0.8, 0.9]}
    settings = {"optimizer": "adam", "steps": 1000, "n_jobs": n_jobs, "progress": False}
    return sweep(problems.ellipse(), space, store=store, **settings)


def killed(store):
    """Run the sweep in another process, and kill that when a part of it is stored."""
    process = subprocess.Popen([sys.executable, __file__, store])
    while not list(Path(store).glob("parts/*.parquet")) and process.poll() is None:
        time.sleep(0.005)
    process.kill()  # SIGKILL: it cannot tidy up
    process.wait()
    return len(SweepResult.open(store))


def main():
    with tempfile.TemporaryDirectory() as folder:
        store = f"{folder}/bowl"
        print(f"{killed(store)} of 120000 trials were stored when the process was killed")
        result = run(store)
        print(f"{result.info['reused']} of {len(result)} trials did not run again")
        same = result.to_frame().equals(run().to_frame())
        print("the frame is that of a sweep nobody stopped" if same else "the frames differ")
        return same, result.info["reused"]


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run(sys.argv[1], n_jobs=1)
    else:
        main()
