"""What is said in subtitles (WebVTT, SubRip), as recorded meetings have them; knows cues, no
documents."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

from index.documents import Unreadable

LONG = 400
"""Characters of one speaker's words after which a sentence ends their paragraph."""
_TIME = re.compile(r"\s*[\d:]{4,12}[.,]\d{1,3}\s+-->")
_VOICE = re.compile(r"<v[^\s<>]{0,40}\s+([^<>]{1,80})>")
_TAG = re.compile(r"<[^<>]*>")
_NAMED = re.compile(r"([^\W\d_a-z][\w.'’ -]{0,40}):\s+(?=\S)")


def extract(page: str) -> tuple[str, str]:
    """``(title, text)``: a paragraph for each speaker in turn, begun with the name where it is
    told; no title, no times.

    Raises:
        Unreadable: there is no cue.
    """
    told: list[list[str]] = []
    speaker = last = ""
    for name, words in _said(page):
        if words == last:  # rolling captions say each line twice
            continue
        last = words
        full = told and sum(map(len, told[-1])) > LONG and told[-1][-1][-1] in ".!?"
        if not told or full or (name and name != speaker):
            speaker = name or speaker
            told.append([f"{speaker}:"] if speaker else [])
        told[-1].append(words)
    return "", "\n".join(map(" ".join, told))


def date(page: str) -> str:
    """None is told."""
    return ""


def _said(page: str) -> Iterator[tuple[str, str]]:
    """Each line of each cue, with its speaker where one is named."""
    cues = 0
    for block in re.split(r"\n[ \t]*\n", page):
        lines = block.strip("\n").split("\n")
        at = next((n for n, line in enumerate(lines[:2]) if _TIME.match(line)), None)
        if at is None:  # the head, a note, or what it looks like
            continue
        cues += 1
        for line in lines[at + 1 :]:
            voice = _VOICE.search(line)
            words = " ".join(unescape(_TAG.sub("", line)).split()).removeprefix("- ")
            named = None if voice else _NAMED.match(words)
            if words:
                name = voice[1].strip() if voice else named[1] if named else ""
                yield name, words[named.end() :] if named else words
    if not cues:
        raise Unreadable(
            "no subtitles: WebVTT or SubRip has lines like 00:01:02.000 --> 00:01:05.000"
        )
