"""How the plans of these tests are split."""

SPLIT = "first:4,2"
