"""Products of small matrices, in register tiles: what BLAS is slow at.

A tile of some rows and registers of the result stays in SIMD registers while the loop over the
inner dimension runs, a row of ``b`` against a broadcast element of ``a``. BLAS packs its operands
first, which pays for large matrices only. Measured on AVX2 in float32, against OpenBLAS on one
thread: 32 x 64 by 64 x 32 takes 0.49 of its time, 32 x 10 by 10 x 32 takes 0.35, 512 x 64 by
64 x 32, transposed, 1.1.

One trial at a time: eight trials side by side in the lanes of a register, on a minibatch that they
share, took 4.3 us each for softmax regression on 32 digits and 14.9 for 64-32-10, in C; a trial
alone takes 2.5 and 6.2 here, since its weights stay in the first-level cache.

Every number of a result is one sum in the order of the inner dimension, so its bits depend neither
on the tiles nor on the other rows.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic, overload
from numba.np.arrayobj import make_array

from fastopt.compile import inlinable

# Registers of a row of a tile. One is for what one register holds: a step of 64-32-10 spent a tenth
# of its time on the 22 columns behind ten classes in AVX-512.
WIDE, NARROW = 2, 1
FEW = 4  # rows of a tile where there are no more, or no registers for more
# What a tile may read and write: whole registers; its columns only; or it reads its columns and
# writes whole registers, the end of which the next row then writes over. AMD's masked stores take
# 12 cycles and more, so of the 64 rows of a layer's gradient two use them, not all.
INSIDE, BOUNDED, SPILLING = range(3)
WORD, INDEX = ir.IntType(64), ir.IntType(32)
CONTRACT = ("contract",)  # a*b + c in one rounding, where the machine has it


@functools.cache
def register_bytes() -> int:
    """Width of a SIMD register of the CPU that code is compiled for."""
    return 64 if "+avx512f" in cpu_target.target_context.codegen().magic_tuple()[2] else 32


def tile_rows(registers: int) -> int:
    """Return how many rows a tile has: eight sums hide the latency, more save reads of ``b``.

    Sixteen sums need AVX-512's 32 registers: steps of 64-32-10 by SGD take 0.94 of their time on 32
    rows, 0.93 on 128. In AVX2 twelve were no faster than eight.
    """
    return 8 if registers == NARROW or register_bytes() == 64 else FEW


@intrinsic
def lanes_of(typingctx, a):
    """Columns of a register of this dtype."""
    lanes = register_bytes() * 8 // a.dtype.bitwidth

    def codegen(context, builder, signature, args):
        return context.get_constant(types.intp, lanes)

    return types.intp(a), codegen


class _Tile:
    """Emits the code of a tile: some rows from ``i`` and ``width`` columns from ``j``."""

    def __init__(self, context, builder, signature, args, registers, edge):
        self.builder, self.edge = builder, edge
        self.element = context.get_data_type(signature.args[0].dtype)
        self.bytes = signature.args[0].dtype.bitwidth // 8
        self.lanes = register_bytes() // self.bytes
        self.vector = ir.VectorType(self.element, self.lanes)
        self.a, self.b, self.c, self.start = (
            make_array(kind)(context, builder, arg) for kind, arg in zip(signature.args, args[:4])
        )
        self.i, self.j, self.width = args[4:7]
        self.firsts = range(0, registers * self.lanes, self.lanes)

    def shape(self, view):
        return cgutils.unpack_tuple(self.builder, view.shape)

    def strides(self, view):
        return cgutils.unpack_tuple(self.builder, view.strides)

    def moved(self, address, steps, stride):
        return self.builder.add(address, self.builder.mul(steps, stride))

    def base(self, view):
        return self.builder.ptrtoint(view.data, WORD)

    def registers(self, address):
        """Addresses of the registers of a row of the tile."""
        return [self.builder.add(address, WORD(first * self.bytes)) for first in self.firsts]

    def masks(self, width):
        """Tell, for each register, which lanes lie in the first ``width`` columns."""
        # Compared as integers of the size of the elements: others cost a conversion at each use.
        integer = ir.IntType(8 * self.bytes)
        limit = self.everywhere(self.builder.trunc(width, integer))
        places = [
            ir.Constant(limit.type, list(range(first, first + self.lanes))) for first in self.firsts
        ]
        return [self.builder.icmp_signed("<", place, limit) for place in places]

    def everywhere(self, number):
        """Copy a number to all lanes."""
        kind = ir.VectorType(number.type, self.lanes)
        nothing, zeros = ir.Constant(kind, ir.Undefined), ir.Constant(self.integers, None)
        one = self.builder.insert_element(nothing, number, INDEX(0))
        return self.builder.shuffle_vector(one, nothing, zeros)

    @property
    def integers(self):
        return ir.VectorType(INDEX, self.lanes)

    def masked_call(self, name, result, args):
        label = f"llvm.masked.{name}.v{self.lanes}{self.element.intrinsic_name}.p0"
        kind = ir.FunctionType(result, [arg.type for arg in args])
        function = cgutils.get_or_insert_function(self.builder.module, kind, label)
        return self.builder.call(function, args)

    def read(self, address, mask):
        """Read a register; lanes outside of the mask are zero and not touched."""
        pointer = self.builder.inttoptr(address, self.vector.as_pointer())
        if mask is None:
            return self.builder.load(pointer, align=self.bytes)
        zero = ir.Constant(self.vector, None)
        return self.masked_call("load", self.vector, [pointer, INDEX(self.bytes), mask, zero])

    def write(self, address, value, mask):
        pointer = self.builder.inttoptr(address, self.vector.as_pointer())
        if mask is None:
            self.builder.store(value, pointer, align=self.bytes)
        else:
            args = [value, pointer, INDEX(self.bytes), mask]
            self.masked_call("store", ir.VoidType(), args)

    def begun(self, rows):
        """Return the sums, rows of registers in memory that LLVM keeps in registers."""
        here = self.moved(self.base(self.start), self.j, WORD(self.bytes))
        left = self.builder.sub(self.shape(self.start)[0], self.j)
        values = [self.read(*pair) for pair in zip(self.registers(here), self.masks(left))]
        return [
            [cgutils.alloca_once_value(self.builder, value) for value in values]
            for _ in range(rows)
        ]

    def accumulate(self, sums, masks):
        """Add the products of one row of ``b`` and one column of ``a`` after the other."""
        builder = self.builder
        by_row, by_depth = self.strides(self.a)
        by_line = self.strides(self.b)[0]
        a = self.moved(self.base(self.a), self.i, by_row)
        b = self.moved(self.base(self.b), self.j, WORD(self.bytes))
        with cgutils.for_range(builder, self.shape(self.b)[0]) as loop:
            line = self.registers(self.moved(b, loop.index, by_line))
            values = [self.read(*pair) for pair in zip(line, masks)]
            place = self.moved(a, loop.index, by_depth)
            for row in sums:
                number = builder.load(builder.inttoptr(place, self.element.as_pointer()))
                for memory, value in zip(row, values):
                    term = builder.fmul(self.everywhere(number), value, flags=CONTRACT)
                    builder.store(builder.fadd(builder.load(memory), term, flags=CONTRACT), memory)
                place = builder.add(place, by_row)

    def emit(self, rows):
        """Emit everything."""
        anywhere = [None] * len(self.firsts)
        masks = anywhere if self.edge == INSIDE else self.masks(self.width)
        sums = self.begun(rows)
        self.accumulate(sums, masks)
        by_row = self.strides(self.c)[0]
        c = self.moved(self.base(self.c), self.j, WORD(self.bytes))
        bounds = masks if self.edge == BOUNDED else anywhere
        for r, row in enumerate(sums):
            places = self.registers(self.moved(c, self.builder.add(self.i, WORD(r)), by_row))
            for place, memory, mask in zip(places, row, bounds):
                self.write(place, self.builder.load(memory), mask)


@intrinsic(prefer_literal=True)
def tile(typingctx, a, b, c, start, i, j, width, rows, registers, edge):
    """Write ``rows`` rows from ``i`` and ``width`` columns from ``j`` of ``c``."""
    count, kind = rows.literal_value, (registers.literal_value, edge.literal_value)
    integers = types.intp, types.intp, types.intp

    def codegen(context, builder, signature, args):
        _Tile(context, builder, signature, args, *kind).emit(count)
        return context.get_dummy_value()

    return types.void(a, b, c, start, *integers, rows, registers, edge), codegen


def product(a, b, c, start):
    """Write ``start + a @ b`` to ``c``.

    Parameters
    ----------
    a : (rows, depth) array
        Of any strides: it may be a transposed matrix.
    b, c : (depth, columns) and (rows, columns) arrays
        Their rows are contiguous; ``c`` overlaps none of the others.
    start : (columns,) or (0,) array
        Added to every row; one without elements stands for zeros.
    """
    np.matmul(a, b, out=c)
    if start.size:
        c += start


def bounded(registers: int) -> Callable:
    """Return the loop over the rows of the last columns, which fill no tile.

    The last tile begins where it ends with the last row, and computes some rows again: single rows,
    of few sums, wait for each addition.
    """
    most = tile_rows(registers)

    @inlinable
    def run(a, b, c, start, j):
        rows, columns = c.shape
        span, spilling = registers * lanes_of(c), 0
        if columns <= span and c.strides[0] == columns * c.itemsize:
            # So many rows, and some more, lie whole registers before the end of the matrix.
            spilling = max(0, rows + 1 - (span + columns - 1) // columns) // most * most
        for i in range(0, spilling, most):
            tile(a, b, c, start, i, j, columns - j, most, registers, SPILLING)
        if rows >= most:
            for i in range(spilling, rows, most):
                tile(a, b, c, start, min(i, rows - most), j, columns - j, most, registers, BOUNDED)
        else:
            for i in range(rows):
                tile(a, b, c, start, i, j, columns - j, 1, registers, BOUNDED)

    return run


@overload(product)
def _product(a, b, c, start):
    most, narrow, wide = tile_rows(WIDE), bounded(NARROW), bounded(WIDE)

    def run(a, b, c, start):
        rows, columns = c.shape
        lanes = lanes_of(c)
        span = WIDE * lanes
        for j in range(0, columns // span * span, span):
            # Written out: by one function for the loops here and in bounded() a product took 0.1 us
            # more, and a step of 64-32-10 has five.
            if rows >= most:
                for i in range(0, rows, most):
                    tile(a, b, c, start, min(i, rows - most), j, span, most, WIDE, INSIDE)
            elif rows >= FEW:
                for i in range(0, rows, FEW):
                    tile(a, b, c, start, min(i, rows - FEW), j, span, FEW, WIDE, INSIDE)
            else:
                for i in range(rows):
                    tile(a, b, c, start, i, j, span, 1, WIDE, INSIDE)
        left = columns % span
        if left > lanes:
            wide(a, b, c, start, columns - left)
        elif left:
            narrow(a, b, c, start, columns - left)

    return run
