"""How numbers are written for people; what is no number is a dash."""

from math import floor, log10

NBSP = "\N{NO-BREAK SPACE}"
DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"


def fixed(value: object, digits: int, sign: str = "") -> str:
    """Return a number with so many decimals; `sign` is `+` where a plus is to be shown."""
    if not isinstance(value, int | float):
        return DASH
    rounded = round(value, digits) + 0.0  # + 0.0: no sign before a zero
    return f"{rounded:{sign if rounded else ''},.{digits}f}".replace("-", MINUS)


def decimal(value: object) -> str:
    """Return a number such as an AUC with three decimals."""
    return fixed(value, 3)


def signed(value: object) -> str:
    """Return a difference with its sign and three decimals."""
    return fixed(value, 3, "+")


def amount(value: object) -> str:
    """Return a count with thousands separated."""
    return fixed(value, 0)


def percent(value: object, spread: float | None = None) -> str:
    """Return a share as `97.2 %`, with a standard deviation as `97.2 ± 0.3 %`."""
    if not isinstance(value, int | float):
        return DASH
    return f"{fixed(100 * value, 1)}{_beside(spread)}{NBSP}%"


def pp(value: object, spread: float | None = None) -> str:
    """Return a difference of shares in percentage points, `+1.2` or `+1.2 ± 0.3`, unit left out."""
    if not isinstance(value, int | float):
        return DASH
    return f"{fixed(100 * value, 1, '+')}{_beside(spread)}"


def times(value: object) -> str:
    """Return a ratio as `4.5x` or `28x`, with the sign of multiplication."""
    if not isinstance(value, int | float):
        return DASH
    return f"{value:.2g}{TIMES}" if value < 10 else f"{value:,.0f}{TIMES}"


def significant(value: object) -> str:
    """Return a number of any size with three significant digits."""
    if not isinstance(value, int | float):
        return DASH
    size = abs(value)
    if size < 1e-9:  # rounding of sums, not a result
        return "0"
    if size < 1e-4:
        return f"{value:.1e}".replace("-", MINUS)
    return fixed(value, max(0, 2 - floor(log10(size))))


def seconds(value: object) -> str:
    """Return a duration as `5.2 ms`, `0.85 s`, `4.1 min` or `2.3 h`."""
    if not isinstance(value, int | float):
        return DASH
    for size, unit in ((3600, "h"), (60, "min")):
        if value >= size:
            return f"{value / size:.1f}{NBSP}{unit}"
    if 0 < value < 0.1:
        return f"{significant(1000 * value)}{NBSP}ms"
    return f"{value:.{0 if value == 0 else 2 if value < 10 else 1}f}{NBSP}s"


def count(number: int, noun: str) -> str:
    """Return `1 record`, `2 records`."""
    return f"{amount(number)} {noun}{'' if number == 1 else 's'}"


def short(text: str, length: int) -> str:
    """Return `text`, cut to at most `length` characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _beside(spread: float | None) -> str:
    return "" if spread is None else f"{NBSP}±{NBSP}{fixed(100 * spread, 1)}"
