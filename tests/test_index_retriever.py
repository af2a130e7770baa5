from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from index_fakes import FACTS, small_index, tiny_tokenizer, write_facts, write_jsonl

from index.chunks import whole_words
from index.errors import UserError
from index.fusion import best_places, fuse
from index.keys import HashingKeyEncoder
from index.retriever import Neighbours, Retriever

QUESTIONS = ("Which planet is the hottest?", "How many strings has a violin?", "zeppelin 1937")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("index")
    small_index(write_facts(folder), folder / "out")
    return folder / "out"


@pytest.fixture(scope="module")
def retriever(folder: Path) -> Retriever:
    return Retriever.open(folder)


def test_the_document_that_answers_comes_first(retriever: Retriever) -> None:
    found = retriever.search_batch(QUESTIONS[:2], k=3)
    assert [n.doc_ids[0] for n in found] == ["venus", "violin"]
    assert [n.titles[0] for n in found] == ["Venus", "Violin"]


def test_neighbours_are_windows_of_their_documents(retriever: Retriever) -> None:
    for found in retriever.search_batch(QUESTIONS, k=4):
        for row in range(len(found)):
            text = FACTS[found.titles[row]]
            assert found.texts[row] == text[found.starts[row] : found.ends[row]]
            first, last = found.offsets[row][0, 0], found.offsets[row][-1, 1]
            assert tiny_tokenizer().decode(found.tokens[row]) == text[first:last]
            assert (found.starts[row], found.ends[row]) == whole_words(text, first, last)


def test_figures_of_neighbours_are_what_they_say(retriever: Retriever) -> None:
    question = QUESTIONS[0]
    found = retriever.search(question, k=4)
    key = retriever.encoder.encode([question])[0]
    texts = [_key_text(retriever, int(c)) for c in found.chunk_ids]
    cosines = retriever.encoder.encode(texts) @ key
    np.testing.assert_allclose(found.distances, 1 - cosines, atol=2e-3)  # keys are float16
    assert (np.diff(found.scores) <= 0).all()
    assert (np.diff(found.dense_top) >= 0).all()
    assert (np.diff(found.lexical_top) <= 0).all()
    assert found.dense_top[0] <= found.distances.min()
    assert found.lexical_top[0] >= found.lexical.max()
    best = int(np.argmin(found.distances))
    assert found.dense_rank[best] == min(r for r in found.dense_rank if r >= 0)


def _key_text(retriever: Retriever, chunk: int) -> str:
    row, start, end = retriever.store.chunk_span(chunk)
    document = retriever.store.document(row)
    return f"{document.title}. {document.text[start:end]}"


def test_no_neighbour_lies_in_the_window_of_a_better_one(retriever: Retriever) -> None:
    for found in retriever.search_batch(QUESTIONS, k=30):
        for row, chunk in enumerate(found.chunk_ids):
            before = {int(c) for c in found.chunk_ids[:row]}
            windows = before | {retriever.store.continuation(c) for c in before}
            assert int(chunk) not in windows


def test_some_neighbours_are_themselves_and_the_database_stays_as_near(
    retriever: Retriever,
) -> None:
    all_, fewer = retriever.search(QUESTIONS[0], k=8), retriever.search(QUESTIONS[0], k=3)
    some = all_.select([1, 4, 6])
    assert len(some) == 3
    assert some.doc_ids == tuple(all_.doc_ids[i] for i in (1, 4, 6))
    for name, value in vars(fewer).items():
        if name in ("dense_top", "lexical_top"):
            np.testing.assert_array_equal(getattr(some, name), value)
        elif name not in ("searched", "absent"):
            whole, part = getattr(all_, name), getattr(some, name)
            assert len(part) == 3, name
            for place, i in enumerate((1, 4, 6)):
                np.testing.assert_array_equal(part[place], whole[i])


def test_a_batch_gives_what_single_questions_give(retriever: Retriever) -> None:
    _assert_same(
        retriever.search_batch(QUESTIONS, k=5), [retriever.search(q, k=5) for q in QUESTIONS]
    )


def test_threads_can_share_a_retriever(retriever: Retriever) -> None:
    """The page answers several people at once; a stemmer belongs to one thread only."""
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda q: retriever.search(q, k=5), QUESTIONS * 10))
    _assert_same(found, retriever.search_batch(QUESTIONS * 10, k=5))


