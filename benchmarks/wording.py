"""How much the way of asking matters: whole questions, careless ones, polite ones and keywords.

    python benchmarks/wording.py

The questions of ``benchmarks/sections.py`` are asked as they are written; in lower case without a
question mark; with "Please tell me" before them; as keywords, which is all but the little words,
with a noun such as "date" or "depth" for "when" or "how deep"; and as keywords that are read as
they are typed, not as questions (``retro.wording``). Printed is, for each
form, how many were answered rightly, wrongly, and though there is no answer. Some three minutes a
form on one core.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

from asked import Counts, counts, print_forms, questions

from retro.overlap import STOP, WORD

HERE = Path(__file__).parent / "sections"
NOUNS = {
    "how long": "duration",
    "how deep": "depth",
    "how wide": "width",
    "how often": "frequency",
    "how much": "amount",
    "how many": "",
    "when": "date",
    "where": "place",
}
LITTLE = STOP | {"how", "me"}


def _careless(question: str) -> str:
    return question.lower().rstrip("?")


def _polite(question: str) -> str:
    return f"Please tell me: {question[0].lower()}{question[1:].rstrip('?')}."


def _keywords(question: str) -> str:
    for asking, noun in NOUNS.items():
        if re.search(rf"\b{asking}\b", question, re.IGNORECASE):
            question = re.sub(rf"\b{asking}\b", "", question, flags=re.IGNORECASE) + f" {noun}"
            break
    words = [w for w in WORD.findall(re.sub("['’]s", "", question)) if _counts(w)]
    return " ".join(words).lower()


def _counts(word: str) -> bool:
    """Not a little word, or one that is part of a name ("Brisa One")."""
    return word.lower() not in LITTLE or (word[0].isupper() and word.lower() == "one")


FORMS: dict[str, Callable[[str], str]] = {
    "as written": str,
    "careless": _careless,
    "polite": _polite,
    "keywords": _keywords,
    "keywords, read as typed": _keywords,
}


def measure(form: str, folder: Path) -> Counts:
    """Counts of right and wrong answers to the questions in one form."""
    rows = questions(HERE / "questions.jsonl")
    asked = {FORMS[form](row["question"]): row["answers"] for row in rows}
    with patch("retro.answer.as_question", str) if "typed" in form else nullcontext():
        return counts(HERE, asked, folder / "index")


if __name__ == "__main__":
    print_forms(str(__doc__), FORMS, measure)
