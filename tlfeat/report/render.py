"""From a template and values to one HTML file, with its style and its script in it."""

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

TEMPLATES: Final = Path(__file__).with_name("template")
_STYLES: Final = ("page", "map")
# One script on the page: each file may use what stands before it.
_SCRIPTS: Final = (
    "base", "tables", "pictures", "confusion", "mistakes", "pairs", "cost", "parts", "map",
)  # fmt: skip


def render(template: str, **values: Any) -> str:
    """Fill a template; the values are data, and all of them are escaped.

    Parameters
    ----------
    template : str
        Its name, such as "page".
    **values
        What it names.

    Returns
    -------
    text : str
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    style, script = _joined(_STYLES, "css"), _joined(_SCRIPTS, "js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["as_json"] = as_json
    return environment.get_template(f"{template}.html.jinja").render(
        **values,
        style=Markup(style),  # noqa: S704 - our own files
        script=Markup(script),  # noqa: S704
        script_digest=digest,
    )


def _joined(names: Sequence[str], kind: str) -> str:
    return "".join((TEMPLATES / f"{name}.{kind}").read_text(encoding="utf-8") for name in names)


def as_json(value: Any) -> Any:
    """Write a value as JSON that can stand in an HTML page, whatever names are in it.

    Parameters
    ----------
    value : Any
        Of plain JSON types.

    Returns
    -------
    text : markupsafe.Markup
        Without "<", ">" and "&", so that no text in it can end the block it stands in.
    """
    from markupsafe import Markup

    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)  # noqa: S704 - nothing in it is markup any more
