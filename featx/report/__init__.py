"""Results as pages, charts, text and JSON; nothing is computed here."""
