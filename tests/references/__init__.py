"""References of the larger families; see :mod:`tests.reference`, which has SGD and Adam."""
