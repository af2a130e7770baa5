"""What sources bring to an index that holds some of it: read once, kept on disk, compared by id."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from index.errors import UserError
from index.sources import Document, Item, Skipped
from index.store import TokenStore


class Unchanged(Exception):
    """The sources hold nothing that the index does not hold."""


@dataclass
class Changes:
    """New and changed documents, in ``file``; ``replaced`` are the rows of the changed ones."""

    file: Path
    replaced: set[int] = field(default_factory=set)
    _sources: set[int] = field(default_factory=set)

    def items(self) -> Iterator[Item]:
        """The new and changed documents and what was skipped, in order."""
        with self.file.open(encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                yield Document.of(row) if "text" in row else Skipped(**row)

    def __contains__(self, skipped: Skipped) -> bool:
        """Whether its file, or place in one, was read again, and so told anew what is skipped."""
        places = (skipped.source, skipped.source.rpartition(":")[0])  # ``file:line`` and ``file``
        return any(hash(place) in self._sources for place in places)

    def note(self, item: Item) -> None:
        self._sources.add(hash(item.source))


def changes(store: TokenStore, items: Iterable[Item], file: Path, update: bool) -> Changes:
    """Reads all items, and writes those to ``file`` which the index does not hold as they are.

    Raises:
        UserError: no item is a document, or, without ``update``, an id is there already.
        Unchanged: all documents are there already, as they are.
    """
    found = Changes(file)
    first, num_documents, num_new = None, 0, 0
    with file.open("w", encoding="utf-8") as lines:
        for item in items:
            found.note(item)
            if isinstance(item, Skipped):
                first = first or item
            else:
                num_documents += 1
                if _is_held(store, item, update, found.replaced):
                    continue
                num_new += 1
            lines.write(json.dumps(vars(item), ensure_ascii=False) + "\n")
    if not num_documents:
        reason = f"all was skipped: {first.source}: {first.reason}" if first else "no documents"
        raise UserError(f"nothing to add: {reason}; give other sources")
    if not num_new:
        raise Unchanged
    return found


def _is_held(store: TokenStore, document: Document, update: bool, replaced: set[int]) -> bool:
    """Whether the index holds the document as it is; if it holds another text, notes its row."""
    row = store.rows.get(document.id)
    if row is None:
        return False
    if not update:
        raise UserError(
            f"'{document.id}' ({document.source}) is in the index already; "
            "replace it with: retro index update DIR SOURCE"
        )
    held = store.document(row)
    if replace(document, source=held.source) == held:
        return True
    replaced.add(row)
    return False
