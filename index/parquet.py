"""Rows of a Parquet file, a few at a time; knows columns, nothing of documents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from index.documents import File, Unreadable

COLUMNS = ("id", "title", "text", "source", "trust", "date")
ROWS = 64
"""Rows in memory at a time: one stored text may be repeated in thousands of them."""


def rows(file: File) -> Iterator[dict[str, Any]]:
    """Each row's ``text`` and, where the file has them, the other ``COLUMNS``.

    Raises:
        Unreadable: it is broken, has no column of strings ``text``, or expands too much.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(file.seekable())
        _check(table, file)
        columns = [name for name in COLUMNS if name in table.schema_arrow.names]
        for batch in table.iter_batches(ROWS, columns=columns, use_threads=False):
            yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise Unreadable(f"broken Parquet: {error}") from error


def _check(table: Any, file: File) -> None:
    if "text" not in table.schema_arrow.names:
        raise Unreadable("no column 'text' (may also have 'id' and 'title')")
    metadata = table.metadata
    for group in range(metadata.num_row_groups):
        file.allowance.spend(max(metadata.row_group(group).total_byte_size, 0))
