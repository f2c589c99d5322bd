"""What axe-core finds of a page in the browser: https://github.com/dequelabs/axe-core."""

from importlib.resources import files
from typing import Any


def violations(page: Any) -> list[str]:
    """Say which of axe's rules a page breaks, and where; it is whole, with all that is folded."""
    script = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    page.evaluate(script)  # from outside, which the page's policy does not forbid
    found = page.evaluate("axe.run(document)")
    return [
        f"{rule['id']} ({rule['impact']}): {node['target']} {node['html'][:160]}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]
