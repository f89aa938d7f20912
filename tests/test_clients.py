"""Programs of others train with our optimizers, and their losses are those with torch's own.

Not in the default run: ``pip install -e ".[test,clients]"``, then ``pytest -m clients -rP``, which
prints a row of docs/embedding.md a client. Models are tiny and random; nothing is downloaded.
"""

from __future__ import annotations

import copy
import datetime
import functools
import importlib.metadata
import os
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import fastopt.torch

# What clients warn of is their matter.
pytestmark = [pytest.mark.clients, pytest.mark.filterwarnings("default")]

OPTIONS = {
    "AdamW": {"lr": 0.01, "weight_decay": 0.1},
    "SGD": {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01},
    "RMSprop": {"lr": 0.003},
}
every_optimizer = pytest.mark.parametrize("name", OPTIONS)

# A step in float32 differs from torch's by an ulp or two (6e-8 each) where multiply-adds contract,
# and training carries that on: the losses were within 2e-6. Rates off by a thousandth show.
CLOSE = 1e-5


def both(name):
    """Return our class and torch's."""
    return getattr(fastopt.torch, name), getattr(torch.optim, name)


def compare(client, ours, theirs):
    """Compare two lists of losses, and print the row of the table."""
    ours, theirs = np.array(ours, np.float64), np.array(theirs, np.float64)
    assert ours.shape == theirs.shape
    assert len(set(theirs.tolist())) > 1, "nothing was trained"
    assert np.isfinite(theirs).all()
    worst = float(np.max(np.abs(ours - theirs) / np.abs(theirs)))
    package = client.split()[0]
    print(f"| {client} | {importlib.metadata.version(package)} | {ours.size} | {worst:.1e} |")
    assert worst <= CLOSE


