"""The feature store: what a feature file holds; reading, writing, finding and exporting it."""
