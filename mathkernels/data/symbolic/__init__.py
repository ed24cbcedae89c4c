"""Symbolic integration: a prefix language of expressions, generators of pairs (problem, answer), their files.

Source: Lample & Charton 2020, *Deep Learning for Symbolic Mathematics*, arXiv:1912.01412.

An expression is a **tree** of plain tuples, strings and integers: ``("mul", 2, ("sin", "x"))``. `prefix`,
`infix` and `algebra` turn it into words, equations, and objects of symengine and sympy, and back.
"""
