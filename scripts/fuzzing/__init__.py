"""Random calls of everything public, and what becomes of each; scripts/fuzz.py is the command."""
