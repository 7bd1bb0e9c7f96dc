"""Triptych: one question, one base model, several strategies, side by side."""

__version__ = "0.1.0"