def table(rows=64, seed=0):
    """Return random points and the class of each, 0 or 1."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, 6)).astype(np.float32)
    return X, (X[:, 0] * X[:, 1] > 0).astype(np.int64)


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.LayerNorm(16), nn.Linear(16, 2))


def loader(batch_size=8):
    X, y = table()
    return torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(y)), batch_size
    )


# --- Lightning ------------------------------------------------------------------------------------


def lightning_run(client, folder, name, first, second):
    """Train an epoch with the class ``first``, and another from its checkpoint with ``second``."""
    losses = []

    class Module(client.LightningModule):  # type: ignore[name-defined]
        def __init__(self, kind):
            super().__init__()
            self.kind, self.net = kind, network()

        def training_step(self, batch, k):
            loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
            losses.append(loss.item())
            return loss

        def configure_optimizers(self):
            optimizer = self.kind(self.parameters(), **OPTIONS[name])
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)]

    path = folder / "last.ckpt"
    for epochs, kind, resumed in ((2, first, None), (4, second, path)):
        trainer = client.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            devices=1,
            gradient_clip_val=0.5,
            accumulate_grad_batches=2,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(Module(kind), loader(), ckpt_path=resumed)
        trainer.save_checkpoint(path)
    return losses


@every_optimizer
@pytest.mark.parametrize("order", ["ours-ours", "ours-torch", "torch-ours"])
def test_lightning_clips_accumulates_and_resumes_both_ways(tmp_path, name, order):
    client = pytest.importorskip("lightning")
    kinds = dict(zip(("ours", "torch"), both(name)))
    mixed = [kinds[who] for who in order.split("-")]
    ours = lightning_run(client, tmp_path, name, *mixed)
    theirs = lightning_run(client, tmp_path, name, kinds["torch"], kinds["torch"])
    assert len(ours) == 32
    compare(f"lightning ({name}, {order})", ours, theirs)


# --- transformers ---------------------------------------------------------------------------------


def transformers_run(client, folder, name, first, second):
    """Train a tiny GPT-2 for 8 steps, and from the checkpoint of the fourth again."""
    losses = []

    class Trainer(client.Trainer):  # type: ignore[name-defined]
        def training_step(self, *args, **kwargs):
            loss = super().training_step(*args, **kwargs)
            losses.append(loss.item())
            return loss

    def fit(kind, resumed):
        config = client.GPT2Config(
            vocab_size=32, n_positions=16, n_embd=16, n_layer=2, n_head=2, bos_token_id=0
        )
        torch.manual_seed(0)
        words = (torch.randint(32, (64, 1)) + torch.arange(12)) % 32  # to be learned: count on
        arguments = client.TrainingArguments(
            output_dir=str(folder),
            max_steps=8,
            per_device_train_batch_size=4,
            gradient_accumulation_steps=2,
            max_grad_norm=0.5,
            warmup_steps=2,
            save_steps=4,
            use_cpu=True,
            report_to=[],
            disable_tqdm=True,
            log_level="error",
            seed=1,
        )
        Trainer(
            client.GPT2LMHeadModel(config),
            arguments,
            train_dataset=[{"input_ids": row, "labels": row} for row in words],
            optimizer_cls_and_kwargs=(kind, OPTIONS[name]),
        ).train(resume_from_checkpoint=resumed)

    fit(first, None)
    fit(second, str(folder / "checkpoint-4"))
    return losses


@every_optimizer
@pytest.mark.parametrize("order", ["ours-torch", "torch-ours"])
def test_transformers_trainer_resumes_both_ways(tmp_path, name, order):
    client = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    kinds = dict(zip(("ours", "torch"), both(name)))
    mixed = [kinds[who] for who in order.split("-")]
    ours = transformers_run(client, tmp_path / "ours", name, *mixed)
    theirs = transformers_run(client, tmp_path / "torchs", name, kinds["torch"], kinds["torch"])
    assert len(ours) == 2 * (8 + 4)
    compare(f"transformers ({name}, {order})", ours, theirs)


# --- accelerate -----------------------------------------------------------------------------------


def accelerate_run(client, folder, name, kind):
    """Accumulate and clip; half way, save, go on, and do the second half again from the save."""
    client.state.AcceleratorState._reset_state(reset_partial_state=True)
    runner = client.Accelerator(cpu=True, gradient_accumulation_steps=2)
    model = network()
    optimizer = kind(model.parameters(), **OPTIONS[name])
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)
    model, optimizer, batches, scheduler = runner.prepare(model, optimizer, loader(), scheduler)
    losses = []

    def epoch():
        for X, y in batches:
            with runner.accumulate(model):
                loss = nn.functional.cross_entropy(model(X), y)
                runner.backward(loss)
                if runner.sync_gradients:
                    runner.clip_grad_norm_(model.parameters(), 0.5)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
            losses.append(loss.item())

    epoch()
    runner.save_state(str(folder))
    epoch()
    runner.load_state(str(folder))
    epoch()
    assert losses[8:16] == losses[16:24]
    return losses


@every_optimizer
def test_accelerate_accumulates_clips_and_loads_its_state(tmp_path, name):
    client = pytest.importorskip("accelerate")
    runs = [accelerate_run(client, tmp_path / kind.__module__, name, kind) for kind in both(name)]
    compare(f"accelerate ({name})", *runs)


# --- skorch ---------------------------------------------------------------------------------------


@every_optimizer
def test_skorch_in_a_grid_search_and_after_a_pickle(name):
    client = pytest.importorskip("skorch")
    from sklearn.model_selection import GridSearchCV

    X, y = table(96)
    runs = []
    for kind in both(name):
        options = {f"optimizer__{key}": value for key, value in OPTIONS[name].items()}
        net = client.NeuralNetClassifier(
            copy.deepcopy(network()),
            criterion=nn.CrossEntropyLoss,
            max_epochs=3,
            batch_size=16,
            optimizer=kind,
            verbose=0,
            callbacks=[("clip", client.callbacks.GradientNormClipping(0.5))],
            **options,
        )
        grid = {"optimizer__lr": [0.001, 0.01], "optimizer__weight_decay": [0.0, 0.1]}
        search = GridSearchCV(net, grid, scoring="neg_log_loss", cv=3, n_jobs=2)
        search.fit(X, y)
        best = pickle.loads(pickle.dumps(search.best_estimator_)).partial_fit(X, y)
        runs.append([*search.cv_results_["mean_test_score"], *best.history[:, "train_loss"]])
    assert len(runs[0]) == 4 + 6
    compare(f"skorch ({name})", *runs)


# --- stable-baselines3 ----------------------------------------------------------------------------


@every_optimizer
def test_stable_baselines3_learns_and_goes_on_from_a_file(tmp_path, name):
    client = pytest.importorskip("stable_baselines3")

    runs = []
    for kind in both(name):
        losses = []

        class PPO(client.PPO):  # type: ignore[name-defined]
            def train(self, losses=losses):
                super().train()
                losses.append(self.logger.name_to_value["train/loss"])

        options = {key: value for key, value in OPTIONS[name].items() if key != "lr"}
        policy = {"net_arch": [16], "optimizer_class": kind, "optimizer_kwargs": options}
        model = PPO(
            "MlpPolicy",
            "Pendulum-v1",
            learning_rate=lambda left: 0.001 * left,  # losses in the thousands; its default: 3e-4
            n_steps=64,
            batch_size=32,
            n_epochs=2,
            policy_kwargs=policy,
            seed=0,
            device="cpu",
        )
        model.learn(256)
        model.save(tmp_path / "model.zip")
        again = PPO.load(tmp_path / "model.zip", env=model.env, device="cpu")
        again.set_random_seed(1)
        again.learn(256)
        runs.append(losses)
    assert len(runs[0]) == 4 + 4
    compare(f"stable-baselines3 ({name})", *runs)


# --- timm -----------------------------------------------------------------------------------------


def timm_run(client, name, kind, is_ahead):
    """Layer decay, warm-up and cosine per update, adaptive clipping, an average of the weights."""
    from timm.optim import OptimInfo, OptimizerRegistry
    from timm.scheduler import CosineLRScheduler
    from timm.utils import ModelEmaV3, dispatch_clip_grad

    torch.manual_seed(0)
    model = client.create_model(
        "vit_tiny_patch16_224", img_size=32, num_classes=4, embed_dim=24, depth=2, num_heads=2
    )
    images, labels = torch.randn(4, 8, 3, 32, 32), torch.randint(4, (4, 8))
    registry = OptimizerRegistry()  # of timm's, which knows optimizers by name
    registry.register(OptimInfo(name, kind, has_momentum=name == "SGD"))
    prefix = "lookahead_" if is_ahead else ""
    optimizer = registry.create_optimizer(model, prefix + name, layer_decay=0.8, **OPTIONS[name])
    scheduler = CosineLRScheduler(optimizer, 12, warmup_t=3, warmup_lr_init=1e-5, t_in_epochs=False)
    average, losses = ModelEmaV3(model, decay=0.9), []
    for update in range(12):
        k = update % 4
        loss = nn.functional.cross_entropy(model(images[k]), labels[k])
        optimizer.zero_grad()
        loss.backward()
        dispatch_clip_grad(model.parameters(), 0.02, mode="agc")
        optimizer.step()
        scheduler.step_update(update + 1)
        average.update(model)
        losses.append(loss.item())
    with torch.no_grad():
        return [*losses, nn.functional.cross_entropy(average.module(images[0]), labels[0]).item()]


@every_optimizer
@pytest.mark.parametrize("is_ahead", [False, True], ids=["plain", "Lookahead"])
def test_timm_decays_by_layer_and_clips_adaptively(name, is_ahead):
    client = pytest.importorskip("timm")
    runs = [timm_run(client, name, kind, is_ahead) for kind in both(name)]
    compare(f"timm ({name}{', Lookahead' * is_ahead})", *runs)


# --- two processes over gloo ----------------------------------------------------------------------


def replicated(model, make):
    """DDP: every process has all parameters, gradients are averaged."""
    return nn.parallel.DistributedDataParallel(model), make(model.parameters())


def with_split_state(model, make):
    """DDP with ZeRO's first stage: every process steps its part of the parameters."""
    from torch.distributed.optim import ZeroRedundancyOptimizer

    options = dict(make.keywords)
    optimizer = ZeroRedundancyOptimizer(model.parameters(), make.func, **options)
    return nn.parallel.DistributedDataParallel(model), optimizer


