"""The compression recipes: one file for each family, each with a tuple `RECIPES`."""
