"""Tables in files, some of whose columns become tokens or values again."""
