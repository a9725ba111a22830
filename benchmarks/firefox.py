"""Firefox without a window, spoken to by WebDriver BiDi: nothing but the browser is needed.

It takes the package websockets (the extras featx[dev] and featx[bench]).
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

PROGRAM = Path("/usr/bin/firefox-esr")
_SAID = "WebDriver BiDi listening on "
_PATIENCE = 120  # seconds that an answer may take
# Downloads go to a folder, unasked.
_SETTINGS = {
    "browser.download.folderList": 2,
    "browser.download.useDownloadDir": True,
    "browser.download.always_ask_before_handling_new_types": False,
    "browser.shell.checkDefaultBrowser": False,
}


@dataclass
class Firefox:
    """A running Firefox, and its tab.

    Attributes
    ----------
    pid : int
    socket : ClientConnection
    downloads : Path
        The folder for what is saved.
    tab : str
    said : list of str
        What was written to the console, warnings and errors of pages included.
    """

    pid: int
    socket: ClientConnection
    downloads: Path
    tab: str = ""
    said: list[str] = field(default_factory=list)
    _sent: int = 0

    def send(self, method: str, **params: Any) -> Any:
        """Ask for a command; gives its result, and raises RuntimeError where there is an error."""
        self._sent += 1
        self.socket.send(json.dumps({"id": self._sent, "method": method, "params": params}))
        while (told := json.loads(self.socket.recv(_PATIENCE))).get("id") != self._sent:
            if told.get("method") == "log.entryAdded":
                self.said.append(f"{told['params']['level']}: {told['params']['text']}")
        if told["type"] != "success":
            raise RuntimeError(told)
        return told["result"]

    def open(self, page: Path, first: str = "") -> None:
        """Open a page from disk; `first` is a function that runs before any script of the page."""
        if first:
            self.send("script.addPreloadScript", functionDeclaration=first)
        self.send("browsingContext.navigate", context=self.tab, url=page.as_uri(), wait="complete")

    def evaluate(self, code: str) -> Any:
        """What an expression gives, a promise kept: a number, a text, a truth or None."""
        target = {"context": self.tab}
        found = self.send("script.evaluate", expression=code, target=target, awaitPromise=True)
        if found["type"] != "success":
            raise RuntimeError(found["exceptionDetails"]["text"])
        return found["result"].get("value")

    def press(self, *keys: str) -> None:
        """Press keys one after the other; those without a character have WebDriver's code."""
        moves = [
            {"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")
        ]  # fmt: skip
        hands = [{"type": "key", "id": "hands", "actions": moves}]
        self.send("input.performActions", context=self.tab, actions=hands)

    def resize(self, width: int, height: int = 900) -> None:
        """Give the page so many CSS pixels."""
        size = {"width": width, "height": height}
        self.send("browsingContext.setViewport", context=self.tab, viewport=size)


@contextlib.contextmanager
def start_firefox(folder: Path) -> Iterator[Firefox]:
    """Firefox with a profile of its own in a folder, which it leaves there."""
    profile, downloads = folder / "profile", folder / "downloads"
    profile.mkdir()
    downloads.mkdir()
    settings = {**_SETTINGS, "browser.download.dir": str(downloads)}
    lines = [f"user_pref({json.dumps(k)}, {json.dumps(value)});" for k, value in settings.items()]
    (profile / "user.js").write_text("\n".join(lines))
    words = [
        str(PROGRAM), "--headless", "--no-remote", "--profile", str(profile),
        "--remote-debugging-port", "0",
    ]  # fmt: skip
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if _SAID in line)
        with connect(f"{line.split(_SAID)[1].strip()}/session", max_size=None) as socket:
            firefox = Firefox(process.pid, socket, downloads)
            firefox.send("session.new", capabilities={})
            firefox.send("session.subscribe", events=["log.entryAdded"])
            firefox.tab = firefox.send("browsingContext.getTree")["contexts"][0]["context"]
            yield firefox
    finally:
        process.terminate()
        process.wait()
        process.stderr.close()
