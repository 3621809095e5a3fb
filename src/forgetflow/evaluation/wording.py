"""How numbers and guarantees are written for people."""

from math import floor, log10

GUARANTEES = {
    "exact": "Exact: the weights equal, byte for byte, those of a build that never had the "
    "forgotten records. This holds within one numeric environment, and for deletion requests "
    "that do not depend on the published models (non-adaptive).",
    "certified": "Certified: the model is statistically close to a build without the forgotten "
    "records, up to its epsilon and delta, while the budget lasts. This holds under the method's "
    "assumptions and for requests that do not depend on the published models (non-adaptive).",
    "approximate": "Approximate: no promise. All there is are the measured figures beside those of "
    "a model retrained without the records. Passing the gate means that no bound was broken, "
    "not that the records are gone.",
}

ORIGINAL = (
    "First build: it learned from every record and has forgotten none. Later generations are "
    "held against it."
)

NBSP = "\N{NO-BREAK SPACE}"
DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"


def percent(value: object) -> str:
    """Return a share as `97.2 %`, or a dash."""
    return f"{100 * value:.1f}{NBSP}%" if isinstance(value, int | float) else DASH


def decimal(value: object) -> str:
    """Return a figure such as an AUC with three decimals, or a dash."""
    return f"{value:.3f}" if isinstance(value, int | float) else DASH


def signed(value: object) -> str:
    """Return a difference with its sign and three decimals, or a dash."""
    text = f"{value:+.3f}" if isinstance(value, int | float) else DASH
    return text.replace("-", MINUS)


def significant(value: object) -> str:
    """Return a figure of any size with three significant digits, or a dash."""
    if not isinstance(value, int | float):
        return DASH
    size = abs(value)
    if size < 1e-9:  # rounding of sums, not a figure
        return "0"
    if size >= 1000:
        text = f"{value:,.0f}"
    elif size < 1e-4:
        text = f"{value:.1e}"
    else:
        text = f"{value:.{max(0, 2 - floor(log10(size)))}f}"
    return text.replace("-", MINUS)


def amount(value: object) -> str:
    """Return a count with thousands separated, or a dash."""
    return f"{value:,.0f}" if isinstance(value, int | float) else DASH


def seconds(value: object) -> str:
    """Return a duration as `0.8 s`, `4.1 min` or `2.3 h`, or a dash."""
    if not isinstance(value, int | float):
        return DASH
    for size, unit in ((3600, "h"), (60, "min")):
        if value >= size:
            return f"{value / size:.1f}{NBSP}{unit}"
    digits = 0 if value == 0 else 3 if value < 0.01 else 2 if value < 10 else 1
    return f"{value:.{digits}f}{NBSP}s"


def short(text: str, length: int) -> str:
    """Return `text`, cut to at most `length` characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"
