"""Evaluation questions are read, and a wrong line is named."""

from pathlib import Path

import pytest

from bot.errors import ExamplesError
from bot.evidence.cases import Case, read_cases


def written(folder: Path, text: str) -> Path:
    path = folder / "questions.jsonl"
    path.write_text(text, encoding="utf-8")
    return path


def test_questions_are_read_with_blank_lines_skipped(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        '{"question": "How hot?", "answers": ["1280 °C"], "paraphrases": ["What heat?"],'
        ' "document": "kl.md", "trained": true}\n\n{"question": "Who won?", "answers": null}\n',
    )
    assert read_cases(path) == [
        Case("How hot?", ("1280 °C",), ("What heat?",), "kl.md", True),
        Case("Who won?", None),
    ]
    assert read_cases(path)[0].phrasings == ("How hot?", "What heat?")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not JSON"),
        ("[]", "question"),
        ('{"question": "Who?"}', "answers"),
        ('{"question": "Who?", "answers": []}', "answers"),
        ('{"question": "Who?", "answers": [3]}', "answers"),
        ('{"question": " ", "answers": null}', "question"),
        ('{"question": "Who?", "answers": null, "paraphrases": "x"}', "paraphrases"),
        ('{"question": "Who?", "answers": null, "document": 4}', "document"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    path = written(tmp_path, f'{{"question": "a", "answers": null}}\n{line}\n')
    with pytest.raises(ExamplesError) as caught:
        read_cases(path)
    assert caught.value.line == 2
    assert said in str(caught.value)


def test_an_empty_or_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ExamplesError, match="no question"):
        read_cases(written(tmp_path, "\n"))
    with pytest.raises(ExamplesError, match="cannot be read"):
        read_cases(tmp_path / "missing.jsonl")
