"""Weights with their preprocessing, the frozen network, and what runs it."""
