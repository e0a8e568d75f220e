"""Points on the curves of GOST R 34.10-2012, with tables that make signing and verifying fast.

A sum of points is kept as X, Y, ZZ, ZZZ with x = X/ZZ, y = Y/ZZZ and ZZ³ = ZZZ²; ZZ is 0 at
infinity. Points of tables are affine.

There are two ways through. The exact one is the textbook's and knows every special case. Where p is
2^n - c with a small c, as in all sets but CryptoPro-C and its twins, the fast one folds what is
above n bits instead of dividing by p: its numbers grow by a few bits only and may be negative. It
knows no special case. A sum that meets one, a point and itself or its negative, has a ZZ that is 0
modulo p from there to its end; such a sum is made again the exact way.
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
_BASE_WINDOWS: Final = {32: 12, 64: 9}
"""Bits of a digit where a table has every multiple, by the size of numbers in bytes.

That is 22 additions and a table of 45000 points, or 57 and 15000.
"""
_WINDOW: Final = 5
"""Bits of a digit where doublings are needed anyway: digits are odd, from -15 to 15."""
_KEPT_KEYS: Final = 64
_MAX_FOLD: Final = 1 << 16


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


@cache
def _fold(p: int) -> tuple[int, int] | None:
    """Give n and c of p = 2^n - c, c small and of either sign, or nothing."""
    length = p.bit_length()
    near = ((n, (1 << n) - p) for n in (length, length - 1))
    return next((each for each in near if abs(each[1]) < _MAX_FOLD), None)


def _add_base(parameters: ParameterSet, total: _Sum, k: int) -> _Sum:
    """Add k times the base point: a point of the table for every digit of k."""
    p, window = parameters.p, _BASE_WINDOWS[parameters.size]
    half, whole = 1 << (window - 1), 1 << window
    points = []
    for row in _base_table(p, parameters.a, parameters.size, parameters.generator):
        digit = k & (whole - 1)
        k >>= window
        if digit > half:
            k += 1
            x, y = row[whole - digit - 1]
            points.append((x, -y))
        elif digit:
            points.append(row[digit - 1])
    fold = _fold(p)
    if fold and points:
        fast = _add_fast(*fold, total, points)
        if fast[2] % p:
            return fast
    for point in points:
        total = _add(p, parameters.a, total, point)
    return total


def _add_fast(n: int, c: int, total: _Sum, points: Sequence[Point]) -> _Sum:
    """Add affine points, at least one; the steps are those of `_add`."""
    mask = (1 << n) - 1
    x, y, zz, zzz = total
    if not zz:
        (x, y), *points = points
        zz = zzz = 1
    for x2, y2 in points:
        t = x2 * zz - x
        h = (t & mask) + c * (t >> n)
        t = y2 * zzz - y
        r = (t & mask) + c * (t >> n)
        t = h * h
        hh = (t & mask) + c * (t >> n)
        t = h * hh
        hhh = (t & mask) + c * (t >> n)
        t = x * hh
        v = (t & mask) + c * (t >> n)
        t = r * r - hhh - 2 * v
        x = (t & mask) + c * (t >> n)
        # What is multiplied in the next round is folded twice, so that it stays short.
        t = r * (v - x) - y * hhh
        t = (t & mask) + c * (t >> n)
        y = (t & mask) + c * (t >> n)
        t = zz * hh
        t = (t & mask) + c * (t >> n)
        zz = (t & mask) + c * (t >> n)
        t = zzz * hhh
        t = (t & mask) + c * (t >> n)
        zzz = (t & mask) + c * (t >> n)
    return x, y, zz, zzz


def _multiply(parameters: ParameterSet, k: int, point: Point) -> _Sum:
    """Give k times a point from the odd multiples of it, by the digits of k (width-w NAF)."""
    p, a = parameters.p, parameters.a
    if not point[1]:
        # Of order 2, so that there are no multiples to choose from.
        return (*point, 1, 1) if k & 1 else _INFINITY
    multiples = _odd_multiples(p, a, point)
    steps = []
    for digit in _digits(k):
        x, y = multiples[abs(digit) >> 1]
        steps.append((x, y if digit > 0 else -y) if digit else None)
    fold = _fold(p)
    if fold and steps:
        x, y, z = (number % p for number in _multiply_fast(*fold, a, steps))
        if z:
            zz = z * z % p
            return x, y, zz, z * zz % p
    total = _INFINITY
    for step in steps:
        total = _double(p, a, total)
        if step:
            total = _add(p, a, total, step)
    return total


def _multiply_fast(n: int, c: int, a: int, steps: Sequence[Point | None]) -> _Jacobian:
    """Double at every step and add its point; the first step has one.

    In Jacobian coordinates, x = X/Z² and y = Y/Z³, with W = a·Z⁴ for the doublings.
    """
    mask = (1 << n) - 1
    first, *others = steps
    assert first
    x, y = first
    z, w = 1, a
    for point in others:
        x, y, z, w = _double_fast(n, c, mask, (x, y, z, w))
        if point:
            x, y, z = _add_jacobian_fast(n, c, mask, (x, y, z), point)
            t = z * z
            t = (t & mask) + c * (t >> n)
            t = t * t
            t = (t & mask) + c * (t >> n)
            t = a * ((t & mask) + c * (t >> n))
            t = (t & mask) + c * (t >> n)
            w = (t & mask) + c * (t >> n)
    return x, y, z


def _double_fast(n: int, c: int, mask: int, total: _Sum) -> _Sum:
    x, y, z, w = total
    t = y * y
    yy = (t & mask) + c * (t >> n)
    t = 4 * x * yy
    s = (t & mask) + c * (t >> n)
    t = 8 * yy * yy
    u = (t & mask) + c * (t >> n)
    t = 3 * x * x + w
    m = (t & mask) + c * (t >> n)
    t = 2 * y * z
    t = (t & mask) + c * (t >> n)
    z = (t & mask) + c * (t >> n)
    t = m * m - 2 * s
    t = (t & mask) + c * (t >> n)
    x = (t & mask) + c * (t >> n)
    t = m * (s - x) - u
    t = (t & mask) + c * (t >> n)
    y = (t & mask) + c * (t >> n)
    t = 2 * u * w
    t = (t & mask) + c * (t >> n)
    return x, y, z, (t & mask) + c * (t >> n)


def _add_jacobian_fast(n: int, c: int, mask: int, total: _Jacobian, point: Point) -> _Jacobian:
    x, y, z = total
    x2, y2 = point
    t = z * z
    zz = (t & mask) + c * (t >> n)
    t = x2 * zz - x
    h = (t & mask) + c * (t >> n)
    t = z * zz
    t = y2 * ((t & mask) + c * (t >> n)) - y
    r = (t & mask) + c * (t >> n)
    t = h * h
    hh = (t & mask) + c * (t >> n)
    t = h * hh
    hhh = (t & mask) + c * (t >> n)
    t = x * hh
    v = (t & mask) + c * (t >> n)
    t = r * r - hhh - 2 * v
    t = (t & mask) + c * (t >> n)
    x = (t & mask) + c * (t >> n)
    t = r * (v - x) - y * hhh
    t = (t & mask) + c * (t >> n)
    y = (t & mask) + c * (t >> n)
    t = z * h
    t = (t & mask) + c * (t >> n)
    return x, y, (t & mask) + c * (t >> n)


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


@cache
def _base_table(p: int, a: int, size: int, generator: Point) -> Sequence[Sequence[Point]]:
    """Give j * 2^(w·i) times the base point for j from 1 to 2^(w-1), row by row."""
    window, first, rows = _BASE_WINDOWS[size], generator, []
    # A carry out of the last bits of k needs a place.
    for _ in range(8 * size // window + 1):
        row = [first]
        # Each step doubles the row: the last point is added to all of them.
        while len(row) < 1 << (window - 1):
            row += _affine_sums(p, a, row, row[-1])
        (first,) = _affine_sums(p, a, row[-1:], row[-1])
        rows.append(row)
    return rows


@lru_cache(maxsize=_KEPT_KEYS)
def _odd_multiples(p: int, a: int, point: Point) -> Sequence[Point]:
    """Give the point, 3 times the point and so on, as many as digits need."""
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
