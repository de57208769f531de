"""National identification numbers: one template a scheme, each made of a row.

What is counted is the rule of the format, not which numbers are in use. Tokens with the right check are
therefore plausible numbers, and may be somebody's.
"""
