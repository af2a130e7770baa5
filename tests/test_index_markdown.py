from __future__ import annotations

import time

import pytest

from index.markdown import extract, plain
from index.sections import Outline, heading


@pytest.mark.parametrize(
    ("marked", "words"),
    [
        ("*Loxodonta africana*, **very** ***big***", "Loxodonta africana, very big"),
        ("_one_ and __two__ but snake_case_name", "one and two but snake_case_name"),
        ("2 * 3 * 4 = 24 and a*b*c", "2 * 3 * 4 = 24 and a*b*c"),
        ("see [the page](https://a.b/c_(d)) and ![a map](map.png)", "see the page and a map"),
        ("a [link][1] and <https://a.b>\n\n[1]: https://a.b\n", "a link and https://a.b\n\n"),
        ("## Later life ##\ntext", f"{heading(2, 'Later life')}\ntext"),
        ("## C# and F#\n## C# #", f"{heading(2, 'C# and F#')}\n{heading(2, 'C#')}"),
        ("> quoted\n> > twice", "quoted\ntwice"),
        ("run `x * y * z` now", "run x * y * z now"),
        (r"\*not emphasis\* 1\. one", "*not emphasis* 1. one"),
        ("- item one\n- item two", "- item one\n- item two"),
        ("a\n\n---\n\nb<!-- note -->", "a\n\n\nb"),
        ("[1] is a footnote [sic]", "[1] is a footnote [sic]"),
    ],
)
def test_marks_go_and_words_stay(marked: str, words: str) -> None:
    assert plain(marked) == words


@pytest.mark.parametrize(
    ("page", "title", "text"),
    [
        ("# The *camel*\n\nA hump.", "The camel", "A hump."),
        ("---\ntitle: 'Camels'\ntags: x\n---\n# Other\nA hump.", "Camels", "A hump."),
        ("Camels\n======\n\nA hump.", "Camels", "A hump."),
        ("A hump.\n\n# Not first", "", f"A hump.\n\n{heading(1, 'Not first')}"),
        ("---\n\nA rule first.", "", "A rule first."),
        ("", "", ""),
    ],
)
def test_title_of_a_page(page: str, title: str, text: str) -> None:
    assert extract(page) == (title, text)


def test_code_is_left_alone() -> None:
    page = "Say *this*:\n```python\nx = a * b * c  # **kept**\n```\nand *that*"
    assert extract(page) == ("", "Say this:\nx = a * b * c  # **kept**\nand that")
    assert extract("~~~\nnever *closed*") == ("", "never *closed*")


@pytest.mark.parametrize(
    "mark", ["[", "![a](", "*a ", "*", "`", "_a", "> ", "<!--", "```\n", "[a]["]
)
def test_unclosed_marks_do_not_take_for_ever(mark: str) -> None:
    """A page of 50,000 backticks took half a minute."""
    start = time.process_time()
    extract(mark * 20_000)
    assert time.process_time() - start < 2


@pytest.mark.parametrize("begin", ["# a", "text\n## a", "---\ntitle: a"])
def test_a_long_gap_in_a_heading_does_not_take_for_ever(begin: str) -> None:
    """The end of a heading was looked for from each of its blanks: cubic in their number."""
    title, text = extract(f"{begin}{' ' * 20_000}b\n---\n")
    assert (title or Outline("").read(text)[0]).split()[-2:] == ["a", "b"]


def test_paragraphs_are_whole_and_code_stays_as_it_is() -> None:
    lines = "The workshop in Udine lends machines out\nfor some weeks"
    page = f"{lines}\n\n```\n{lines}\n```\n\n## A heading of some forty characters and more\nmore"
    told = extract(page)[1]
    assert told.startswith(f"{lines.replace(chr(10), ' ')}\n\n{lines}\n")
    assert told.endswith(f"{heading(2, 'A heading of some forty characters and more')}\nmore")
