"""Placeholder until the losses branch is merged."""

from sklearn.utils.class_weight import compute_sample_weight


def class_weights(how, labels):
    """Return weights."""
    return compute_sample_weight(how, labels)
