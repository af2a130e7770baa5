from __future__ import annotations

from index.html import extract
from index.sections import heading

PAGE = """<!doctype html><html><head><title>The
  camel</title><style>p {color: red}</style></head><body>
<nav>Home <ul><li>Menu</ul></nav><h1>Camels</h1>
<p>A camel   has <b>one</b> hump&nbsp;&mdash; or two.<br>It drinks.</p>
<script>if (1 < 2) alert("</p>")</script><table><tr><td>Legs<td>4</table></body></html>"""


def test_text_of_blocks_one_a_line_without_scripts_and_menus() -> None:
    title, text = extract(PAGE)
    assert title == "The camel"
    assert text.split("\n") == [
        heading(1, "Camels"),
        "A camel has one hump — or two.",
        "It drinks.",
        "Legs",
        "4",
    ]


def test_broken_markup_loses_no_text() -> None:
    assert extract("<p>one <b>two<p>three.") == ("", "one two\nthree.")
    assert extract("just words") == ("", "just words")
