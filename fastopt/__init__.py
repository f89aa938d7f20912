"""Optimizer steps at C speed on a CPU, from plain Python."""

from fastopt import schedules
from fastopt.arena import Buffer, flatten
from fastopt.checkpoint import load, save
from fastopt.classes import SGD, Adam, AdamW
from fastopt.embedding import Embedded, clock, embed, hyper, slots
from fastopt.errors import (
    ArrayError,
    ArrayTypeError,
    CacheWarning,
    FastoptError,
    HyperparameterError,
    NonFiniteError,
    StateError,
)
from fastopt.norms import clip_grad_norm_, clip_grad_value_, global_norm
from fastopt.optimizer import Optimizer
from fastopt.rules import RULES, Rule

__all__ = [
    "RULES",
    "SGD",
    "Adam",
    "AdamW",
    "ArrayError",
    "ArrayTypeError",
    "Buffer",
    "CacheWarning",
    "Embedded",
    "FastoptError",
    "HyperparameterError",
    "NonFiniteError",
    "Optimizer",
    "Rule",
    "StateError",
    "clip_grad_norm_",
    "clip_grad_value_",
    "clock",
    "embed",
    "flatten",
    "global_norm",
    "hyper",
    "load",
    "save",
    "schedules",
    "slots",
]
