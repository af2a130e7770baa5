from __future__ import annotations

import time

import pytest

from index.sections import heading
from index.wikitext import plain


@pytest.mark.parametrize(
    ("markup", "words"),
    [
        ("'''Mars''' is a [[planet]] of the [[Sun|star]].", "Mars is a planet of the star."),
        ("a<ref name=x>{{cite|[[y]]}}</ref> b<ref name=x /> c", "a b c"),
        ("{{Infobox|a={{b|c}}\n|d=e}}Text {{nested {{deep}} one}}here", "Text here"),
        ("[[File:M.jpg|thumb|A [[red]] ''picture'']]Text[[Category:A]][[de:Mars]]", "Text"),
        (
            "== History ==\n* one\n** [http://a.b two]\n: three",
            f"{heading(1, 'History')}\none\ntwo\nthree",
        ),
        ("{| class=x\n! a\n|-\n| 1 {{b}}\n|}\nText", "Text"),
        ("5&nbsp;km &lt;b&gt; x<br/>y<!-- [[no]] -->", "5 km <b> x\ny"),
        ("Mars ({{IPA|x}}) is [sic] red <b>and</b> cold. __NOTOC__", "Mars is [sic] red and cold."),
        ("[[Star Trek: The Motion Picture]] and [[:Category:A|the category]]",
         "Star Trek: The Motion Picture and"),
        ("never {{closed and [[open", "never closed and open"),
        ("a }} b ]] c |} d", "a b c d"),
    ],
)  # fmt: skip
def test_marks_go_and_sentences_stay(markup: str, words: str) -> None:
    assert plain(markup) == words


@pytest.mark.parametrize("mark", ["[[", "{{", "<ref>", "[[a|", "<!--", "[http://a ", "( ", "{|\n"])
def test_unclosed_marks_do_not_take_for_ever(mark: str) -> None:
    """A parser that was tried first did not end on 20,000 unclosed tags."""
    start = time.process_time()
    plain(mark * 20_000 + "]]}}" * 20_000)
    assert time.process_time() - start < 2
