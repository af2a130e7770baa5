"""Names that do not exist: how they look, and what is counted of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from eval_fakes import LookUp, build_tiny_index, prediction, squad_rows

from eval.invented import INVENTED, REAL, NameForge, invented_figures, run
from eval.questions import Question
from index.errors import UserError
from index.keys import HashingKeyEncoder
from index.retriever import Retriever

NAMES = (
    "Amundsen Bernhard Cassini Darwin Edison Fermi Galilei Herschel Huygens Kepler Lovelace Mendel "
    "Newton Orellana Pasteur Rutherford Schubert Tesla Vespucci Wallace Beethoven Mozart Kahlo"
).split()
KNOWN = frozenset(name.lower() for name in NAMES)


def test_a_name_looks_like_those_it_knows_and_is_none_of_them() -> None:
    forge = NameForge(NAMES, KNOWN)
    letters = set("".join(NAMES).lower())
    for _ in range(30):
        word = forge.word(7)
        assert word[0].isupper()
        assert 4 <= len(word) <= 9
        assert set(word.lower()) <= letters
        assert word.lower() not in KNOWN
    assert NameForge(NAMES, KNOWN, seed=3).word(6) == NameForge(NAMES, KNOWN, seed=3).word(6)


def test_the_longest_name_is_replaced_and_the_words_around_it_stay() -> None:
    forge = NameForge(NAMES, KNOWN)
    forged = forge.forged(Question("q", "When did Darwin first climb Mount Orellana?", ("1835",)))
    assert forged is not None
    assert forged.question.startswith("When did Darwin first climb Mount ")
    assert "Orellana" not in forged.question
    assert (forged.id, forged.answers) == ("q-invented", ())
    genitive = forge.forged(Question("q", "Who found Herschel's planet?", ("x",)))
    assert genitive is not None
    assert genitive.question.endswith("'s planet?")
    assert forge.forged(Question("q", "Which metal is the lightest?", ("x",))) is None


def test_names_that_are_too_few_or_too_alike_are_a_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="too few and too alike"):
        NameForge(["Aaaa"], frozenset({"a" * n for n in range(30)})).word(5)
    store = Retriever.open(build_tiny_index(tmp_path), HashingKeyEncoder()).store
    with pytest.raises(UserError, match="fewer than 20 names"):
        NameForge.of_store(store)


def test_shares_are_those_of_each_kind() -> None:
    rows = [
        prediction("a", 0.9, right=True, condition=REAL),
        prediction("b", 0.2, right=True, condition=REAL),
        prediction("c", 0.1, right=False, condition=REAL),
        prediction("d", 0.3, right=False, condition=INVENTED),
        prediction("e", 0.8, right=False, condition=INVENTED),
    ]
    figures = invented_figures(rows)
    assert figures["kinds"][REAL]["declined"] == 2
    assert figures["kinds"][INVENTED]["share"] == 0.5
    assert figures["over_refusal"] == 0.5
    assert figures["auroc_real"] == pytest.approx(2 / 6)
    assert [row["id"] for row in figures["answered_invented"]] == ["e"]


def test_real_and_invented_names_are_asked_in_pairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in finds the answer of a question that it knows, and of no other."""
    made = LookUp(Retriever.open(build_tiny_index(tmp_path), HashingKeyEncoder()))
    monkeypatch.setattr(NameForge, "of_store", lambda *_: NameForge(NAMES, KNOWN))
    rows = [{**row, "answers": tuple(row["answers"])} for row in squad_rows()]
    others = [Question("s", "Why is there something?", ()), Question("t", "Is it?", ("yes",))]
    report = run(made, [Question(**row) for row in rows], tmp_path, others=others, k=6)
    kinds = report.figures["kinds"]
    assert kinds["real"]["num"] == kinds["invented"]["num"] == 2, "the Nile and the Danube"
    assert (kinds["real"]["declined"], kinds["invented"]["share"]) == (0, 1.0)
    assert kinds["unanswerable"]["num"] == kinds["answerable"]["num"] == 1
    assert "| invented | 2 | 2 | 1.000 | insufficient 2 |" in report.markdown({})
    with pytest.raises(UserError, match="no answerable question in --data holds a name"):
        run(made, others, tmp_path)
