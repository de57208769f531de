"""The HTTP door: translates requests to verbs and outcomes to answers."""
