"""Jobs that share a folder and nothing else, and sweeps too large for a machine."""

import pandas as pd
import pytest

from fastopt.errors import SpecError
from sweeps import estimate, linspace, logspace, problems, sweep
from sweeps.common import resources
from sweeps.engine import chunks
from sweeps.running.scaling import at_scale
from sweeps.running.shards import parse_shard
from sweeps.store.parts import Part
from sweeps.store.writer import StoreWriter

SPACE = {"lr": logspace(1e-3, 1e-1, 25), "beta1": [0.8, 0.9]}


@pytest.fixture
def small_chunks(monkeypatch):
    """Ten chunks of five trials."""
    monkeypatch.setattr(chunks, "MOST_TRIALS", 5)


def run(space=SPACE, **options):
    return sweep(problems.ellipse(), space, **{"steps": 30, "progress": False, **options})


def parts(store):
    return sorted(path.name for path in (store / "parts").iterdir())


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("executor", [None, "threads"])
def test_shards_and_then_the_whole(tmp_path, executor):
    expected = run().to_frame()
    for i, finished in ((2, 15), (0, 20), (1, 15)):
        result = run(store=tmp_path, shard=(i, 3), executor=executor)
        assert len(result) == finished
        assert not result.info["interrupted"]
        assert result.info["n_trials"] == 50
        own = expected[expected["trial_id"] // 5 % 3 == i].reset_index(drop=True)
        pd.testing.assert_frame_equal(result.to_frame(), own, check_exact=True)
    names = parts(tmp_path)
    whole = run(store=tmp_path)
    assert whole.info["reused"] == 50
    assert parts(tmp_path) == names
    assert len(names) == 10
    pd.testing.assert_frame_equal(whole.to_frame(), expected, check_exact=True)


@pytest.mark.usefixtures("small_chunks")
def test_a_shard_that_did_not_run_is_made_up_for(tmp_path):
    run(store=tmp_path, shard="0/3")
    whole = run(store=tmp_path)
    assert whole.info["reused"] == 20
    pd.testing.assert_frame_equal(whole.to_frame(), run().to_frame(), check_exact=True)


@pytest.mark.usefixtures("small_chunks")
def test_a_shard_looks_at_its_own_files_only(tmp_path):
    """A damaged part is the matter of the job that has to run it again."""
    run(store=tmp_path)
    for path in (tmp_path / "parts").glob("00000001-*"):
        path.write_bytes(b"nonsense")
    assert run(store=tmp_path, shard="0/3").info["reused"] == 20
    with pytest.warns(UserWarning, match="is damaged"):
        run(store=tmp_path, shard="1/3")


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize(
    ("i", "n", "size"), [(0, 1, 48), (2, 3, 15), (0, 3, 18), (9, 10, 3), (11, 12, 0)]
)
def test_how_much_a_shard_has_to_do(tmp_path, i, n, size):
    """The last of ten chunks has three trials."""
    captured = []
    original = StoreWriter.remaining
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            StoreWriter, "remaining", lambda self: captured.append(self.size) or original(self)
        )
        result = run({"lr": logspace(1e-3, 1e-1, 48)}, store=tmp_path, shard=(i, n))
    assert captured == [size] == [len(result)]


@pytest.mark.parametrize("shard", ["3/3", "1", "a/b", (1,), (0, 0), (0.0, 2), (True, 2), 7, "-1/2"])
def test_what_is_no_shard(shard):
    with pytest.raises(SpecError, match=r"shard must be i/n with 0 <= i < n"):
        parse_shard(shard, "folder")


def test_shards_need_a_store():
    with pytest.raises(SpecError, match="give store="):
        run(shard=(0, 2))


HUGE = {"lr": linspace(0.001, 0.1, 2**20), "beta1": linspace(0.0, 0.9, 2**20)}


@pytest.mark.parametrize("curves", [False, True])
def test_what_cannot_fit_in_memory_is_refused(curves):
    with pytest.raises(SpecError, match=r"1,099,511,627,776 trials take .* TB of memory.*store="):
        run(HUGE, curves=curves)


def test_what_cannot_fit_on_the_disk_is_refused_before_anything_is_written(tmp_path):
    store = tmp_path / "store"
    with pytest.raises(SpecError, match=r"trials take about .* TB of disk.*larger disk"):
        run(HUGE, store=store)
    assert not store.exists()


def test_what_is_stored_already_needs_no_more_disk(tmp_path, monkeypatch):
    run(store=tmp_path)
    monkeypatch.setattr(resources, "free_disk", lambda folder: 1)
    assert run(store=tmp_path).info["reused"] == 50
    with pytest.raises(SpecError, match=r"about 2\.7 kB of disk, and 1 B are free"):
        run(store=tmp_path / "another")


def test_memory_of_a_container_counts(tmp_path, monkeypatch):
    limit, used = tmp_path / "memory.max", tmp_path / "memory.current"
    limit.write_text("5000\n")
    used.write_text("4000\n")
    (tmp_path / "memory.stat").write_text("anon 3\ninactive_file 500\n")
    monkeypatch.setattr(resources, "CGROUPS", ((str(limit), str(used)),))
    assert resources.free_memory() == 1500
    limit.write_text("max\n")
    assert resources.free_memory() > 2**20


def test_disk_is_estimated_within_a_factor_of_two(tmp_path):
    space, options = {"lr": logspace(1e-3, 1.0, 20_000)}, {"steps": 5, "curves": True}
    found = estimate(problems.ellipse(), space, **options)
    sweep(problems.ellipse(), space, store=tmp_path, progress=False, **options)
    written = resources.used_disk(tmp_path)
    assert written / 2 < found.disk < written * 2
    assert len(parts(tmp_path)) == found.n_chunks


def test_a_trillion_trials_on_a_thousand_nodes():
    """The arithmetic of a cluster, from numbers worked out by hand."""
    space = {"lr": linspace(0.001, 0.1, 10**6), "beta1": linspace(0.0, 0.9, 10**6)}
    found = estimate(problems.ellipse(), space, steps=1000)
    scale = at_scale(found, nodes=1000, cores=64)
    assert found.n_trials == 10**12
    assert scale.chunks == -(-(10**12) // 65536) == 15_258_790
    assert scale.trials_of_a_chunk == 65_536
    assert scale.seconds_of_a_chunk == pytest.approx(65_536 * 1000 * 4e-9, rel=1e-6)
    assert scale.seconds == pytest.approx(10**12 * 1000 * 4e-9 / 64_000, rel=0.01)
    assert scale.scheduler_load == pytest.approx(scale.chunks_a_second / 1000)
    assert scale.bytes == found.disk == 10**12 * 6 * 9
    assert scale.chunks_of_a_node == 15_259
    longest = len(str(Part(10**9, 1, "0" * 16, "0" * 24)))
    assert longest <= scale.listing // scale.chunks < longest + 8
