"""One room per piece of research: its figures, published numbers, tables and commands."""
