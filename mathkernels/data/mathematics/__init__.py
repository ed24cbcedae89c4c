"""DeepMind's mathematics data set: generated with its authors' package, or read from files of many kinds.

Source: Saxton et al. 2019, *Analysing Mathematical Reasoning Abilities of Neural Models*.
"""
