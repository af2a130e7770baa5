from __future__ import annotations

import codecs
import io
import os

import pytest

from index.documents import Unreadable
from index.encoding import BLOCK, decode, detect, pieces

TEXTS = {
    "cp1252": "El niño comió mañana en el jardín con su abuela; después volvió a casa.",
    "cp1250": "Hlavní město České republiky je Praha, která leží na řece Vltavě.",
    "cp1251": "Привет, как дела? Это короткий текст.",
    "koi8_r": "Привет, как дела? Это короткий текст.",
    "cp1253": "Ο Σωκράτης ήταν Έλληνας φιλόσοφος.",
    "cp932": "日本語のテキストです。これは短い文章です。",
    "gb18030": "这是一个简短的中文文本，用于测试编码检测。",
}


@pytest.mark.parametrize("codec", TEXTS)
def test_text_that_is_no_utf8_is_guessed_and_the_guess_told(codec: str) -> None:
    text, remark = decode(io.BytesIO(TEXTS[codec].encode(codec)))
    assert text == TEXTS[codec]
    assert "a guess" in remark


def test_a_single_word_is_taken_for_western() -> None:
    assert decode(io.BytesIO("Zoë".encode("latin-1")))[0] == "Zoë"


@pytest.mark.parametrize(
    "codec", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be"]
)
def test_unicode_is_no_guess(codec: str) -> None:
    assert decode(io.BytesIO("Zoë – naïve\r\nline\r".encode(codec))) == ("Zoë – naïve\nline\r", "")


def test_a_page_says_what_it_is_in() -> None:
    page = '<meta charset="windows-1251"><p>Да</p>'
    assert decode(io.BytesIO(page.encode("cp1251")), html=True) == (page, "")
    latin = page.replace("windows-1251", "iso-8859-1").replace("Да", "“é”")
    assert decode(io.BytesIO(latin.encode("cp1252")), html=True) == (latin, "")
    for codec in ("punycode", "unicode_escape", "nonsense", "zlib"):
        told = page.replace("windows-1251", codec).replace("Да", "é")
        assert decode(io.BytesIO(told.encode("cp1252")), html=True)[0] == told


def test_one_damaged_byte_does_not_turn_the_rest_to_noise() -> None:
    data = b"bad \xff byte, " + "naïve café über ".encode() * 20
    text, remark = decode(io.BytesIO(data))
    assert text.count("\ufffd") == 1
    assert "naïve café" in text
    assert "damaged" in remark


def test_what_is_no_text_is_said_to_be_binary() -> None:
    for data in (bytes(range(256)), b"\x7fELF\0\0", b"\1\2\3\xff" * 99, os.urandom(50_000)):
        with pytest.raises(Unreadable, match="binary"):
            detect(io.BytesIO(data))


def test_a_character_may_lie_across_two_blocks() -> None:
    text = "x" * (BLOCK - 1) + "é\r\n" + "y" * (BLOCK - 3) + "\r\nend"
    assert "".join(pieces(io.BytesIO(text.encode()), "utf-8")) == text.replace("\r\n", "\n")


def test_the_first_foreign_byte_may_come_late() -> None:
    data = b"plain words\n" * 200_000 + "à la fin du café, déjà vu".encode("cp1252")
    text, remark = decode(io.BytesIO(data))
    assert text.endswith("à la fin du café, déjà vu")
    assert "cp1252" in remark
    assert not data.startswith(codecs.BOM_UTF8)
