"""Is an answer right? Pure functions over texts: no model judges.

Two texts are compared word by word after everything that does not change the meaning is taken
away: case, accents of typography, punctuation, articles, plural endings, thousands separators,
the way a currency, a unit or a small number is written. A number stays whole: 5 is not in 5.5,
15 is not in 115, KL-200 is not in KL-200-B.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_DASHES = dict.fromkeys(map(ord, "‐‑‒–−﹘﹣－"), "-") | {ord("—"): " ", ord("―"): " "}
_QUOTES = dict.fromkeys(map(ord, "’‘‛`´"), "'")
_CURRENCIES = {
    "£": "pounds",
    "$": "dollars",
    "€": "euros",
    "gbp": "pounds",
    "usd": "dollars",
    "eur": "euros",
}
_UNITS = (
    r"°c|°f|°|%|kg|g|mm|cm|m|km|nm|kwh|kw|w|v|amps?|a|l|am|pm|hrs?|h|mins?|minutes?|hours?|days?"
)
_SAME = {
    "percent": "%",
    "metre": "m",
    "meter": "m",
    "centimetre": "cm",
    "millimetre": "mm",
    "kilometre": "km",
    "kilogram": "kg",
    "kilo": "kg",
    "gram": "g",
    "kilowatt": "kw",
    "litre": "l",
    "liter": "l",
    "volt": "v",
    "ampere": "amp",
    "min": "minute",
    "hr": "hour",
    "pound": "pounds",
}
_NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_NUMBERS += ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen"]
_NUMBERS += ["seventeen", "eighteen", "nineteen"]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_NUMBER_WORDS = {word: value for value, word in enumerate(_NUMBERS)} | {
    word: (place + 2) * 10 for place, word in enumerate(_TENS)
}
_SPOKEN = re.compile(rf"\b({'|'.join(_TENS)})[ -]({'|'.join(_NUMBERS[1:10])})\b")
_AMOUNT = r"\d+(?:\.\d+)?"
_WORD = re.compile(r"%|°[cf]?|[^\W_]+(?:[-.:/]+[^\W_]+)*")
_ARTICLES = frozenset(("a", "an", "the"))

_SOURCE = r"(?:documents?|documentation|handbook|passages?|text|context|sources?|excerpts?|they|it)"
_SAYS = (
    r"(?:say|mention|specify|state|tell|describe|cover|provide|contain|include|give|list|answer)"
)
_NOT = r"(?:do|does|did)(?: not|n't)"
_ABSTENTIONS = re.compile(
    rf"\b{_SOURCE} {_NOT} {_SAYS}"
    rf"|\b{_NOT} (?:say|mention|specify)\b"
    r"|\bi (?:do not|don't|cannot|can't|could not|couldn't|am not able to|am unable to)"
    r" (?:know|find|say|tell|answer|see|have (?:\w+ )?(?:information|details?|access))"
    rf"|\bnot (?:said|stated|mentioned|specified|found|given|covered|described|available|provided)"
    rf"(?: anywhere)? (?:in|by) (?:the |our |my |these |any )?(?:\w+ )?{_SOURCE}\b"
    rf"|\b(?:is|are) not in (?:the |our |my |these )?(?:\w+ )?{_SOURCE}\b"
    rf"|\bnothing (?:about|on) (?:this|that|it)\b"
    r"|\b(?:there is|there's|have|has|contains?) no (?:information|mention|answer|details?)\b"
    r"|\bnot (?:mentioned|specified|stated)\b"
    r"|\bi(?: am|'m) not sure\b"
)


def is_correct(text: str, answers: Iterable[str]) -> bool:
    """Whether the text says one of the acceptable answers."""
    said = words(text)
    return any(_holds(said, words(answer)) for answer in answers)


def evidence_holds(quotes: Iterable[str], answers: Iterable[str]) -> bool:
    """Whether one of the quoted sentences says one of the acceptable answers."""
    accepted = tuple(answers)
    return any(is_correct(quote, accepted) for quote in quotes)


def abstained(text: str) -> bool:
    """Whether the text says that the documents do not say, or that it does not know."""
    return bool(_ABSTENTIONS.search(" ".join(_plain(text).split())))


def words(text: str) -> list[str]:
    """The text as comparable words: numbers whole, everything that means the same the same."""
    text = _plain(text)
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    text = re.sub(rf"([£$€]|\b(?:gbp|usd|eur)\b) ?({_AMOUNT})", _amount_first, text)
    text = re.sub(rf"({_AMOUNT}) ?(gbp|usd|eur)\b", lambda m: f"{m[1]} {_CURRENCIES[m[2]]}", text)
    text = re.sub(r"(\d)\.0+(?![\d.])", r"\1", text)
    text = re.sub(r"\b([ap])\.m\b\.?", r"\1m", text)
    text = re.sub(r"(?: ?°| degrees?|(?<=\d{3})) ?(c|f)(?:elsius|ahrenheit)?\b", r" °\1", text)
    text = re.sub(rf"(?<=\d)({_UNITS})(?![\w°])", r" \1", text)
    text = _SPOKEN.sub(lambda m: str(_NUMBER_WORDS[m[1]] + _NUMBER_WORDS[m[2]]), text)
    found = (part for token in _WORD.findall(text) for part in _parts(token))
    return [_same(word) for word in found if word not in _ARTICLES]


def _plain(text: str) -> str:
    """Lower case, with one kind of dash, quote and space, and without markdown marks."""
    text = unicodedata.normalize("NFKC", text.translate(_DASHES).translate(_QUOTES))
    return re.sub(r"[*_#]+", "", text).casefold()


def _amount_first(match: re.Match[str]) -> str:
    return f"{match[2]} {_CURRENCIES[match[1]]}"


def _parts(token: str) -> list[str]:
    """Split a compound word where its parts are words of their own: kiln-room and 24-hour are
    two words, KL-200, 10-15 and 5.5 are one."""
    if not any(sign.isdigit() for sign in token):
        return re.split(r"[-:/]+", token)
    return re.split(r"(?<=\d)-(?=[^\W\d]{2,})|[/:](?=[^\W\d])|(?<=[^\W\d])[/:]", token)


def _same(word: str) -> str:
    if word in _NUMBER_WORDS:
        return str(_NUMBER_WORDS[word])
    if len(word) > 3 and word.endswith("s") and not word.endswith("ss") and word.isalpha():
        word = word[:-1]
    return _SAME.get(word, word)


def _holds(said: list[str], answer: list[str]) -> bool:
    size = len(answer)
    return bool(answer) and any(
        said[start : start + size] == answer for start in range(len(said) - size + 1)
    )
