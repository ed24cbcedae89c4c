"""Measurements behind docs/reliability.md: kills, damages, containment, bits (scripts/reliability.py)."""
