"""References of the larger families; see :mod:`tests.helpers.reference`, which has SGD and Adam."""
