"""How values of each kind are taken apart for :mod:`fastopt.code.fingerprint`.

A reader yields the bytes that say what a value is: ``look.of(part)`` for what it is made of.
``look.change()`` says that it may be another one later; ``look.note(name)`` that it cannot be
looked into.
"""

from __future__ import annotations

import contextvars
import copyreg
import ctypes
import enum
import functools
import gc
import hashlib
import sys
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numba
import numpy as np

from fastopt.code.numbas import function_in, is_jitclass, options_of, overloads_of
from fastopt.code.origins import FOUNDATION, INSTALLED, OWN, USERS, is_extension, origin, stamp

ATOMS = (type(None), bool, int, float, complex, str, bytes, range, type(...), slice)
"""Types whose ``repr`` says all."""

# Of a class these say where it stands, not what it does.
_INCIDENTAL = {
    "__annotations__", "__dict__", "__doc__", "__firstlineno__", "__module__",
    "__static_attributes__", "__weakref__", "_abc_impl",
}  # fmt: skip
# Of an enumeration, beside its members: the rest is how Python keeps these.
_METHODS = (types.FunctionType, property, classmethod, staticmethod)


def hashed(tag: str, *parts: Any) -> bytes:
    """Hash parts so that their borders count.

    >>> hashed("pair", b"ab", b"c") == hashed("pair", b"a", b"bc")
    False
    """
    digest = hashlib.sha256(tag.encode() + b"\0")
    for part in parts:
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.digest()


def _overloaded(look: Any, value: Any) -> Iterator[bytes]:
    """Hash what others have made of a function that is not theirs."""
    for template in overloads_of(value):
        made = template._overload_func
        if origin(made) in (USERS, INSTALLED):
            yield look.entered(made)
            look.note(f"a later change of the overload {made.__name__} of {_named(value)}")


def _array(look: Any, value: np.ndarray) -> Iterator[bytes | memoryview]:
    look.change()
    flags = value.flags
    yield repr((value.dtype, value.shape, flags.c_contiguous, flags.f_contiguous)).encode()
    if value.dtype.hasobject:
        yield from map(look.of, value.ravel().tolist())
    elif value.nbytes:
        yield np.ascontiguousarray(value).reshape(-1).view(np.uint8).data
    if isinstance(value, np.ma.MaskedArray):
        yield from map(look.of, (np.ma.getmaskarray(value), value.fill_value))
    if type(value) is not np.ndarray:
        yield from _of_subclass(look, value)


def _of_subclass(look: Any, value: Any) -> Iterator[bytes]:
    """Hash what an array or container has beside its elements."""
    yield look.of(type(value))
    yield look.of(getattr(value, "default_factory", None))
    if origin(type(value)) == USERS:
        yield look.of(getattr(value, "__dict__", None))


def _number(look: Any, value: np.generic) -> Iterator[bytes]:
    yield repr(value.dtype).encode()
    yield look.of(value.item()) if value.dtype.hasobject else value.tobytes()


def _sequence(look: Any, value: Any) -> Iterator[bytes]:
    if isinstance(value, list):
        look.change()
    if type(value) not in (tuple, list):
        yield from _of_subclass(look, value)
    yield from map(look.of, list(value))


def _set(look: Any, value: Any) -> Iterator[bytes]:
    if not isinstance(value, frozenset):
        look.change()
    if type(value) not in (set, frozenset):
        yield from _of_subclass(look, value)
    yield from sorted(map(look.of, value))


def _mapping(look: Any, value: Any) -> Iterator[bytes]:
    look.change()
    if type(value) not in (dict, types.MappingProxyType):
        yield from _of_subclass(look, value)
    for key, held in list(value.items()):
        yield look.of(key)
        yield look.of(held)


def _method(look: Any, value: types.MethodType) -> Iterator[bytes]:
    yield look.of(value.__func__)
    yield look.of(value.__self__)


def _builtin(look: Any, value: types.BuiltinFunctionType) -> Iterator[bytes]:
    yield stamp(value)
    held = value.__self__
    if held is not None and not isinstance(held, types.ModuleType):
        yield look.of(held)
    elif is_extension(value if held is None else held):
        look.note(f"{_named(value)}, a function of an extension module")
    yield from _overloaded(look, value)


def _partial(look: Any, value: functools.partial) -> Iterator[bytes]:
    yield from map(look.of, (value.func, value.args, value.keywords, vars(value) or None))


def _property(look: Any, value: property) -> Iterator[bytes]:
    yield from map(look.of, (value.fget, value.fset, value.fdel))


def _wrapper(look: Any, value: Any) -> Iterator[bytes]:
    yield look.of(value.__wrapped__)


def _module(look: Any, value: types.ModuleType) -> Iterator[bytes]:
    yield value.__name__.encode()
    if origin(value) not in (OWN, FOUNDATION):
        yield stamp(value)
    if origin(value) == USERS:  # handed on as a value: any code may read any name of it
        look.change()
        held = {name: part for name, part in vars(value).items() if not name.startswith("__")}
        yield from look.named(held, list(held))


def _member(look: Any, value: enum.Enum) -> Iterator[bytes]:
    yield f"{type(value).__qualname__}.{value.name}".encode()
    yield look.of(value.value)
    yield look.of(type(value))


def _class(look: Any, value: type) -> Iterator[bytes]:
    yield f"{value.__module__}.{value.__qualname__}".encode()
    if not look.inside(value) or origin(value) == OWN:
        yield stamp(value)
        return
    look.change()
    kinds: tuple[type, ...] = (object,)
    if issubclass(value, enum.Enum):
        kinds = _METHODS
        yield from (look.of((m.name, m.value)) for m in value.__members__.values())
    yield from map(look.of, (type(value), *value.__bases__))
    for name, held in sorted(vars(value).items()):
        told = isinstance(held, kinds) or not (name.startswith("_") or isinstance(held, value))
        if name not in _INCIDENTAL and told:
            yield name.encode()
            yield look.of(held)


