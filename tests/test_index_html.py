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


def test_a_table_of_contents_says_nothing() -> None:
    page = """<div class="toc"><p>Contents<dl class="toc"><dt><a href="#a">1. Legs of it</a></dl>
    </div><div class="toctree-wrapper compound"><ul><li><a href="b">Feet</a></ul></div>
    <ol class="section-toc"><li>Not one</ol><div id="toc"><a>Humps</a></div><p class="toc">Words"""
    assert extract(page) == ("", "Not one\nWords")


def test_an_overview_that_says_what_things_are_for_stays() -> None:
    page = """<div class="toc"><dl class="toc"><dt><a href="e">EXPLAIN</a> &mdash; show the plan of
    a statement</dt><dt><a href="l">LOCK</a> &mdash; lock a table</dt></dl></div>"""
    told = extract(page)[1]
    assert "EXPLAIN — show the plan of a statement" in told
    assert "LOCK — lock a table" in told


def test_broken_markup_loses_no_text() -> None:
    assert extract("<p>one <b>two<p>three.") == ("", "one two\nthree.")
    assert extract("just words") == ("", "just words")
