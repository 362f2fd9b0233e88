"""Exact decimal text → float64, for numba: the bits equal Python's `float(text)`.

Clinger's fast path where mantissa and power of ten are both exact in float64; else the Eisel–Lemire algorithm
(Lemire, "Number parsing at a gigabyte per second", Softw. Pract. Exper. 2021); what neither decides is left to Python.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_LOW_POWER, _HIGH_POWER = -60, 60


def _power_table() -> tuple[np.ndarray, np.ndarray]:
    """128-bit truncated significands of 5^q, q = -60…60 (reciprocals rounded up), as high and low words."""
    words = []
    for q in range(_LOW_POWER, _HIGH_POWER + 1):
        if q < 0:
            power = 5**-q
            z = (power - 1).bit_length()
            word = 2 ** (z + 127 if q >= -27 else 2 * z + 128) // power + 1
        else:
            word = 5**q << 127
        while word >= 1 << 128:
            word >>= 1
        words.append(word)
    mask = (1 << 64) - 1
    high = np.array([word >> 64 for word in words], dtype=np.uint64)
    low = np.array([word & mask for word in words], dtype=np.uint64)
    return high, low


POWER_HIGH, POWER_LOW = _power_table()
TENS = np.array([10.0**k for k in range(23)])
_LOW32 = np.uint64(0xFFFFFFFF)
_ONE, _TWO, _THREE = np.uint64(1), np.uint64(2), np.uint64(3)
_MASK9 = np.uint64(0x1FF)
_FULL = np.uint64(0xFFFFFFFFFFFFFFFF)
_TOP_BIT = np.uint64(1 << 63)
_FRACTION = np.uint64((1 << 52) - 1)


@njit(cache=True, inline="never")
def _multiply(a, b):  # type: ignore[no-untyped-def]
    """(high, low) words of the 128-bit product of two uint64."""
    shift = np.uint64(32)
    a_low, a_high, b_low, b_high = a & _LOW32, a >> shift, b & _LOW32, b >> shift
    low = a_low * b_low
    middle = a_high * b_low + (low >> shift)
    other = a_low * b_high + (middle & _LOW32)
    return a_high * b_high + (middle >> shift) + (other >> shift), (other << shift) | (low & _LOW32)


@njit(cache=True)
def decimal_bits(mantissa, power):  # type: ignore[no-untyped-def]
    """(bits of the float64 nearest to mantissa × 10^power, decided). mantissa: uint64 > 0; power: int64."""
    if power < _LOW_POWER or power > _HIGH_POWER:
        return np.uint64(0), False
    word = mantissa
    zeros = np.int64(0)
    while word & _TOP_BIT == np.uint64(0):
        word <<= _ONE
        zeros += 1
    high, low = _multiply(word, POWER_HIGH[power - _LOW_POWER])
    if high & _MASK9 == _MASK9:
        second, _ = _multiply(word, POWER_LOW[power - _LOW_POWER])
        low = low + second
        if second > low:
            high += _ONE
    if low == _FULL and (power < -27 or power > 55):
        return np.uint64(0), False
    upper = np.int64(high >> np.uint64(63))
    shift = np.uint64(upper + 9)
    fraction = high >> shift
    exponent = ((217706 * power) >> 16) + 63 + upper - zeros + 1023
    if exponent <= 0:
        return np.uint64(0), False
    halfway = low <= _ONE and power >= -4 and power <= 23 and fraction & _THREE == _ONE
    if halfway and fraction << shift == high:
        fraction &= ~_ONE
    fraction = (fraction + (fraction & _ONE)) >> _ONE
    if fraction >= np.uint64(1 << 53):
        fraction = np.uint64(1 << 52)
        exponent += 1
    if exponent >= 0x7FF:
        return np.uint64(0), False
    return (np.uint64(exponent) << np.uint64(52)) | (fraction & _FRACTION), True
