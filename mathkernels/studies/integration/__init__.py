"""Symbolic integration by sequence-to-sequence models, after Lample & Charton 2020, arXiv:1912.01412."""
