"""How well a technical manual is asked: PostgreSQL 15's, some 1,170 pages of HTML.

    apt-get download postgresql-doc-15 && dpkg -x postgresql-doc-15_*.deb pages
    python benchmarks/manual.py --documents pages/usr/share/doc/postgresql-doc-15/html

Asked are questions about settings, limits, commands and history that the manual answers, and such
about settings and facts that do not exist or that it does not tell. Printed is how many were
answered rightly, wrongly, and though there is no answer: of those that were looked at while the
reading of manuals was made, and of those that were written before and asked first afterwards.
Twenty minutes on one core, most of them to build the index.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from asked import counts, questions

HERE = Path(__file__).parent / "manual"


def main() -> None:
    """Prints a JSON line for the questions that were looked at, and one for the others."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=Path, required=True)
    documents = parser.parse_args().documents
    rows = questions(HERE / "questions.jsonl")
    with tempfile.TemporaryDirectory() as folder:
        for seen in (True, False):
            asked = {row["question"]: row["answers"] for row in rows if row["seen"] is seen}
            found = counts(documents, asked, Path(folder, "index"))
            print(json.dumps({"looked at": seen} | found), flush=True)


if __name__ == "__main__":
    main()