def _slot(look: Any, value: Any) -> Iterator[bytes]:
    yield value.__qualname__.encode()


def _dtype(look: Any, value: np.dtype) -> Iterator[bytes]:
    yield repr((value, value.itemsize, dict(value.metadata or {}))).encode()


def _address(look: Any, value: Any) -> Iterator[bytes]:
    name = _named(value)
    yield name.encode()
    look.note(f"{name}, called by its address ({_kind(value)})")


def _ufunc(look: Any, value: np.ufunc) -> Iterator[bytes]:
    yield value.__name__.encode()
    yield from map(look.of, gc.get_referents(value))  # the function that frompyfunc was given
    yield from _overloaded(look, value)


def _referent(look: Any, value: Any) -> Iterator[bytes]:
    """Hash what a reference leads to, or a context variable is."""
    look.change()
    held = value.get(None) if isinstance(value, contextvars.ContextVar) else value()
    yield look.of(held)


def _bytes(look: Any, value: memoryview) -> Iterator[bytes]:
    look.change()
    yield repr((value.format, value.shape)).encode()
    yield value.tobytes()


def _numbas(look: Any, value: Any) -> Iterator[bytes]:
    """Hash an object of Numba's: a dispatcher, an intrinsic, a type."""
    function = function_in(value)
    if isinstance(value, numba.types.Type):
        yield str(value).encode()
    elif function is not None:
        yield look.entered(function)
        yield repr(options_of(value)).encode()
    elif is_jitclass(value):
        yield from map(look.of, value.__mro__[1:-1])
        yield str(value.class_type.struct).encode()
    elif type(value).__name__ == "_ObjModeContextType":
        look.note("objmode, in which Python may read anything")
    elif origin(value) not in (OWN, FOUNDATION) or not callable(value):
        yield _named(value).encode()
        look.note(f"{_named(value)} ({_kind(value)})")


def _llvms(look: Any, value: Any) -> Iterator[bytes]:
    """Hash a type or constant of llvmlite's, which keeps its text in itself once it was asked."""
    yield f"{_kind(value)} {value}".encode()


def _tensor(look: Any, value: Any) -> Iterator[bytes]:
    plain = value.cpu().to_dense().resolve_conj().resolve_neg()
    yield f"{value.dtype} {value.layout}".encode()
    # By bytes: NumPy knows not every dtype.
    yield look.of(plain.reshape(-1).view(sys.modules["torch"].uint8).numpy())
    yield look.of(list(value.shape))


def _object(look: Any, value: Any) -> Iterator[bytes]:
    """Hash any other object as pickle would take it apart."""
    look.change()
    try:
        if hasattr(value, "detach") and hasattr(value, "__array__"):  # a tensor
            yield from _tensor(look, value.detach())
            return
        reduce = copyreg.dispatch_table.get(type(value))
        taken = reduce(value) if reduce else value.__reduce_ex__(4)
    except Exception:
        look.note(f"an object of {_kind(value)}")
        yield from map(look.of, (type(value), getattr(value, "__dict__", None)))
        return
    if isinstance(taken, str):
        yield taken.encode()
        yield look.of(getattr(value, "__dict__", None))
        return
    make, arguments, state, *items = (*taken, None, None, None)[:5]
    yield from map(look.of, (make, arguments, state))
    for each in items:
        yield look.of(None if each is None else list(each))


def _named(value: Any) -> str:
    return str(getattr(value, "__name__", None) or f"an object of {_kind(value)}")


def _kind(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


_READERS: tuple[tuple[Any, Callable[[Any, Any], Iterator[Any]]], ...] = (
    (enum.Enum, _member),
    (np.ndarray, _array),
    (np.generic, _number),
    (np.dtype, _dtype),
    (np.ufunc, _ufunc),
    (type, _class),
    (tuple | list, _sequence),
    (set | frozenset, _set),
    (dict | types.MappingProxyType, _mapping),
    (types.MethodType, _method),
    (types.BuiltinFunctionType, _builtin),
    (types.ModuleType, _module),
    (weakref.ref | contextvars.ContextVar, _referent),
    (memoryview, _bytes),
    (functools.partial, _partial),
    (property, _property),
    (staticmethod | classmethod | functools._lru_cache_wrapper, _wrapper),
    (types.GetSetDescriptorType | types.MemberDescriptorType, _slot),
    (types.WrapperDescriptorType | types.MethodDescriptorType, _slot),
    (types.ClassMethodDescriptorType, _slot),
    (ctypes._CFuncPtr, _address),  # type: ignore[attr-defined]
)
"""The first whose type fits is asked."""


def keeps(value: Any) -> bool:
    """Whether it is something that a program keeps what it has found in.

    >>> keeps({}), keeps([]), keeps((1.0, 2.0)), keeps(keeps)
    (True, True, False, False)
    """
    if isinstance(value, (*ATOMS, tuple, frozenset, types.FunctionType)):
        return False
    return reader_of(value) in (_mapping, _set, _object, _sequence)


def reader_of(value: Any) -> Callable[[Any, Any], Iterator[Any]]:
    """Return the reader of a value that is no plain function."""
    packages = {base.__module__.partition(".")[0] for base in type(value).__mro__}
    for package, read in (("numba", _numbas), ("llvmlite", _llvms), ("_cffi_backend", _address)):
        if package in packages:
            return read
    return next((read for kinds, read in _READERS if isinstance(value, kinds)), _object)
