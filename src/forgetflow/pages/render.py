"""One HTML document from a template: self-contained, everything escaped, no clock, no network.

jinja2 is imported when the first page is made, so that nothing else waits for it.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

from forgetflow.pages import numbers

if TYPE_CHECKING:
    from jinja2 import Environment

FILTERS = (
    numbers.amount,
    numbers.count,
    numbers.decimal,
    numbers.percent,
    numbers.seconds,
    numbers.signed,
    numbers.times,
)


def render(template: str, **data: Any) -> str:
    """Return the page of `templates/<template>.html`; a name that `data` lacks is an error."""
    return _environment().get_template(f"{template}.html").render(data)


def anchor(kind: str, name: str) -> str:
    """Return the fragment under which a page shows something of this name."""
    return f"{kind}-{name}".replace(" ", "-")


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("forgetflow", "pages/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {one.__name__: one for one in FILTERS}
    environment.globals["anchor"] = anchor
    return environment
