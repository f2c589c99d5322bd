"""Names that are HTML: the page shows them and does nothing else with them."""

from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

from made_study import made_rows, make_run

from faults.common import Outcome, Scene

_NAMES = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "</title><script>alert(1)</script>",
    "{{ 7 * 7 }}",
    "<!--",
    "]]><script>alert(1)</script>",
    "javascript:alert(1)",
    "</style><b>",
    "&lt;b&gt;",
    "\u2028</script><script>alert(1)//",
)


def of_names(scene: Scene, count: int) -> Outcome:
    """Name classes, pictures, groups, runs and datasets with markup, and parse the page."""
    outcome = Outcome("names that are HTML")
    innocent = _elements(scene, "innocent", ["class a", "class b"])
    for number, name in enumerate(_NAMES[:count]):
        found = _elements(scene, f"study-{number}", [name, f"{name} b"])
        outcome.tried += 1
        for tag in ("script", "style", "iframe", "object", "b"):
            if found[tag] != innocent[tag]:
                outcome.wrong.append(f"{name}: {found[tag]} <{tag}>, wanted {innocent[tag]}")
        outcome.wrong += [f"{name}: {what}" for what in found if what.startswith("! ")]
    return outcome


def _elements(scene: Scene, folder: str, classes: list[str]) -> Counter[str]:
    from tlfeat.report.page import write_page

    rows = made_rows(classes, {"train": 20, "test": 20}, groups=2)
    rows = [row._replace(id=f"{classes[0]}{row.id}", group=classes[0]) for row in rows]
    study = scene.folder / folder
    runs = [
        make_run(study, f"{classes[0]}-{n}", classes, rows, seed=n, source=classes[0])
        for n in range(2)
    ]
    page = _Page()
    page.feed(Path(write_page(study, runs)).read_text(encoding="utf-8"))
    return page.found


class _Page(HTMLParser):
    """Counts elements, and what would run a script."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found[tag] += 1
        for name, value in attrs:
            if name.startswith("on"):
                self.found[f"! {tag} has {name}"] += 1
            if (value or "").strip().lower().startswith("javascript:") and name in ("href", "src"):
                self.found[f"! {tag} has {name}={value}"] += 1