def sharded(model, make):
    """FSDP2: parameters are DTensors, of which every process has a part."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (2,))
    for layer in (model[0], model):
        fully_shard(layer, mesh=mesh)
    return model, make(model.parameters())


MANNERS = {"DDP": replicated, "ZeRO": with_split_state, "FSDP2": sharded}


def trained(rank, manner, make):
    """Train on the half of the batches that is this process's; return its losses."""
    model, optimizer = MANNERS[manner](network(), make)
    losses = []
    for _ in range(3):
        for X, y in list(loader())[rank::2]:
            loss = nn.functional.cross_entropy(model(X), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            losses.append(loss.item())
    return losses


def worker(rank, manner, folder):
    """Write the losses of this process: optimizers x (ours, torch's) x steps."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=2,
        timeout=datetime.timedelta(seconds=60),
    )
    losses = [
        [trained(rank, manner, functools.partial(kind, **OPTIONS[name])) for kind in both(name)]
        for name in OPTIONS
    ]
    np.save(f"{folder}/{rank}.npy", losses)
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("manner", MANNERS)
def test_two_processes_over_gloo(tmp_path, manner):
    torch.multiprocessing.spawn(worker, (manner, str(tmp_path)), nprocs=2)
    losses = np.stack([np.load(tmp_path / f"{rank}.npy") for rank in range(2)])
    assert losses.shape == (2, len(OPTIONS), 2, 12)
    assert losses[0, 0, 0, 0] != losses[1, 0, 0, 0]  # each process had rows of its own
    for name, (ours, theirs) in zip(OPTIONS, losses.transpose(1, 2, 0, 3)):
        compare(f"torch {manner} ({name})", ours.ravel(), theirs.ravel())
