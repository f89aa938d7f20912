"""placeholder until the losses branch is merged"""


def class_weights(*a):
    raise NotImplementedError
