"""Opens a page in a headless browser and asks it what it shows."""

import html
import json
import pathlib
import re
import shutil
import subprocess

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Before anything else runs: every error, also those of blocked resources.
_WATCH = """<script>
window.problems = [];
addEventListener(
  "error", (e) => problems.push(String(e.message || e.target.src)), true);
addEventListener("unhandledrejection", (e) => problems.push(String(e.reason)));
document.addEventListener("securitypolicyviolation",
  (e) => problems.push("blocked: " + e.blockedURI));
console.error = (...words) => problems.push(words.join(" "));
</script>"""
_ASK = """<script>
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
async function ask() { %s }
pause(500).then(ask).catch((e) => { problems.push(String(e)); }).then((answer) => {
  const out = document.createElement("pre");
  out.id = "answer";
  out.textContent = JSON.stringify({ answer: answer, problems: problems });
  document.body.append(out);
});
</script>"""


def ask(page: str, folder: pathlib.Path, script: str, *, width: int = 1200):
    """What a script returns that runs in the page after it was drawn.

    Args:
      page: HTML.
      folder: to write a copy of the page with the script.
      script: body of an async function; ``pause(ms)`` waits.
      width: of the window.

    Returns:
      Its value. Fails on any error, blocked resource or ``console.error``; skips where
      there is no browser.
    """
    browser = next(filter(None, map(shutil.which, _NAMES)), None)
    if browser is None:
        pytest.skip(f"no headless browser: install one of {', '.join(_NAMES)}")
    # The policy must come first, as it does in the page itself.
    head = re.search(r'<meta http-equiv="Content-Security-Policy"[^>]*>', page).end()
    page = page[:head] + _WATCH + page[head:]
    end = page.rindex("</body>")
    path = folder / "asked.html"
    path.write_text(page[:end] + _ASK % script + page[end:], "utf-8")
    dumped = subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--enable-unsafe-swiftshader",
            f"--user-data-dir={folder / 'profile'}",
            f"--window-size={width},1000",
            "--virtual-time-budget=20000",
            "--dump-dom",
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    found = re.search(r'<pre id="answer">(.*?)</pre>', dumped, re.DOTALL)
    assert found, dumped[-2000:]
    content = json.loads(html.unescape(found[1]))
    assert content["problems"] == []
    return content["answer"]
