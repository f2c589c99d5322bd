"""What MkDocs does beside its plugins for the site; mkdocs.yml names this file.

Pages of public names are made here, since their text stands in docstrings; so are those of files
that lie beside docs/. And a site that would fetch something from elsewhere is refused.
"""

import re
import typing
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

import tlfeat
from tlfeat.settings import settings_of

ROOT: Final = Path(__file__).parents[1]
BESIDE: Final = ("CHANGELOG.md", "CONTRIBUTING.md")  # of docs/
_ELSEWHERE: Final = r"""["'`]?\s*(?:https?:)?//[^>\s]+"""
_TAGS: Final = "audio|embed|iframe|image|img|input|link|object|script|source|track|use|video"
_LOADS: Final = {
    ".html": re.compile(
        rf"<(?:{_TAGS})\b[^>]*?\s(?:src|href|poster|data)="
        + _ELSEWHERE
        # of several pictures any
        + r"""|<(?:img|source|link)\b[^>]*?\s(?:image)?srcset="""
        + r"""(?:"[^"]*?|'[^']*?|)(?:https?:)?//\S+"""
        # for such a diagram the theme fetches a program
        + r"""|class=["'][^"']*\bmermaid\b""",
        re.IGNORECASE,
    ),
    ".css": re.compile(rf"@import\s*(?:url\()?{_ELSEWHERE}|url\({_ELSEWHERE}", re.IGNORECASE),
    ".js": re.compile(
        rf"\b(?:import|importScripts|fetch|Worker|EventSource|WebSocket)\s*\(?\s*{_ELSEWHERE}"
        + rf"|\bfrom\s*(?=[\"'`]){_ELSEWHERE}"
        + rf"|\.(?:src|data|poster)\s*=\s*(?=[\"'`]){_ELSEWHERE}"
    ),
}
_WITHIN: Final = {".html": (".html", ".css", ".js"), ".css": (".css",), ".js": (".js",)}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each public name, and those of files that lie beside docs/."""
    described: set[str] = set()  # types without a page of their own: where one is given first
    for name in tlfeat.__all__:
        given = [one for one in _given_by(name) if one not in described]
        described.update(given)
        page = "\n\n".join([_home(name), *(f"::: {one}" for one in given)])
        text = f"# {name}\n\n{page}\n"
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    for name in BESIDE:
        text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let links out of docs/ lead to those pages: on a code host they lead to the files."""
    return re.sub(rf"\]\(((?:\.\./)*)\.\./({'|'.join(BESIDE)})", r"](\1\2", markdown)


def on_post_build(config: MkDocsConfig) -> None:
    """Refuse a site that a browser would fetch something from elsewhere for."""
    for page in sorted(Path(config.site_dir).rglob("*")):
        if page.suffix in _WITHIN and (
            found := fetched(page.read_text(encoding="utf-8"), page.suffix)
        ):
            raise PluginError(f"{page} would fetch from elsewhere: {found}")


def fetched(text: str, suffix: str) -> str | None:
    """Give the first thing that a browser would fetch from elsewhere for a file, if any.

    A link that a reader may follow is none. A page may have styles and scripts in it.
    """
    if suffix == ".html":
        text = re.sub(r"(<(pre|code)\b[^>]*>).*?</\2>", r"\1", text, flags=re.DOTALL)  # shown
    found = (_LOADS[kind].search(text) for kind in _WITHIN[suffix])
    return next((one[0] for one in found if one), None)


def _home(name: str) -> str:
    """Give the line that asks for the docstring of a public name."""
    asked = f"::: {tlfeat._HOME[name]}.{name}"
    public = getattr(tlfeat, name)
    if is_dataclass(public) and settings_of(public):  # its signature is all help texts
        asked += "\n    options:\n      show_signature: false"
    return asked


def _given_by(name: str) -> list[str]:
    """Name the types of ours that a function gives and that have no page of their own."""
    public = getattr(tlfeat, name)
    if isinstance(public, type):
        return []
    found, types = [], [typing.get_type_hints(public).get("return")]
    while types:
        one = types.pop()
        types += typing.get_args(one)
        module = str(getattr(one, "__module__", ""))
        ours = isinstance(one, type) and module.startswith("tlfeat.")
        if ours and one.__name__ not in tlfeat.__all__:
            found.append(f"{module}.{one.__name__}")
    return found
