r"""The schedules by name: one constructor a row of the table, with its formula and its source."""

from __future__ import annotations

from typing import Any

from fastopt.schedules.table import Schedule, pack


def _made(name: str, values: dict[str, Any]) -> Schedule:
    """Return the schedule of this row with these values: the arguments of its constructor."""
    return Schedule(name, pack(name, values)[1])


def constant(factor: float = 1.0, total_iters: int = 0) -> Schedule:
    """Keep the base learning rate, or ``factor`` times it for the first ``total_iters`` steps.

    torch's ``ConstantLR`` (whose defaults are 1/3 and 5); optax's ``constant_schedule``.

    >>> constant()(1000), constant(0.5, total_iters=3)(2), constant(0.5, total_iters=3)(3)
    (1.0, 0.5, 1.0)
    """
    return _made("constant", locals())


def step(step_size: int, gamma: float = 0.1) -> Schedule:
    r"""Multiply by ``gamma`` every ``step_size`` steps, :math:`f = \gamma^{\lfloor t/s \rfloor}`.

    torch's ``StepLR``, counted in steps; optax's ``exponential_decay(staircase=True)``.

    >>> [step(2, gamma=0.5)(t) for t in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """
    return _made("step", locals())


def exponential(gamma: float, transition_steps: int = 1) -> Schedule:
    r"""Multiply by ``gamma`` over each ``transition_steps`` steps, :math:`f = \gamma^{t / s}`.

    torch's ``ExponentialLR``; optax's ``exponential_decay(lr, transition_steps, gamma)``.

    >>> exponential(0.5)(3), exponential(0.25, transition_steps=6)(3)
    (0.125, 0.5)
    """
    return _made("exponential", locals())


def cosine(total_steps: int, final: float = 0.0) -> Schedule:
    r"""Fall along half a cosine from 1 to ``final`` in ``total_steps``, then stay there.

    .. math:: f = f_T + (1 - f_T) \tfrac12 (1 + \cos(\pi t / T))

    torch's ``CosineAnnealingLR(T_max=total_steps, eta_min=final * lr)``, which is the schedule of
    SGDR without restarts; optax's ``cosine_decay_schedule(lr, total_steps, alpha=final)``.

    >>> [round(cosine(4, final=0.5)(t), 3) for t in (0, 2, 4, 6)]
    [1.0, 0.75, 0.5, 0.5]

    References
    ----------
    I. Loshchilov and F. Hutter, *SGDR: stochastic gradient descent with warm restarts*, ICLR 2017.
    """
    return _made("cosine", locals())


def warmup_cosine(
    warmup_steps: int, total_steps: int, final: float = 0.0, start: float = 0.0
) -> Schedule:
    r"""Rise linearly from ``start`` to 1 in ``warmup_steps``, then fall along half a cosine.

    With :math:`w` warm-up steps out of :math:`T`,

    .. math::
        f = \begin{cases}
            f_0 + (1 - f_0)\, t / w & t < w \\
            f_T + (1 - f_T) \tfrac12 (1 + \cos(\pi (t - w) / (T - w))) & w \le t < T \\
            f_T & t \ge T
        \end{cases}

    torch's ``SequentialLR`` of ``LinearLR(start_factor=start, total_iters=warmup_steps)`` and
    ``CosineAnnealingLR(T_max=total_steps - warmup_steps, eta_min=final * lr)``, which does not
    accept ``start=0``; optax's ``warmup_cosine_decay_schedule``. With ``start=0`` the first step
    has learning rate 0.

    Raises
    ------
    HyperparameterError
        A parameter is out of its range, or ``warmup_steps`` exceeds ``total_steps``.

    Examples
    --------
    >>> [round(warmup_cosine(2, 4, start=0.5)(t), 3) for t in range(5)]
    [0.5, 0.75, 1.0, 0.5, 0.0]
    """
    return _made("warmup_cosine", locals())


def multi_step(
    milestone1: int,
    milestone2: int = 0,
    milestone3: int = 0,
    milestone4: int = 0,
    milestone5: int = 0,
    gamma: float = 0.1,
) -> Schedule:
    r"""Multiply by ``gamma`` at each of up to five milestones, :math:`f = \gamma^{|k: m_k \le t|}`.

    torch's ``MultiStepLR``, counted in steps; optax's ``piecewise_constant_schedule``. A milestone
    of 0 is none; equal ones count each.

    >>> [multi_step(2, 4, gamma=0.5)(t) for t in range(6)]
    [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """
    return _made("multi_step", locals())


def linear(total_steps: int, start: float = 1.0, final: float = 0.0) -> Schedule:
    """Go along a line from ``start`` to ``final`` in ``total_steps``, then stay there.

    torch's ``LinearLR(start_factor=start, end_factor=final, total_iters=total_steps)``; optax's
    ``linear_schedule``, and ``warmup_constant_schedule`` with ``start=0, final=1``.

    >>> [linear(4, start=1.0, final=0.5)(t) for t in (0, 2, 4, 9)]
    [1.0, 0.75, 0.5, 0.5]
    """
    return _made("linear", locals())


