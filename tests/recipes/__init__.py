"""The recipes of docs/recipes, driven by a scripted model; and what each framework shows and keeps."""
