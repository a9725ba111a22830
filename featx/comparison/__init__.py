"""Candidates on the same images: trained or reused, paired tests, a verdict, curves."""
