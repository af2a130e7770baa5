"""What is read of reStructuredText."""

from __future__ import annotations

from pathlib import Path

from index.sections import MARK
from index.sources import Document, read_documents

LONG = "It gives the file back in a mode that was asked for. " * 5


def read(tmp_path: Path, page: str) -> Document:
    (tmp_path / "a.rst").write_text(page)
    [document] = read_documents([tmp_path / "a.rst"])
    assert isinstance(document, Document)
    assert MARK not in document.text
    return document


def test_text_without_marks_under_its_headings(tmp_path: Path) -> None:
    page = (
        "=====\nFiles\n=====\n\nA **file** is `opened <https://x.y>`_ by ``open``; see "
        ":func:`the others <os.open>`, :mod:`~os.path`,\nand :ref:`files`.\n\n"
        "Reading\n-------\n\n* H\\ :sub:`2`\\ O\n\n.. code-block:: python\n\n   open(1)\n\n"
        ".. a comment\n\n.. _label:\n\nModes\n~~~~~\n\n|release| text"
    )
    document = read(tmp_path, page)
    assert document.title == "Files"
    assert document.text.split("\n") == [
        "Files",
        "A file is opened by open; see the others, os.path, and files.",
        "Reading",
        "H2O",
        "open(1)",
        "Modes",
        "|release| text",
    ]
    assert [s.name for s in document.sections] == ["", "Reading", "Reading › Modes"]


def test_a_title_with_signs_of_html(tmp_path: Path) -> None:
    """They were escaped twice."""
    assert (
        read(tmp_path, "*Files* & more <x>\n==================\n\ntext").title == "Files & more <x>"
    )


def test_tables_and_lists_of_definitions(tmp_path: Path) -> None:
    page = (
        "====  =====\nName  Price\n====  =====\nRope  9 €\nHook  1 €\n====  =====\n\n"
        f"-j n\n    {LONG}\n\n-v\n    more words\n\n:Author: Jo\n"
    )
    document = read(tmp_path, page)
    assert document.text.startswith("Name Rope: Price 9 €.\nName Hook: Price 1 €.\n-j n\n")
    assert document.text.split("\n")[-3:] == ["", "-v: more words", "Author: Jo"]
    assert [section.name for section in document.sections] == ["-j n", ""]
    assert document.parts()[-1].strip().startswith("-v: more words")


def test_what_sphinx_describes_is_a_term(tmp_path: Path) -> None:
    page = (
        "Title\n=====\n\n.. module:: files\n   :synopsis: none\n\n"
        ".. py:function:: open(*file*, \\\n                         mode='r')\n   :noindex:\n\n"
        f"   {LONG}\n\n   .. versionchanged:: 3.9\n      Also with ``x``.\n\n"
        "   .. deprecated:: 3.10\n\n.. data:: name_\n\n   The *name*.\n\n"
        ".. seealso::\n\n   The others.\n\n   Many.\n\n"
        ".. toctree::\n   :maxdepth: 2\n\n   others\n\n.. note:: Be *careful*.\n\n"
        ".. include:: /etc/hostname\n\n.. raw:: html\n\n   <b>raw</b>\n\n.. image:: a.png\n\nEnd."
    )
    document = read(tmp_path, page)
    assert [s.name for s in document.sections] == ["open(*file*, mode='r')", ""]
    _, described, last = document.parts()
    assert [line for line in described.split("\n") if line] == [
        "Title",
        "open(*file*, mode='r')",
        LONG.strip(),
        "Changed in version 3.9: Also with x.",
        "Deprecated since version 3.10:",
    ]
    assert [line for line in last.split("\n") if line] == [
        "name_: The name.",
        "The others.",
        "Many.",
        "Note",
        "Be careful.",
        "End.",
    ]


def test_broken_markup_loses_no_words(tmp_path: Path) -> None:
    page = (
        "Short\n==\n\nAn *open mark and ``code\n\n.. unknown::\n\n"
        ".. table:: x\n\n   none\n\n|x| end_"
    )
    text = read(tmp_path, page).text
    for words in ("Short", "*open mark and ``code", "none", "|x| end_"):
        assert words in text
    assert "System" not in text
