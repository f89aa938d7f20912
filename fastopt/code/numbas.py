"""What Numba makes of Python functions: the function in it, its options, the same of a copy.

Of each kind that ``@njit`` code calls: functions of ``@njit``, ``@vectorize``, ``@guvectorize``,
``@cfunc``, ``@stencil`` and ``@intrinsic``, and classes of ``@jitclass``. All of them keep what
they read when they were compiled.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import numba
from numba.core.ccallback import CFunc
from numba.core.dispatcher import Dispatcher
from numba.core.typing.templates import builtin_registry
from numba.extending import intrinsic
from numba.np.ufunc.dufunc import DUFunc
from numba.np.ufunc.gufunc import GUFunc
from numba.stencils.stencil import StencilFunc

_overloads: dict[int, list[Any]] = {}
_attributes: dict[str, list[types.FunctionType]] = {}
_counted = [0, 0]
_OF_CLASSES = ("__annotations__", "__dict__", "__weakref__")  # the first are among the fields


def overloads_of(value: Any) -> list[Any]:
    """Return Numba's templates of the overloads that a function has been given."""
    registered = builtin_registry.globals  # holds the keys, so that their ids stay theirs
    for key, kind in registered[_counted[0] :]:
        templates = getattr(kind, "templates", ())
        found = [template for template in templates if hasattr(template, "_overload_func")]
        _overloads.setdefault(id(key), []).extend(found)
    _counted[0] = len(registered)
    return _overloads.get(id(value), [])


def overloads_of_attributes(names: list[str]) -> list[types.FunctionType]:
    """Return what has been given to ``overload_method`` and ``overload_attribute`` by these names.

    Of whatever type: which one the code asks is known when Numba compiles it.
    """
    registered = builtin_registry.attributes
    for template in registered[_counted[1] :]:
        if hasattr(template, "_overload_func"):
            _attributes.setdefault(template._attr, []).append(template._overload_func)
    _counted[1] = len(registered)
    return [made for name in sorted(_attributes.keys() & set(names)) for made in _attributes[name]]


def is_jitclass(value: Any) -> bool:
    """Whether it is a class of ``@jitclass``, of which the user's own is the base."""
    return type(value).__name__ == "JitClassType"


def function_in(value: Any) -> types.FunctionType | None:
    """Return the Python function that Numba was given to make ``value`` of; None if none was.

    >>> def twice(x):
    ...     return 2 * x
    >>> function_in(numba.njit(twice)) is function_in(numba.vectorize(twice)) is twice
    True
    """
    for name in ("py_func", "_defn", "_pyfunc"):
        held = getattr(value, name, None)
        if isinstance(held, types.FunctionType):
            return held
    if isinstance(value, StencilFunc):
        return value.kernel_ir.func_id.func
    return getattr(getattr(value, "_dispatcher", None), "py_func", None)  # of a ufunc


def options_of(value: Any) -> tuple:
    """Return what was said beside the function: options, types of locals, signatures.

    >>> options_of(numba.njit(fastmath=True)(lambda x: x))[1]
    [('boundscheck', 'None'), ('fastmath', 'True'), ('nopython', 'True')]
    """
    options = {**getattr(value, "targetoptions", {}), **getattr(value, "locals", {})}
    signatures = () if getattr(value, "_can_compile", True) else tuple(map(str, value.signatures))
    if isinstance(value, GUFunc):
        held = value._reduce_states()
        options = {name: held[name] for name in held if name not in ("py_func", "cache")}
    elif issubclass(type(value), CFunc):
        compiler, signatures = value._compiler, (str(value._sig),)
        options = {**compiler.targetoptions, **compiler.locals}
    elif isinstance(value, StencilFunc):
        options = {"mode": value.mode, **value.options}
    return type(value).__name__, sorted((k, str(v)) for k, v in options.items()), signatures


def remade(value: Any, copy: types.FunctionType) -> Any:
    """Make of ``copy`` what ``value`` was made of its function, and compile it anew."""
    if isinstance(value, DUFunc):
        return DUFunc(copy, identity=value.identity, targetoptions=_plain(value.targetoptions))
    if isinstance(value, GUFunc):
        held = value._reduce_states() | {"py_func": copy, "cache": False}
        return GUFunc._rebuild(**held)
    if issubclass(type(value), CFunc):
        compiler, signature = value._compiler, (value._sig.args, value._sig.return_type)
        made = CFunc(copy, signature, compiler.locals, _plain(compiler.targetoptions))
        made.compile()
        return made
    if isinstance(value, StencilFunc):
        return numba.stencil(value.mode, **value.options)(copy)
    if hasattr(value, "_defn"):
        return intrinsic(prefer_literal=value._prefer_literal, **value._ctor_kwargs)(copy)
    pipeline = value._compiler.pipeline_class
    made = type(value)(copy, value.locals, _plain(value.targetoptions), pipeline_class=pipeline)
    if not value._can_compile:
        for signature in value.signatures:
            made.compile(signature)
        made.disable_compile()
    return made


def is_made_by_numba(value: Any) -> bool:
    """Whether it can be :func:`remade`."""
    kinds = Dispatcher | DUFunc | GUFunc | CFunc | StencilFunc
    return isinstance(value, kinds) or hasattr(value, "_defn")


def remade_class(value: Any, copied: Callable[[Any], Any]) -> Any:
    """Make a class of ``@jitclass`` anew, with a copy of all that its methods are."""
    parents = value.__mro__[-2:0:-1]  # of a class and its own, without object
    body = {k: v for parent in parents for k, v in vars(parent).items() if k not in _OF_CLASSES}
    made = type(value.__name__, (), {k: copied(v) for k, v in body.items()})
    from numba.experimental import jitclass  # here, since few have any: 20 ms

    return jitclass(list(value.class_type.struct.items()))(made)


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    return {name: held for name, held in options.items() if name != "cache"}
