"""Which documents may be found: by where they are from, how far trusted, and of what time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple

from index.dates import first_day, iso_date, last_day
from index.errors import UserError


class Origin(NamedTuple):
    """What a document can be chosen by (``index.documents.Document``)."""

    id: str
    source: str
    trust: str
    date: str


@dataclass(frozen=True)
class Where:
    """Documents that meet every condition given; without any, all do.

    ``sources``: patterns such as ``reports/*``, one of which the source or the id matches (``*``
    crosses folders). ``trust``: labels, one of which it has. ``since`` and ``until``: days, months
    or years, between which all of the document's own date lies; one without a date does not.

    Raises:
        UserError: ``since`` or ``until`` is no date.
    """

    sources: tuple[str, ...] = ()
    trust: tuple[str, ...] = ()
    since: str = ""
    until: str = ""

    def __post_init__(self) -> None:
        for name in ("since", "until"):
            if (told := getattr(self, name)) != iso_date(told):
                raise UserError(f"--{name} {told}: not a date; give 2024, 2024-05 or 2024-05-31")

    def __bool__(self) -> bool:
        """Whether there is any condition."""
        return self != EVERYWHERE

    def __str__(self) -> str:
        """As it is given to a command."""
        parts = [f"--source {pattern}" for pattern in self.sources]
        parts += [f"--trust {label}" for label in self.trust]
        parts += [f"--{name} {day}" for name in ("since", "until") if (day := getattr(self, name))]
        return " ".join(parts)

    def rows(self, origins: Iterable[Origin]) -> frozenset[int]:
        """Which of the documents, by their place."""
        return frozenset(row for row, origin in enumerate(origins) if self._holds(origin))

    def _holds(self, origin: Origin) -> bool:
        return (
            (not self.sources or any(_matches(origin, p) for p in self.sources))
            and (not self.trust or origin.trust in self.trust)
            and (not (self.since or self.until) or self._in_time(origin.date))
        )

    def _in_time(self, date: str) -> bool:
        return bool(date) and (
            (not self.since or first_day(date) >= first_day(self.since))
            and (not self.until or last_day(date) <= last_day(self.until))
        )


def _matches(origin: Origin, pattern: str) -> bool:
    return fnmatchcase(origin.source, pattern) or fnmatchcase(origin.id, pattern)


EVERYWHERE = Where()
