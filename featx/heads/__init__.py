"""Classifiers on features, one file a kind, and the search that they share."""
