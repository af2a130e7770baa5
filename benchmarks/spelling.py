"""How often a slip of the pen is understood, and how often one is seen where there is none.

    python benchmarks/spelling.py --index squad-index --questions dev-v1.1-rest.jsonl --limit 1000

Each question is looked at as it is written, and with one slip in one of its words of four letters
and more: a letter left out, swapped with the next, added or exchanged, all at random. Printed is
how many questions get a suggestion as they are written; how many slips get the question back, none,
or another; and the milliseconds that a suggestion takes. No model is run.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
from pathlib import Path
from string import ascii_lowercase

from eval.questions import read_questions, sample
from index.lexical import STOPWORDS, fold
from index.retriever import Retriever
from index.spelling import LEAST
from retro.config import RetroConfig
from retro.retrofit import load_windower
from retro.shipped import DEFAULT_CHECKPOINT

WORD = re.compile(r"[^\W\d_]+")
"""What can be misspelt."""


def slipped(word: str, rng: random.Random) -> str:
    """The word with one slip at a random place; it may be the same by chance."""
    at, letter = rng.randrange(len(word)), rng.choice(ascii_lowercase)
    before, here, after = word[:at], word[at], word[at + 1 :]
    ways = [after, after[:1] + here + after[1:], letter + here + after, letter + after]
    return before + rng.choice(ways)


def misspelt(question: str, rng: random.Random) -> str:
    """The question with a slip in one of its words; the same if it has none that can have one."""
    words = [m for m in WORD.finditer(question) if _long(m[0])]
    if not words:
        return question
    word = rng.choice(words)
    return question[: word.start()] + slipped(word[0], rng) + question[word.end() :]


def _long(word: str) -> bool:
    return len(word) >= LEAST and word.isascii() and fold(word) not in STOPWORDS


def main() -> None:
    """Prints one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=1000)
    given = parser.parse_args()
    rng = random.Random(0)
    questions = [q.question for q in sample(read_questions(given.questions), given.limit)]
    pairs = [(q, typed) for q in questions if (typed := misspelt(q, rng)) != q]
    config = RetroConfig.from_pretrained(DEFAULT_CHECKPOINT)
    assert config.encoder_name
    assert config.base_name
    is_word = load_windower(config.encoder_name, config.base_name).is_word
    retriever = Retriever.open(given.index)
    unasked = sum(bool(retriever.spelling(q, is_word).respelt) for q in questions)
    start = time.perf_counter()
    told = [(retriever.spelling(typed, is_word).respelt, q) for q, typed in pairs]
    spent = time.perf_counter() - start
    meant = sum(fold(said) == fold(q) for said, q in told if said)
    none = sum(not said for said, _ in told)
    found = {"as written": len(questions), "suggested": unasked, "slips": len(pairs)}
    found |= {"meant": meant, "none": none, "another": len(pairs) - meant - none}
    print(json.dumps(found | {"ms": round(1000 * spent / len(pairs), 1)}))


if __name__ == "__main__":
    main()
