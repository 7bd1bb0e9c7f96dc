"""Is an answer right: what must match, and what must not."""

import pytest

from bot.evidence.metrics import abstained, evidence_holds, is_correct


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Soak it for 15 minutes.", "15 minutes"),
        ("SOAK IT FOR FIFTEEN MINUTES!", "15 minutes"),
        ("Soak for **15 minutes**, then cool.", "15 minutes"),
        ("A 15-minute soak", "15 minutes"),
        ("about 15 mins", "15 minutes"),
        ("It costs £1,250.", "£1250"),
        ("It costs £1,250.00 plus VAT", "£1,250"),
        ("It costs 1250 pounds", "£1,250"),
        ("It costs GBP 1,250", "£1,250"),
        ("The price is $40", "40 dollars"),
        ("It reaches 1,280 °C", "1280°C"),
        ("It reaches 1280 degrees Celsius", "1280 °C"),
        ("It reaches 1280\u00a0°C", "1280 °C"),
        ("It reaches 1280C", "1,280 °C"),
        ("It reaches 1,280 °C", "1280"),
        ("Tighten to 14Nm", "14 Nm"),
        ("a 38-litre chamber", "38 l"),
        ("a tolerance of 5.5 mm", "5.5mm"),
        ("open 8:30 to 17:00", "8:30"),
        ("from 9 a.m. on", "9am"),
        ("The KL\u2011200 fits", "KL-200"),
        ("within 10\u201315 days", "10-15 days"),
        ("soak\u201415 minutes", "15 minutes"),
        ("Kept in the kiln-room", "kiln room"),
        ("the finishing dept. is next to the cellar.", "Cellar"),
        ("Ask Maëlle O’Brien", "Maëlle O'Brien"),
        ("twenty-four hours", "24 hours"),
        ("two years", "2 years"),
        ("20 % discount", "20%"),
        ("20 percent", "20%"),
        ("Write to help@pellworth.example.", "help@pellworth.example"),
    ],
)
def test_the_same_answer_written_differently_is_correct(text: str, answer: str) -> None:
    assert is_correct(text, [answer])


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("It takes 115 minutes", "15 minutes"),
        ("It takes 15 minutes", "115 minutes"),
        ("a tolerance of 5.5 mm", "5"),
        ("a tolerance of 5.5 mm", "5 mm"),
        ("a tolerance of 5 mm", "5.5 mm"),
        ("It costs £12,500", "£2,500"),
        ("It costs £1,250", "£250"),
        ("It costs £1,250", "£1"),
        ("It takes 45 minutes", "£45"),
        ("within 10–15 days", "15 days"),
        ("The KL-200-B fits", "KL-200"),
        ("The KL-200B fits", "KL-200"),
        ("The KL-210 fits", "KL-200"),
        ("open at 8:30", "8"),
        ("the scarred wall", "red"),
        ("12.15 minutes", "15 minutes"),
        ("", "15 minutes"),
        ("anything", ""),
        ("anything", "…"),
    ],
)
def test_a_different_answer_is_not_correct(text: str, answer: str) -> None:
    assert not is_correct(text, [answer])


def test_any_acceptable_answer_will_do() -> None:
    assert is_correct("Every second Tuesday.", ["fortnightly", "every second Tuesday"])
    assert not is_correct("Every Tuesday.", ["fortnightly", "every second Tuesday"])


def test_evidence_holds_when_one_quote_has_the_answer() -> None:
    quotes = ["The kiln is blue.", "It weighs 84 kg."]
    assert evidence_holds(quotes, ["84 kilograms"])
    assert not evidence_holds(quotes, ["85 kg"])
    assert not evidence_holds([], ["84 kg"])


@pytest.mark.parametrize(
    "text",
    [
        "The documents do not say.",
        "According to the documents, this is not mentioned.",
        "The handbook does not mention a swimming pool.",
        "I don't know.",
        "I don’t know the answer to that.",
        "I do not have that information.",
        "That is not in the documents.",
        "The documents don't say who founded it.",
        "There is no information about that.",
        "This is not covered in the handbook.",
        "I cannot find that in the documents.",
        "It does not say.",
    ],
)
def test_saying_that_it_is_not_known_is_an_abstention(text: str) -> None:
    assert abstained(text)


@pytest.mark.parametrize(
    "text",
    [
        "Fire it to 1,280 °C.",
        "The warranty does not cover shelves.",
        "The price does not include delivery.",
        "Do not open the lid above 120 °C.",
        "No, it is not available in red.",
        "There is no charge.",
        "",
    ],
)
def test_an_answer_is_not_an_abstention(text: str) -> None:
    assert not abstained(text)