def test_excluded_documents_count_as_absent(tmp_path: Path, retriever: Retriever) -> None:
    """Searching around a document gives what an index built without it gives, ranks and all."""
    rest = [{"id": t.lower(), "title": t, "text": x} for t, x in FACTS.items() if t != "Venus"]
    small_index(write_jsonl(tmp_path / "rest.jsonl", rest), tmp_path / "out")
    rest_only = Retriever.open(tmp_path / "out")
    without = rest_only.search(QUESTIONS[0], k=5)
    around = retriever.search(QUESTIONS[0], k=5, exclude=["venus", "never heard of"])
    assert "venus" not in around.doc_ids
    np.testing.assert_allclose(around.dense_top, without.dense_top, atol=1e-6)
    assert around.doc_ids == without.doc_ids
    # A chunk's length is still measured by the mean of all, so BM25 differs a little.
    np.testing.assert_allclose(around.lexical, without.lexical, rtol=0.02)
    seen = retriever.vocabulary(around.absent)
    for word in ("venus", "planet", "copper", "zeppelin"):
        assert seen.idf(word) == rest_only.vocabulary().idf(word)


def test_exclusions_belong_to_their_question(retriever: Retriever) -> None:
    both = retriever.search_batch([QUESTIONS[0]] * 2, k=3, exclude=[["venus"], []])
    assert "venus" not in both[0].doc_ids
    assert both[1].doc_ids[0] == "venus"
    with pytest.raises(ValueError, match="1 exclusions for 2 questions"):
        retriever.search_batch(QUESTIONS[:2], exclude=[[]])


def test_everything_excluded_leaves_no_neighbour(retriever: Retriever) -> None:
    found = retriever.search(QUESTIONS[0], exclude=[t.lower() for t in FACTS])
    assert len(found) == 0
    assert len(found.dense_top) == len(found.lexical_top) == 0


def test_all_windows_of_one_document(retriever: Retriever) -> None:
    found = retriever.document_neighbours("camel", "How much water can a camel drink?")
    chunks = retriever.store.chunks_of(retriever.store.rows["camel"])
    assert sorted(found.chunk_ids) == list(chunks)
    assert set(found.doc_ids) == {"camel"}
    assert sorted(found.dense_rank) == list(range(len(chunks)))
    assert (np.diff(found.scores) <= 0).all()
    with pytest.raises(KeyError):
        retriever.document_neighbours("dromedary", "?")


def test_a_question_without_a_known_word_still_has_dense_neighbours(retriever: Retriever) -> None:
    found = retriever.search("zeppelin", k=3)
    assert len(found) == 3
    assert not found.lexical.any()
    assert retriever.vocabulary().idf("zeppelin") > retriever.vocabulary().idf("planet")
    assert len(retriever.search("", k=2)) == 2


def test_fusing_takes_both_sides() -> None:
    cosines = np.asarray([0.9, 0.1, 0.6], dtype=np.float32)
    bm25 = np.asarray([0.0, 9.0, 8.0], dtype=np.float32)
    assert np.argmax(fuse(cosines, bm25)) == 2
    assert np.argmax(fuse(cosines, np.zeros(3, np.float32))) == 0


def test_best_places_are_the_highest_above_zero() -> None:
    scores = np.asarray([0, 3, 0, 5, 3, 4], dtype=np.float32)
    assert best_places(scores, 2).tolist() == [3, 5]
    assert best_places(scores, 100).tolist() == [3, 5, 1, 4]
    assert best_places(np.zeros(4, np.float32), 2).tolist() == []


def test_another_embedder_is_told_in_one_line(folder: Path) -> None:
    class Other(HashingKeyEncoder):
        def encode(self, texts: Sequence[str]) -> np.ndarray:
            return np.roll(super().encode(texts), 1, axis=1)

    for encoder in (Other(), HashingKeyEncoder(dim=64)):
        with pytest.raises(UserError, match="another embedder") as error:
            Retriever.open(folder, encoder)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_broken_index_is_told_in_one_line(tmp_path: Path, damage: str) -> None:
    manifest = small_index(write_facts(tmp_path), tmp_path / "out")
    for name in manifest.files:
        file = tmp_path / "out" / manifest.version / name
        content = file.read_bytes()
        if not content:
            continue
        file.unlink() if damage == "gone" else file.write_bytes(content[:-1])
        with pytest.raises(UserError, match=file.name):
            Retriever.open(tmp_path / "out")
        file.write_bytes(content)
    Retriever.open(tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no index there"),
        ("{", "not readable"),
        ("[]", "not a manifest"),
        ('{"format": 99}', "format 99, this version reads 3"),
        ('{"format": 3, "files": {}}', "damaged"),
    ],
)
def test_a_manifest_that_is_none(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(UserError, match=message):
        Retriever.open(tmp_path)


def _assert_same(some: Sequence[Neighbours], others: Sequence[Neighbours]) -> None:
    for one, other in zip(some, others, strict=True):
        assert one.doc_ids == other.doc_ids
        for name in ("chunk_ids", "dense_rank", "lexical_rank"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        for name in ("distances", "lexical", "scores", "dense_top", "lexical_top"):
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-6)
