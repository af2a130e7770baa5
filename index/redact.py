"""Replaces what identifies a person by marks; knows patterns and checksums, nothing of documents.

What is found: e-mail addresses; card numbers that pass the Luhn check (ISO/IEC 7812-1, annex B);
IBANs whose remainder by 97 is 1 (ISO 13616); phone numbers that begin with "+", are written as in
North America, or follow a word such as "tel". A number that is none of these stays: a passage
without its years and amounts would be worth nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

EMAIL = re.compile(
    r"(?<![\w.+%-])[\w.+%-]{1,64}@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W\d_]{2,24}(?![\w-])"
)
"""Repetitions are bounded, and begin where a word does: time grows with the text alone."""
IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
CARD = re.compile(
    r"(?<![\w.,])[2-6](?:[0-9]{12,18}|[0-9]{3}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{4}"
    r"|[0-9]{3}([ -])[0-9]{6}\2[0-9]{4,5})(?!\w|[.,]\d)"
)
PHONE = re.compile(
    r"(?<![\w+])\+(?:[ .()/-]{0,2}\d){8,15}(?!\d)"
    r"|(?<![\w.,+-])(?:\+?1[ .-])?(?:\(\d{3}\) ?\d{3}[ .-]|\d{3}([.-])\d{3}\1)\d{4}(?![\w-])"
    r"|(?i:(?<=\btel)|(?<=\bfax)|(?<=\bphone)|(?<=\bmobile)|(?<=\btelephone))"
    r"[.:]{0,2} ?(?:[ .()/-]{0,2}\d){6,15}(?!\d)"
)


Replace = Callable[[str, str], str]
"""From what was found and its mark to what stands in its place."""


def redacted(text: str) -> tuple[str, Counter[str]]:
    """The text with marks such as ``[e-mail]``, and how many there are of each mark."""
    counts: Counter[str] = Counter()
    for mark, pattern, replace in KINDS:

        def put(match: re.Match[str], mark: str = mark, replace: Replace = replace) -> str:
            new = replace(match[0], mark)
            counts[mark] += new != match[0]
            return new

        text = pattern.sub(put, text)
    return text, +counts


def _whole(found: str, mark: str) -> str:
    return mark


def _card(found: str, mark: str) -> str:
    return mark if _luhn(found) else found


def _iban(found: str, mark: str) -> str:
    """The longest beginning, by whole groups, that passes: a word in capitals may follow it."""
    ends = [len(found), *(m.start() for m in reversed([*re.finditer(" ", found)]))]
    end = next((end for end in ends if _mod97(found[:end])), 0)
    return mark + found[end:] if end else found


def _phone(found: str, mark: str) -> str:
    """What stands between the word before the number and the number stays."""
    number = found.lstrip(".: ")
    return found[: len(found) - len(number)] + mark


def _luhn(found: str) -> bool:
    digits = [int(c) for c in reversed(found) if c.isdigit()]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _mod97(found: str) -> bool:
    plain = found.replace(" ", "")
    digits = "".join(str(int(c, 36)) for c in plain[4:] + plain[:4])
    return len(plain) >= 15 and int(digits) % 97 == 1


KINDS: tuple[tuple[str, re.Pattern[str], Replace], ...] = (
    ("[e-mail]", EMAIL, _whole),
    ("[IBAN]", IBAN, _iban),
    ("[card]", CARD, _card),
    ("[phone]", PHONE, _phone),
)
"""In this order: digits of an IBAN or a card are no phone number."""
