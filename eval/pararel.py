"""ParaRel's facts and wordings as questions and a corpus that holds them; asks no model.

    python -m eval.pararel pararel.tar.gz --corpus corpus.jsonl.xz --out folder

Writes ``questions.jsonl`` (for ``retro eval paraphrases``) and ``passages.jsonl`` (for ``retro
index build``). A fact is taken if a document with its subject for a title holds its object. ParaRel
(Elazar et al. 2021) words a relation as statements to be completed; ``pararel_forms.json`` holds
them as questions, without the relations of many objects (a border, a twin city: one fact, several
right answers). The corpus is these documents and as many others as ``--others`` says. The
archive's pickles are not read.
"""

from __future__ import annotations

import argparse
import io
import json
import tarfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from index.disk import claim, write_atomically
from index.errors import UserError
from index.sources import Document, read_documents
from retro.text import contains_answer

Row = dict[str, Any]
FACTS = "trex_lms_vocab"
FORMS: dict[str, list[str]] = json.loads(
    Path(__file__).with_name("pararel_forms.json").read_text(encoding="utf-8")
)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--corpus", type=Path, required=True, help="anything that can be indexed")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--facts", type=int, default=4, help="at most, a relation")
    parser.add_argument("--wordings", type=int, default=4, help="at most, a fact")
    parser.add_argument("--others", type=int, default=2000, help="other documents")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    claim(options.out)
    facts = read(options.archive)
    documents = [d for d in read_documents([options.corpus]) if isinstance(d, Document)]
    rng = np.random.default_rng(options.seed)
    asked, used = questions(
        facts, documents, rng, num_facts=options.facts, num_wordings=options.wordings
    )
    rest = [n for n in rng.permutation(len(documents)) if n not in used][: options.others]
    chosen = [documents[n] for n in sorted([*used, *map(int, rest)])]
    kept = [{"id": d.id, "title": d.title, "text": d.text} for d in chosen]
    for name, rows in (("questions", asked), ("passages", kept)):
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_atomically(options.out / f"{name}.jsonl", lines)
    num_facts = len({row["title"] for row in asked})
    print(
        f"{options.out}: {len(asked):,} questions of {num_facts:,} facts, {len(kept):,} documents"
    )


def read(archive: Path) -> dict[str, list[tuple[str, str]]]:
    """Pairs of subject and object, by relation.

    Raises:
        UserError: it is not ParaRel's archive.
    """
    facts: dict[str, list[tuple[str, str]]] = {}
    try:
        with tarfile.open(archive) as files:
            for member in files:
                file = Path(member.name)
                if file.suffix != ".jsonl" or file.parent.name != FACTS:
                    continue
                if stream := files.extractfile(member):
                    lines = filter(str.strip, io.TextIOWrapper(stream, "utf-8"))
                    rows = map(json.loads, lines)
                    facts[file.stem] = [(row["sub_label"], row["obj_label"]) for row in rows]
    except (OSError, tarfile.TarError, ValueError, KeyError) as error:
        raise UserError(f"{archive}: not ParaRel's archive ({error})") from error
    if not facts:
        raise UserError(f"{archive}: no {FACTS}/*.jsonl in it")
    return facts


def questions(
    facts: dict[str, list[tuple[str, str]]],
    documents: Sequence[Document],
    rng: np.random.Generator,
    *,
    num_facts: int,
    num_wordings: int,
) -> tuple[list[Row], set[int]]:
    """Rows to ask, wordings of a fact with one ``title``; and the documents that hold the facts."""
    titled: dict[str, list[int]] = defaultdict(list)
    for number, document in enumerate(documents):
        titled[document.title].append(number)
    rows: list[Row] = []
    used: set[int] = set()
    for relation in sorted(FORMS.keys() & facts.keys()):
        taken = 0
        for n in rng.permutation(len(facts[relation])):
            subject, answer = facts[relation][n]
            holding = [d for d in titled[subject] if contains_answer(documents[d].text, [answer])]
            if not holding or taken == num_facts:
                continue
            taken += 1
            used.update(holding)
            for i, form in enumerate(rng.permutation(FORMS[relation])[:num_wordings]):
                rows.append(
                    {
                        "id": f"{relation}-{taken}-{i}",
                        "title": f"{relation} {subject}",
                        "question": str(form).replace("[X]", subject),
                        "answers": [answer],
                    }
                )
    return rows, used


if __name__ == "__main__":
    main()
