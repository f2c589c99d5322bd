"""How long work tells whoever watches: how far it is, and what is worth knowing.

The library prints nothing. A caller that wants to see something hands in a `Watch`;
the command line draws a bar and prints the notes, a notebook may collect them.
"""

from collections.abc import Sequence


class Watch:
    """Somebody who watches a long piece of work. This one looks away.

    A subclass overrides what it wants to hear, and is handed in as ``watch``. Works tell of
    themselves from any thread.

    Examples
    --------
    >>> import tlfeat
    >>> class Printed(tlfeat.Watch):
    ...     def note(self, text):
    ...         print(text)
    >>> where = tlfeat.Where(watch=Printed())
    >>> run = tlfeat.train("garments", head="lda", watch=Printed())  # doctest: +SKIP
    """

    def parts(self, names: Sequence[str]) -> None:
        """Hear of what parts the work consists ("features", "heads", "page"), in their order."""

    def part(self, name: str) -> None:
        """Hear that a part begins, to which belongs what is told from now on.

        One of which nothing is left to do never begins.
        """

    def doing(self, text: str) -> None:
        """Hear what is done now ("reading DATA"), where nobody can say how long it takes.

        It is over with the next `doing`, `start` or `finish`.
        """

    def start(self, what: str, total: int) -> None:
        """Hear that `total` steps of `what` ("embedding", "fitting", ...) begin."""

    def step(self, n: int = 1) -> None:
        """Hear that `n` more steps are done."""

    def now(self, what: str) -> None:
        """Hear what exactly the work is at ("lda on last:avg"); from any thread."""

    def finish(self) -> None:
        """Hear that what was begun is over, done or not."""

    def note(self, text: str) -> None:
        """Hear one sentence that the user should know."""

    def warn(self, text: str) -> None:
        """Hear one sentence of what was found damaged, which nobody may keep quiet."""
        self.note(text)


SILENT = Watch()
