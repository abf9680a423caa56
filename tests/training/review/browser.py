"""A page driven by a script in headless Chromium, where the machine has one."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

_BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


def driven(page: Path, script: str, folder: Path) -> Any:
    """What the function body ``script`` returns, run after the page's own scripts.

    Skips the test where there is no browser.
    """
    if _BROWSER is None:
        pytest.skip("Chromium is not on this machine")
    copy = folder / "driven.html"
    told = (
        '<pre id="told"></pre><script>document.getElementById("told").textContent = JSON.stringify('
    )
    copy.write_text(page.read_text("utf-8") + f"{told}(() => {{ {script} }})());</script>", "utf-8")
    command = [_BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += ["--no-first-run", "--disable-background-networking", "--disable-component-update"]
    command += [f"--user-data-dir={folder / 'profile'}", copy.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'<pre id="told">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None
    assert found[1], "the script failed"
    return json.loads(html.unescape(found[1]))
