"""What is protected and how: the document, why it is refused, what applying it changes. Pure."""
