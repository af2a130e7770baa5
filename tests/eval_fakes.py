"""Stand-ins for tests of eval: a tiny index and an answerer, both without a model."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.conditions import PRESENT, Prediction
from eval.questions import Question
from index.retriever import Neighbours, Retriever
from retro.text import contains_answer
from retro.types import Answer, Evidence

PASSAGES = [
    ("Rivers", "The Nile flows north through Egypt into the Mediterranean Sea."),
    ("Rivers", "The Danube rises in the Black Forest and ends in the Black Sea."),
    ("Metals", "Copper melts at 1085 degrees and conducts electricity well."),
    ("Metals", "Mercury is the only metal that is liquid at room temperature."),
    ("Birds", "The ostrich cannot fly but runs at 70 kilometres an hour."),
    ("Birds", "The emperor penguin breeds on the ice of Antarctica in winter."),
]
ROWS: list[dict[str, Any]] = [
    {"question": "Into which sea does the Nile flow?", "answers": ["Mediterranean Sea"], "of": 0},
    {"question": "Where does the Danube rise?", "answers": ["Black Forest"], "of": 1},
    {"question": "At how many degrees does copper melt?", "answers": ["1085"], "of": 2},
    {"question": "Which metal is liquid at room temperature?", "answers": ["Mercury"], "of": 3},
    {"question": "How fast does the ostrich run?", "answers": ["70 kilometres an hour"], "of": 4},
    {"question": "Where does the emperor penguin breed?", "answers": ["Antarctica"], "of": 5},
]


def squad_rows() -> list[dict[str, Any]]:
    """The questions with their passages, as the rows of a SQuAD-style file."""
    return [
        {"id": f"q{number}", "question": row["question"], "answers": row["answers"]}
        | {"title": PASSAGES[row["of"]][0], "context": PASSAGES[row["of"]][1]}
        for number, row in enumerate(ROWS)
    ]


def write_jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def word_tokenizer() -> Any:
    """A fast tokenizer of letters and blanks that needs no file."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocab = {"?": 0} | {chr(code): code for code in range(32, 127) if chr(code) != "?"}
    backend = Tokenizer(models.WordLevel(vocab, unk_token="?"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=backend, name_or_path="letters")


def build_tiny_index(folder: Path) -> Path:
    """The passages, one document each, keys by hashing; the folder of the index."""
    from index.build import build_index
    from index.keys import HashingKeyEncoder

    documents = [
        {"id": f"d{number}", "title": title, "text": text}
        for number, (title, text) in enumerate(PASSAGES)
    ]
    source = write_jsonl(folder / "passages.jsonl", documents)
    out = folder / "index"
    build_index(
        [source], out, embedder=HashingKeyEncoder(), tokenizer=word_tokenizer(), progress=False
    )
    return out


class LookUp:
    """Answers right and surely (.9) if a neighbour holds the answer, else wrong and unsurely (.2).

    It knows the answers, not the conditions: what it says depends on what retrieval brings.
    """

    def __init__(self, retriever: Retriever, threshold: float = 0.5) -> None:
        self.retriever = retriever
        self.threshold = threshold
        self.known = {row["question"]: row["answers"][0] for row in ROWS}

    def find(self, questions: Sequence[str], k: int = 8) -> list[Neighbours]:
        return self.retriever.search_batch(questions, k)

    def find_in(self, doc_id: str, question: str) -> Neighbours:
        return self.retriever.document_neighbours(doc_id, question)

    def answer_batch(
        self,
        questions: Sequence[str],
        *,
        ids: Sequence[str] | None = None,
        k: int = 8,
        exclude: Sequence[Collection[str]] | None = None,
        neighbours: Sequence[Neighbours] | None = None,
        candidates: Sequence[str] | None = None,
    ) -> list[Answer]:
        found = neighbours or self.retriever.search_batch(questions, k, exclude)
        names = list(ids) if ids else [None] * len(questions)
        return [self._answer(*row) for row in zip(names, questions, found, strict=True)]

    def _answer(self, name: str | None, question: str, found: Neighbours) -> Answer:
        wanted = self.known.get(question, "no such thing")
        held = any(contains_answer(text, [wanted]) for text in found.texts)
        candidate, confidence = (wanted, 0.9) if held else ("who knows", 0.2)
        abstained = confidence < self.threshold
        return Answer(
            id=name,
            question=question,
            answer=None if abstained else candidate,
            abstained=abstained,
            reason="insufficient" if abstained else None,
            candidate=candidate,
            confidence=confidence,
            evidence=(Evidence(found.doc_ids[0], "", found.texts[0], 0, 1, 0.1, 0.5),),
            signals={
                "dense_top1": float(found.dense_top[0]),
                "span_probability": confidence / 2,
                "noise": 0.5,
            },
            timing_ms={"retrieval": 2.0, "reading": 4.0},
        )


def prediction(
    name: str,
    confidence: float,
    *,
    right: bool,
    condition: str = PRESENT,
    threshold: float = 0.5,
    group: str | None = None,
    signals: Mapping[str, float] | None = None,
    question: Question | None = None,
    candidate: str | None = None,
) -> Prediction:
    """A prediction whose figures can be computed by hand; the accepted answer is "yes"."""
    asked = question or Question(name, f"question {name}?", ("yes",))
    candidate = candidate or ("yes" if right else "no")
    abstained = confidence < threshold
    answer = Answer(
        id=name,
        question=asked.question,
        answer=None if abstained else candidate,
        abstained=abstained,
        reason="insufficient" if abstained else None,
        candidate=candidate,
        confidence=confidence,
        signals=dict(signals or {}),
    )
    return Prediction(asked, condition, answer, group or name)
