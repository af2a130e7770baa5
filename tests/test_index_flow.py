"""Paragraphs that were broken for their width, and what was not."""

from __future__ import annotations

from textwrap import indent, wrap

import pytest

from index.flow import unwrapped
from index.mail import extract
from index.sections import heading

PROSE = (
    "The manufacturer grants three years, or 15,000 cups, whichever comes first. The grinder of "
    "the Brisa Duo is covered for five years, as are the hoses (but not the seals). Repairs are "
    "done by the workshop of Anna Rossi in Udine, and a machine is lent out for all that time."
)


@pytest.mark.parametrize("width", [50, 64, 72, 79, 100])
@pytest.mark.parametrize("margin", ["", "    "])
def test_a_paragraph_is_whole_but_for_where_a_sentence_ends(width: int, margin: str) -> None:
    broken = indent("\n".join(wrap(PROSE, width)), margin)
    lines = unwrapped(broken).split("\n")
    assert " ".join(line.strip() for line in lines) == PROSE
    assert all(line.endswith(".") for line in lines)


@pytest.mark.parametrize(
    "text",
    [
        "Anna Rossi\nand Bruno Verdi\nof Udine",  # short lines are broken on purpose
        "It grants what is told in the following list here:\nthree years, or 15,000 cups",
        "The workshop in Udine lends machines out for weeks.\nand does repairs",
        "The workshop in Udine lends machines out for weeks\n- and does repairs\n- and more",
        "Monday to Friday from eight to eighteen o'clock\nSaturday from nine to noon in summer",
        "| machine of the family | years that are granted\n| the duo | three",
        "machine of the family   years that are granted\nthe duo   three",
        "int warranty = years_of(machine, country, date);\nreturn warranty;",
        f"The workshop in Udine lends machines out for\n{heading(2, 'some weeks')}\nand more",
        "The workshop in Udine lends machines out for\n\nsome weeks",
        "",
        "\n\n",
    ],
)
def test_other_lines_stay(text: str) -> None:
    assert unwrapped(text) == text


def test_code_stays_where_a_format_has_it_indented() -> None:
    code = "    the machines that the workshop in Udine lends\n    out for weeks"
    assert unwrapped(code, code=True) == code
    item = "    - the machines that the workshop in Udine lends\n      out for weeks"
    assert unwrapped(item, code=True) == item.replace("\n      ", " ")
    assert unwrapped(code) == code.replace("\n    ", " ")


def test_mails_are_broken_too() -> None:
    mail = "From: a@b.c\n\nThe workshop in Udine lends machines out for\nsome weeks.\n"
    assert "lends machines out for some weeks." in extract(mail.encode())[2]