def polynomial(total_steps: int, power: float = 1.0, final: float = 0.0) -> Schedule:
    r"""Fall with a power of the share of steps left, :math:`f_T + (1 - f_T)(1 - t / T)^q`.

    torch's ``PolynomialLR(total_iters=total_steps, power=power)``, which ends at 0; optax's
    ``polynomial_schedule(lr, final * lr, power, total_steps)``.

    >>> [polynomial(4, power=2.0)(t) for t in range(6)]
    [1.0, 0.5625, 0.25, 0.0625, 0.0, 0.0]
    """
    return _made("polynomial", locals())


def cosine_restarts(period: int, multiplier: int = 1, final: float = 0.0) -> Schedule:
    r"""Fall along half a cosine again and again, each time over ``multiplier`` times the steps.

    .. math:: f = f_T + (1 - f_T) \tfrac12 (1 + \cos(\pi t_i / T_i)), \qquad T_{i+1} = k T_i

    with :math:`t_i` steps since the last restart. torch's
    ``CosineAnnealingWarmRestarts(T_0=period, T_mult=multiplier, eta_min=final * lr)``; optax's
    ``sgdr_schedule``.

    >>> [round(cosine_restarts(2, multiplier=2)(t), 3) for t in range(8)]
    [1.0, 0.5, 1.0, 0.854, 0.5, 0.146, 1.0, 0.962]

    References
    ----------
    I. Loshchilov and F. Hutter, *SGDR: stochastic gradient descent with warm restarts*, ICLR 2017.
    """
    return _made("cosine_restarts", locals())


def one_cycle(
    total_steps: int,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> Schedule:
    r"""Rise along half a cosine to the base learning rate, then fall far below the start.

    From :math:`1/d` to 1 at :math:`t = \mathrm{pct} \cdot T - 1`, then to :math:`1/(d\,d_T)` at
    :math:`T - 1`, and it stays there. The learning rate of torch's ``OneCycleLR(max_lr=lr)`` with
    its default shape; the momentum that torch cycles the other way is a hyperparameter of the
    optimizer. optax's ``cosine_onecycle_schedule`` divides by ``final_div_factor`` alone.

    >>> [round(one_cycle(10, div_factor=10.0)(t), 3) for t in (0, 1, 2, 5, 9)]
    [0.1, 0.55, 1.0, 0.611, 0.0]

    References
    ----------
    L. N. Smith and N. Topin, *Super-convergence: very fast training of neural networks using large
    learning rates*, arXiv:1708.07120.
    """
    return _made("one_cycle", locals())


def cyclic(
    step_size_up: int = 2000,
    step_size_down: int = 0,
    start: float = 0.0,
    gamma: float = 1.0,
    cycle_gamma: float = 1.0,
) -> Schedule:
    r"""Go up and down in triangles between ``start`` and 1.

    The height of the k-th triangle (:math:`k = 0, 1, \ldots`) is
    :math:`(1 - f_0)\, \gamma^t \gamma_c^k`. ``step_size_down=0`` means as many steps as up. torch's
    ``CyclicLR(base_lr=start * lr, max_lr=lr, cycle_momentum=False)``: mode "triangular" as it is,
    "triangular2" with ``cycle_gamma=0.5``, "exp_range" with ``gamma``.

    >>> [cyclic(2, start=0.5, cycle_gamma=0.5)(t) for t in range(8)]
    [0.5, 0.75, 1.0, 0.75, 0.5, 0.625, 0.75, 0.625]

    References
    ----------
    L. N. Smith, *Cyclical learning rates for training neural networks*, arXiv:1506.01186.
    """
    return _made("cyclic", locals())


def wsd(
    warmup_steps: int,
    decay_steps: int,
    total_steps: int,
    final: float = 0.0,
    start: float = 0.0,
    power: float = 1.0,
) -> Schedule:
    r"""Warm up, stay, decay: a line to 1, a plateau, and a fall in the last ``decay_steps``.

    The fall is :math:`1 - (1 - f_T) u^q` with the share :math:`u` of the decay that is over:
    a line for ``power=1``, the "1-sqrt" shape for ``power=0.5``. With ``decay_steps = total_steps -
    warmup_steps`` it is the usual linear schedule with warm-up.

    >>> [wsd(2, 2, 6)(t) for t in range(8)]
    [0.0, 0.5, 1.0, 1.0, 1.0, 0.5, 0.0, 0.0]

    References
    ----------
    S. Hu et al., *MiniCPM: unveiling the potential of small language models with scalable training
    strategies*, arXiv:2404.06395; A. Hägele et al., *Scaling laws and compute-optimal training
    beyond fixed training durations*, arXiv:2405.18392.
    """
    return _made("wsd", locals())


def inverse_sqrt(warmup_steps: int, timescale: int = 0, start: float = 0.0) -> Schedule:
    r"""Rise linearly, then fall with the root of the step, :math:`\sqrt{\tau / (\tau + t - w)}`.

    A timescale :math:`\tau` of 0 stands for ``warmup_steps`` (so that the fall is
    :math:`\sqrt{w / t}`), or for 10 000 without warm-up.

    >>> [round(inverse_sqrt(4)(t), 3) for t in (0, 2, 4, 8, 16)]
    [0.0, 0.5, 1.0, 0.707, 0.5]

    References
    ----------
    A. Vaswani et al., *Attention is all you need*, arXiv:1706.03762.
    """
    return _made("inverse_sqrt", locals())
