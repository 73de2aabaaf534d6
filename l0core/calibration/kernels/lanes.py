"""The inner loops over lanes, written for the compiler's back end: what numba's front end would leave scalar.

`pull_slice` gathers eight residuals at once; `push_slice` keeps a slice's weights in registers. They stand for

    for k in range(begin, end, LANES):
        for lane in range(LANES):
            out[at + lane] += data[k + lane] * residual[row[k + lane]]                          # pull
            total[SUMS_A_ROW * row[k + lane] + lane % SUMS_A_ROW] += data[k + lane] * weight[at + lane]  # push

On a processor without gather or wide registers the compiler takes them apart again; the sums are the same.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from l0core.calibration.kernels.compiling import instruction

LANES = 32
SUMS_A_ROW = 4  # neighbours in a slice that add to one row need not wait for one another
_WIDTH = 8  # lanes of one vector

_I32, _I64, _F32 = ir.IntType(32), ir.IntType(64), ir.FloatType()
_FLOATS, _ADDRESSES = ir.VectorType(_F32, _WIDTH), ir.VectorType(_I64, _WIDTH)
_MASK = ir.VectorType(ir.IntType(1), _WIDTH)
_Builder = Any


@instruction
def pull_slice(_context: Any, data: Any, row: Any, begin: Any, end: Any, residual: Any, out: Any, at: Any) -> Any:
    """Give in out[at : at + LANES] the sums of data x residual over one slice."""

    def code(context: Any, builder: _Builder, signature: Any, args: Any) -> Any:
        values, rows, source, target = (_address(context, builder, signature, args, i) for i in (0, 1, 4, 5))
        zero = ir.Constant(_FLOATS, [0.0] * _WIDTH)
        sums = [cgutils.alloca_once_value(builder, zero) for _ in range(LANES // _WIDTH)]
        for total in sums:
            builder.store(zero, total)
        gather = _Gather(builder, source, row.dtype.bitwidth)
        with cgutils.for_range_slice(builder, args[2], args[3], ir.Constant(_I64, LANES), intp=_I64) as (k, _):
            for group, total in enumerate(sums):
                here = builder.add(k, ir.Constant(_I64, group * _WIDTH))
                product = _fma(builder, _load(builder, values, here, _FLOATS), gather(rows, here), builder.load(total))
                builder.store(product, total)
        for group, total in enumerate(sums):
            place = builder.gep(target, [builder.add(args[6], ir.Constant(_I64, group * _WIDTH))])
            builder.store(builder.load(total), builder.bitcast(place, _FLOATS.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(data, row, types.int64, types.int64, residual, out, types.int64), code


@instruction
def push_slice(_context: Any, data: Any, row: Any, begin: Any, end: Any, weight: Any, at: Any, total: Any) -> Any:
    """Add data x weight[at : at + LANES] over one slice to `total`."""

    def code(context: Any, builder: _Builder, signature: Any, args: Any) -> Any:
        values, rows, source, target = (_address(context, builder, signature, args, i) for i in (0, 1, 4, 6))
        lanes = [ir.Constant(_I64, lane) for lane in range(LANES)]
        weights = [builder.load(builder.gep(source, [builder.add(args[5], lane)])) for lane in lanes]
        with cgutils.for_range_slice(builder, args[2], args[3], ir.Constant(_I64, LANES), intp=_I64) as (k, _):
            for number, (lane, factor) in enumerate(zip(lanes, weights, strict=True)):
                here = builder.add(k, lane)
                at_row = builder.zext(builder.load(builder.gep(rows, [here])), _I64)
                four = builder.mul(at_row, ir.Constant(_I64, SUMS_A_ROW))
                place = builder.gep(target, [builder.add(four, ir.Constant(_I64, number % SUMS_A_ROW))])
                value = builder.load(builder.gep(values, [here]))
                builder.store(_fma(builder, value, factor, builder.load(place)), place)
        return context.get_dummy_value()

    return types.void(data, row, types.int64, types.int64, weight, types.int64, total), code


@instruction
def look_up_moments(
    _context: Any, table: Any, cell: Any, past: Any, mean: Any, slope: Any, variance: Any, variance_slope: Any
) -> Any:
    """Give by lane mean, slope, variance and its slope, linear in `past` within the cells of `table` (cells x 4)."""

    def code(context: Any, builder: _Builder, signature: Any, args: Any) -> Any:
        look_up = _LookUp(context, builder, signature, args)
        with look_up.lanes() as here:
            for number, target in ((0, 3), (2, 5)):
                slopes = look_up.column(number + 1)
                look_up.store(look_up.linear(number, slopes), target, here)
                look_up.store(slopes, target + 1, here)
        return context.get_dummy_value()

    return types.void(table, cell, past, mean, slope, variance, variance_slope), code


@instruction
def look_up_means(_context: Any, table: Any, cell: Any, past: Any, mean: Any) -> Any:
    """Give by lane the mean alone."""

    def code(context: Any, builder: _Builder, signature: Any, args: Any) -> Any:
        look_up = _LookUp(context, builder, signature, args)
        with look_up.lanes() as here:
            look_up.store(look_up.linear(0, look_up.column(1)), 3, here)
        return context.get_dummy_value()

    return types.void(table, cell, past, mean), code


class _LookUp:
    """Eight cells of a table of four columns at once; arguments: table, cells, how far past their beginning, results.

    The number of lanes is a multiple of eight, as a slice has 32.
    """

    def __init__(self, context: Any, builder: _Builder, signature: Any, args: Any) -> None:
        self._builder = builder
        self._arrays = [_address(context, builder, signature, args, i) for i in range(len(args))]
        self._n = cgutils.create_struct_proxy(signature.args[1])(context, builder, args[1]).nitems
        self._gather = _Gather(builder, self._arrays[0], 32)

    @contextmanager
    def lanes(self) -> Iterator[Any]:
        """Go through the lanes by eights."""
        builder = self._builder
        with cgutils.for_range_slice(builder, _I64(0), self._n, _I64(_WIDTH), intp=_I64) as (here, _):
            cells = _load(builder, self._arrays[1], here, ir.VectorType(_I32, _WIDTH))
            self._first = builder.shl(cells, ir.Constant(cells.type, [2] * _WIDTH))
            self._past = _load(builder, self._arrays[2], here, _FLOATS)
            yield here

    def column(self, number: int) -> Any:
        """Give this column of the cells."""
        return self._gather.at(self._builder.add(self._first, ir.Constant(self._first.type, [number] * _WIDTH)))

    def linear(self, number: int, slopes: Any) -> Any:
        """Give column + slope x how far past."""
        return _fma(self._builder, self._past, slopes, self.column(number))

    def store(self, values: Any, target: int, here: Any) -> None:
        """Write to a result."""
        place = self._builder.gep(self._arrays[target], [here])
        self._builder.store(values, self._builder.bitcast(place, _FLOATS.as_pointer()), align=4)


class _Gather:
    """Eight entries of a float32 array at the row numbers that lie side by side."""

    def __init__(self, builder: _Builder, source: Any, row_bits: int) -> None:
        self._builder, self._row_bits = builder, row_bits
        address = builder.ptrtoint(source, _I64)
        first = builder.insert_element(ir.Constant(_ADDRESSES, ir.Undefined), address, ir.Constant(_I32, 0))
        everywhere = ir.Constant(ir.VectorType(_I32, _WIDTH), [0] * _WIDTH)
        self._start = builder.shuffle_vector(first, ir.Constant(_ADDRESSES, ir.Undefined), everywhere)
        self._pointers = ir.VectorType(source.type, _WIDTH)
        kind = ir.FunctionType(_FLOATS, [self._pointers, _I32, _MASK, _FLOATS])
        name = f"llvm.masked.gather.v{_WIDTH}f32.v{_WIDTH}p0"
        self._gather = cgutils.get_or_insert_function(builder.module, kind, name)

    def __call__(self, rows: Any, here: Any) -> Any:
        return self.at(_load(self._builder, rows, here, ir.VectorType(ir.IntType(self._row_bits), _WIDTH)))

    def at(self, numbers: Any) -> Any:
        """Give the entries of these numbers."""
        builder = self._builder
        offsets = builder.shl(builder.zext(numbers, _ADDRESSES), ir.Constant(_ADDRESSES, [2] * _WIDTH))
        pointers = builder.inttoptr(builder.add(self._start, offsets), self._pointers)
        all_lanes, nothing = ir.Constant(_MASK, [1] * _WIDTH), ir.Constant(_FLOATS, [0.0] * _WIDTH)
        return builder.call(self._gather, [pointers, ir.Constant(_I32, 4), all_lanes, nothing])


def _address(context: Any, builder: _Builder, signature: Any, args: Any, number: int) -> Any:
    """Give where an array's numbers begin."""
    return cgutils.create_struct_proxy(signature.args[number])(context, builder, args[number]).data


def _load(builder: _Builder, array: Any, here: Any, vector: Any) -> Any:
    """Load a vector from an array that promises no more than its own numbers' alignment."""
    place = builder.bitcast(builder.gep(array, [here]), vector.as_pointer())
    return builder.load(place, align=4 if vector is _FLOATS else vector.element.width // 8)


def _fma(builder: _Builder, a: Any, b: Any, c: Any) -> Any:
    kind = "v8f32" if a.type == _FLOATS else "f32"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(a.type, [a.type] * 3), f"llvm.fma.{kind}")
    return builder.call(function, [a, b, c])
