"""Hyperparameter sweeps whose trials are whole training runs inside compiled kernels."""
