"""The leaderboard as a LaTeX table."""

from collections.abc import Sequence

from tlfeat.runs.labels import full_names
from tlfeat.runs.ranked import RankedRun
from tlfeat.runs.results import leaderboard

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "–": "--", "\n": " ",
}  # fmt: skip


def latex_table(ranked: Sequence[RankedRun]) -> str:
    """Give the leaderboard as a tabular, the best by validation in bold.

    Parameters
    ----------
    ranked : sequence of RankedRun
        Best first.

    Returns
    -------
    text : str
        Needs no package.
    """
    columns = leaderboard(ranked)
    spec = "".join("r" if column.is_number else "l" for column in columns)
    lines = [rf"\begin{{tabular}}{{{spec}}}", r"\hline"]
    lines += [" & ".join(escape(column.title) for column in columns) + r" \\", r"\hline"]
    for row in range(len(ranked)):
        cells = [escape(column.cells[row]) for column in columns]
        if row == 0 and len(ranked) > 1:
            cells = [rf"\textbf{{{cell}}}" for cell in cells]
        lines.append(" & ".join(cells) + r" \\")
    named = [f"% {said}" for said in [full_names(ranked)] if said]
    return "\n".join([*lines, r"\hline", r"\end{tabular}", *named, ""])


def escape(text: str) -> str:
    r"""Write text so that LaTeX prints it.

    Examples
    --------
    >>> print(escape("F1 % of a_b"))
    F1 \% of a\_b
    """
    return "".join(_SPECIAL.get(letter, letter) for letter in text)
