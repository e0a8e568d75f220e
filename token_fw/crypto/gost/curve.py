"""Points on the curves of GOST R 34.10-2012, with tables that make signing and verifying fast.

A sum of points is kept as X, Y, ZZ, ZZZ with x = X/ZZ, y = Y/ZZZ and ZZ³ = ZZZ²; ZZ is 0 at
infinity. Points of tables are affine, so that adding one takes nine reductions modulo p.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from typing import Final

from token_fw.crypto.gost.parameter_sets import ParameterSet

Point = tuple[int, int]
_Sum = tuple[int, int, int, int]
_Jacobian = tuple[int, int, int]

_INFINITY: Final[_Sum] = (1, 1, 0, 0)
_WINDOW: Final = 5
"""Bits of a digit where doublings are needed anyway: digits are odd, from -15 to 15."""
_KEPT_KEYS: Final = 64


def multiply_base(parameters: ParameterSet, k: int) -> Point:
    """Give k times the base point; k is from 1 to q - 1."""
    return _affine(parameters, _add_base(parameters, _INFINITY, k))


def multiply(parameters: ParameterSet, k: int, point: Point) -> Point | None:
    """Give k times a point of the curve, k of 0 or more; None is infinity."""
    total = _multiply(parameters, k, point)
    return _affine(parameters, total) if total[2] else None


def add_products(parameters: ParameterSet, k: int, l: int, point: Point) -> Point | None:
    """Give k times the base point plus l times a point, 0 to q - 1 each; None is infinity."""
    total = _add_base(parameters, _multiply(parameters, l, point), k)
    return _affine(parameters, total) if total[2] else None


def _affine(parameters: ParameterSet, total: _Sum) -> Point:
    p = parameters.p
    x, y, zz, zzz = total
    inverse = pow(zzz, -1, p)
    # ZZ/ZZZ is 1/Z, and its square 1/ZZ.
    return x * pow(zz * inverse, 2, p) % p, y * inverse % p


def _add(p: int, a: int, total: _Sum, point: Point) -> _Sum:
    """Add an affine point, which may be the sum itself or its negative."""
    x1, y1, zz, zzz = total
    x2, y2 = point
    if not zz:
        return x2, y2, 1, 1
    h = (x2 * zz - x1) % p
    r = (y2 * zzz - y1) % p
    if not h:
        return _INFINITY if r else _double(p, a, total)
    hh = h * h % p
    hhh = h * hh % p
    v = x1 * hh % p
    x3 = (r * r - hhh - 2 * v) % p
    return x3, (r * (v - x3) - y1 * hhh) % p, zz * hh % p, zzz * hhh % p


def _double(p: int, a: int, total: _Sum) -> _Sum:
    x, y, zz, zzz = total
    u = 2 * y
    v = u * u % p
    w = u * v % p
    s = x * v % p
    m = (3 * x * x + a * zz * zz) % p
    x3 = (m * m - 2 * s) % p
    return x3, (m * (s - x3) - w * y) % p, v * zz % p, w * zzz % p


def _add_base(parameters: ParameterSet, total: _Sum, k: int) -> _Sum:
    """Add k times the base point: one point of the table for every byte of k."""
    p, a = parameters.p, parameters.a
    x, y, zz, zzz = total
    digits = k.to_bytes(parameters.size, "little")
    rows = zip(_base_table(parameters), digits, strict=True)
    for x2, y2 in [row[digit] for row, digit in rows if digit]:
        h = (x2 * zz - x) % p
        if h and zz:
            r = y2 * zzz - y
            hh = h * h % p
            hhh = h * hh % p
            v = x * hh % p
            x = (r * r - hhh - 2 * v) % p
            y = (r * (v - x) - y * hhh) % p
            zz = zz * hh % p
            zzz = zzz * hhh % p
        else:
            x, y, zz, zzz = _add(p, a, (x, y, zz, zzz), (x2, y2))
    return x, y, zz, zzz


def _multiply(parameters: ParameterSet, k: int, point: Point) -> _Sum:
    """Give k times a point from the odd multiples of it, by the digits of k (width-w NAF)."""
    p, a = parameters.p, parameters.a
    if not point[1]:
        # Of order 2, so that there are no multiples to choose from.
        return (*point, 1, 1) if k & 1 else _INFINITY
    multiples = _odd_multiples(parameters, point)
    total: _Jacobian = (1, 1, 0)
    waiting = 0
    for digit in _digits(k):
        waiting += 1
        if digit:
            x, y = multiples[abs(digit) >> 1]
            total = _double_times(p, a, waiting, total)
            total = _add_jacobian(p, a, total, (x, y if digit > 0 else -y))
            waiting = 0
    x, y, z = _double_times(p, a, waiting, total)
    zz = z * z % p
    return x, y, zz, z * zz % p


def _digits(k: int) -> Sequence[int]:
    """Give the digits of k to base 2, first the highest: 0 or odd, 4 zeros after each odd one."""
    digits = []
    half, whole = 1 << (_WINDOW - 1), 1 << _WINDOW
    while k:
        digit = 0
        if k & 1:
            digit = k & (whole - 1)
            if digit >= half:
                digit -= whole
            k -= digit
        digits.append(digit)
        k >>= 1
    return digits[::-1]


def _double_times(p: int, a: int, times: int, total: _Jacobian) -> _Jacobian:
    """Double a point in Jacobian coordinates, x = X/Z² and y = Y/Z³, so many times."""
    x, y, z = total
    if not z or not times:
        return total
    w = a * pow(z, 4, p) % p
    for _ in range(times):
        yy = y * y % p
        s = 4 * x * yy % p
        u = 8 * yy * yy % p
        m = 3 * x * x + w
        z = 2 * y * z % p
        x = (m * m - 2 * s) % p
        y = (m * (s - x) - u) % p
        w = 2 * u * w % p
    return x, y, z


def _add_jacobian(p: int, a: int, total: _Jacobian, point: Point) -> _Jacobian:
    """Add an affine point, which may be the sum itself or its negative."""
    x1, y1, z1 = total
    x2, y2 = point
    if not z1:
        return x2, y2, 1
    zz = z1 * z1 % p
    h = (x2 * zz - x1) % p
    r = (y2 * z1 * zz - y1) % p
    if not h:
        return (1, 1, 0) if r else _double_times(p, a, 1, total)
    hh = h * h % p
    hhh = h * hh % p
    v = x1 * hh % p
    x3 = (r * r - hhh - 2 * v) % p
    return x3, (r * (v - x3) - y1 * hhh) % p, z1 * h % p


@cache
def _base_table(parameters: ParameterSet) -> Sequence[Sequence[Point]]:
    """Give j * 256^i times the base point for j below 256 (that of 0 is never used), row by row."""
    p, a = parameters.p, parameters.a
    first, rows = parameters.generator, []
    for _ in range(parameters.size):
        row: list[Point] = [first]
        # Each step doubles the row: the last point is added to all of them.
        while len(row) < 128:
            row += _affine_sums(p, a, row, row[-1])
        row += _affine_sums(p, a, row, row[-1])
        first = row.pop()
        rows.append([first, *row])
    return rows


@lru_cache(maxsize=_KEPT_KEYS)
def _odd_multiples(parameters: ParameterSet, point: Point) -> Sequence[Point]:
    """Give the point, 3 times the point and so on, as many as digits need."""
    p, a = parameters.p, parameters.a
    (twice,) = _affine_sums(p, a, [point], point)
    multiples = [point]
    while len(multiples) < 1 << (_WINDOW - 2):
        multiples += _affine_sums(p, a, [multiples[-1]], twice)
    return multiples


def _affine_sums(p: int, a: int, points: Iterable[Point], other: Point) -> list[Point]:
    """Add one point to many; none of the sums is infinity. One inversion does for all."""
    x2, y2 = other
    points = list(points)
    slopes = [(y2 - y1, x2 - x1) if x1 != x2 else (3 * x1 * x1 + a, 2 * y1) for x1, y1 in points]
    products = [1]
    for _, divisor in slopes:
        products.append(products[-1] * divisor % p)
    inverse = pow(products.pop(), -1, p)
    sums = []
    for (x1, y1), (dividend, divisor) in zip(reversed(points), reversed(slopes), strict=True):
        slope = dividend * inverse * products.pop() % p
        inverse = inverse * divisor % p
        x3 = (slope * slope - x1 - x2) % p
        sums.append((x3, (slope * (x1 - x3) - y1) % p))
    return sums[::-1]
