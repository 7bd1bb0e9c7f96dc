"""Which models are installed, and whether they are the ones expected."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from bot.errors import WeightsError
from bot.models import catalog
from bot.models.catalog import embedded_weights, embedder_installed, verify


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the place of every package."""
    monkeypatch.setattr(catalog, "_package_folder", lambda _: tmp_path)
    return tmp_path


def test_the_installed_weights_are_the_expected_ones() -> None:
    weights = embedded_weights()

    verify(weights.path, weights.sha256)


def test_missing_packages_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "EMBEDDED_PACKAGE", "no_such_package")
    monkeypatch.setattr(catalog, "EMBEDDER_PACKAGE", "no_such_package")

    assert not embedder_installed()
    with pytest.raises(WeightsError, match="make setup"):
        embedded_weights()


def test_a_missing_file_is_noticed(package: Path) -> None:
    with pytest.raises(WeightsError, match="missing"):
        embedded_weights()


def test_a_file_that_was_cut_short_is_noticed(package: Path) -> None:
    (package / catalog.EMBEDDED_FILE).write_bytes(b"GGUF")

    with pytest.raises(WeightsError, match="damaged"):
        embedded_weights()


def test_one_changed_byte_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"0" * 1000)
    expected = hashlib.sha256(b"0" * 1000).hexdigest()
    verify(file, expected)

    file.write_bytes(b"0" * 999 + b"1")

    with pytest.raises(WeightsError, match="damaged"):
        verify(file, expected)


def test_weights_that_cannot_be_read_are_reported(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be read"):
        verify(tmp_path / "absent", "")
