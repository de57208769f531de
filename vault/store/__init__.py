"""Tables, statements and sessions of a cell's database."""
