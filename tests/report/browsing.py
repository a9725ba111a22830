"""How pages are opened in a real browser, and who can use them judged."""

import os
from pathlib import Path

AXE = os.environ.get("FEATX_AXE", "")  # axe-core's own axe.min.js
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
DRAWN = """() => [...document.querySelectorAll(".chart")].every(
    (box) => box.closest("[hidden]") || ["drawn", "failed"].includes(box.dataset.state))"""


def find_violations(page):
    """What axe-core has to say against a page that was opened with bypass_csp."""
    page.evaluate(Path(AXE).read_text("utf-8"))
    found = page.evaluate("() => axe.run().then((all) => all.violations)")
    return [(one["id"], [node["html"] for node in one["nodes"]]) for one in found]
