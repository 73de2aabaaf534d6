"""Numbers as a reader writes them."""

import math

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def percent(share: float, *, signed: bool = False) -> str:
    """Give a share as text in percent with three significant digits.

    >>> percent(-0.58783, signed=True), percent(0.000012), percent(1e-9), percent(0.0), percent(31.4)
    ('−58.8 %', '0.00120 %', '<0.0001 %', '0 %', '3,140 %')
    """
    if not math.isfinite(share):
        return "no number"
    sign = "" if share == 0 or not (signed or share < 0) else "−" if share < 0 else "+"
    return f"{sign}{_unsigned_percent(abs(share))} %" if share == 0 or abs(share) >= 1e-6 else "<0.0001 %"


def counted(n: int, noun: str) -> str:
    """Give a number with its noun.

    >>> counted(1, "target"), counted(37_000, "target")
    ('1 target', '37,000 targets')
    """
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def power_of_ten(mantissa: float, exponent: int) -> str:
    """Give mantissa x 10^exponent as a reader writes it.

    >>> power_of_ten(3, -2), power_of_ten(1, 4), power_of_ten(1, -7), power_of_ten(2.5, 9)
    ('0.03', '10,000', '10⁻⁷', '2.5×10⁹')
    """
    if -4 <= exponent <= 5:
        return f"{mantissa * 10.0**exponent:,g}"
    return f"{'' if mantissa == 1 else f'{mantissa:g}×'}10{str(exponent).translate(_SUPERSCRIPTS)}"


def short_number(value: float, *, shift: int = 0) -> str:
    """Give value x 10^shift with three significant digits, whatever its size.

    >>> short_number(6.56e-19), short_number(-1.7e308, shift=2), short_number(1234.5), short_number(math.nan)
    ('6.56×10⁻¹⁹', '−1.7×10³¹⁰', '1,230', 'no number')
    """
    if not math.isfinite(value):
        return "no number"
    mantissa, _, exponent = f"{abs(value):.2e}".partition("e")
    return f"{'−' if value < 0 else ''}{power_of_ten(float(mantissa), int(exponent) + shift)}"


def _unsigned_percent(share: float) -> str:
    if share == 0:
        return "0"
    if share >= 1e4:
        return short_number(share, shift=2)
    decimals = 2 - math.floor(math.log10(share * 100))
    return f"{share * 100:,.{max(0, decimals)}f}"
