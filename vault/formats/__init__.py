"""What a value looks like: alphabets, check digits, templates, masks. Pure."""
