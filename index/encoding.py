"""From bytes to text: byte order marks, UTF-8, UTF-16, else a guess; knows no formats.

A file that is no UTF-8 is told from its bytes by charset-normalizer. That is a guess, and between
the code pages of the Latin alphabet hardly more than the language it seems to be written in.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from functools import partial
from typing import IO

from index.documents import Unreadable

BLOCK = 1 << 20
SAMPLE = 1 << 16
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark begins it
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
CANDIDATES = "cp1250 cp1251 cp1252 cp1253 cp1254 koi8_r cp932 euc_jp gb18030 big5 euc_kr".split()
LATIN = frozenset({"cp1250", "cp1252", "cp1254"})
LATIN_OF = dict.fromkeys(
    "Croatian Czech Hungarian Polish Romanian Slovak Slovene".split(), "cp1250"
)
LATIN_OF["Turkish"] = "cp1254"
WRITTEN = ("cp125", "cp932", "iso8859", "koi8", "shift_jis", "euc_", "gb", "big5", "mac")
CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
DECLARED = re.compile(
    rb"<meta[^<>]{0,200}?charset\s{0,9}=\s{0,9}[\"']?([\w-]{1,40})", re.IGNORECASE
)


def detect(stream: IO[bytes], *, html: bool = False) -> tuple[str, bool]:
    """``(codec, guessed)`` of a stream, which is read once and left at its beginning.

    An HTML page may declare its encoding.

    Raises:
        Unreadable: the bytes are no text.
    """
    head = stream.read(SAMPLE)
    codec = marked(head) or _wide(head)
    sample = b"" if codec else _not_utf8(head, stream)
    stream.seek(0)
    if not sample:
        return codec or "utf-8", False
    declared = _declared(head) if html else ""
    return (declared, False) if declared else (guess(sample), True)


def pieces(stream: IO[bytes], codec: str) -> Iterator[str]:
    """The text of a stream, a block at a time, with plain line ends; what is damaged becomes �."""
    decoder = codecs.getincrementaldecoder(codec)("replace")
    held = ""
    for block in iter(partial(stream.read, BLOCK), b""):
        text = held + decoder.decode(block)
        held = text[-1:] if text.endswith("\r") else ""  # its \n may begin the next block
        yield _plain(text[: len(text) - len(held)])
    yield _plain(held + decoder.decode(b"", final=True))


def decode(stream: IO[bytes], *, html: bool = False) -> tuple[str, str]:
    """``(text, remark)`` of a whole stream; the remark is empty unless the encoding was guessed.

    Raises:
        Unreadable: the bytes are no text.
    """
    codec, guessed = detect(stream, html=html)
    return "".join(pieces(stream, codec)), remark(codec) if guessed else ""


def remark(codec: str) -> str:
    """What to tell of a file that was read in a guessed encoding."""
    if codec == "utf-8":
        return "damaged UTF-8; what could not be read stands as �"
    return f"not UTF-8; read as {codec}, a guess: check its letters with accents"


def guess(sample: bytes) -> str:
    """The likeliest codec of bytes that are not UTF-8.

    Raises:
        Unreadable: the bytes are no text.
    """
    from charset_normalizer import from_bytes

    if len(CONTROL.findall(sample)) > len(sample) // 100:
        raise Unreadable("binary, not text")
    if _nearly_utf8(sample):
        return "utf-8"
    best = from_bytes(sample, cp_isolation=CANDIDATES).best()
    if best is None:
        raise Unreadable("binary, or text of an unknown encoding; save it as UTF-8")
    return LATIN_OF.get(best.language, "cp1252") if best.encoding in LATIN else best.encoding


def marked(head: bytes) -> str:
    """The codec that a byte order mark at the very beginning names, else nothing."""
    return next((codec for mark, codec in MARKS.items() if head.startswith(mark)), "")


def _wide(head: bytes) -> str:
    """UTF-16 without a mark: in most scripts every other byte is zero.

    Raises:
        Unreadable: there are zero bytes, but in no such order.
    """
    zeros = head.count(0)
    if not zeros:
        return ""
    even = head[::2].count(0)
    if len(head) // 8 < zeros < len(head) and min(even, zeros - even) * 20 <= zeros:
        return "utf-16-be" if even > zeros - even else "utf-16-le"
    raise Unreadable("binary, not text")


def _not_utf8(head: bytes, stream: IO[bytes]) -> bytes:
    """Nothing if all is UTF-8, else a sample of bytes from where it first is not."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    block = head
    while block:
        try:
            decoder.decode(block)
        except UnicodeDecodeError as error:
            return _around(error.object, error.start)
        block = stream.read(BLOCK)
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:  # cut inside a character: damaged UTF-8, hardly anything else
        return head if len(head) < 4 else b""
    return b""


def _around(data: bytes, position: int) -> bytes:
    """Whole lines around a position: half a character at an end would rule out its encoding."""
    start = max(position - SAMPLE // 2, 0)
    start = data.find(b"\n", start, position) + 1 or start if start else 0
    end = start + SAMPLE
    end = data.rfind(b"\n", position, end) + 1 or end if end < len(data) else len(data)
    return data[start:end]


def _nearly_utf8(sample: bytes) -> bool:
    """UTF-8 with a few damaged bytes: as a code page all its other letters would turn to noise."""
    text = sample.decode("utf-8", "replace")
    damaged = text.count("\ufffd")
    return damaged * 10 < sum(not c.isascii() for c in text)


def _declared(head: bytes) -> str:
    """The codec that an HTML page says it is in, if it is one that pages are written in."""
    found = DECLARED.search(head)
    try:
        codec = codecs.lookup(found.group(1).decode()).name if found else ""
    except LookupError:
        return ""
    if codec == "iso8859-1":  # browsers read it as Windows-1252, and so it is meant
        return "cp1252"
    return codec if codec.startswith(WRITTEN) else ""


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n")
