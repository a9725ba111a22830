"""How pages are opened in a real browser."""

from pathlib import Path

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
DRAWN = """() => [...document.querySelectorAll(".chart")].every(
    (box) => box.closest("[hidden]") || ["drawn", "failed"].includes(box.dataset.state))"""
