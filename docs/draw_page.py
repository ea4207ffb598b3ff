"""Draw the page's pictures for the documents: a real server, real jobs, a real browser.

    python docs/draw_page.py FOLDER

Trains on the embedded collection as a first run does, and makes twenty pictures; some minutes on
two cores. Needs the extra `dev` and chromium.
"""

import io
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import requests
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parents[1]
VIEWS = (
    # name, part of the page, colour scheme, width and height
    ("page-generate", "generate", "light", (1280, 860)),
    ("page-gallery", "gallery", "dark", (1280, 860)),
    ("page-train", "train", "light", (1280, 1265)),
    ("page-narrow", "generate", "light", (585, 1266)),
)
SEED = 40
SETTLING_SECONDS = 4


def main(folder: Path) -> None:
    """Write one WebP for each view."""
    with TemporaryDirectory() as workspace, sync_playwright() as playwright:
        program = [sys.executable, str(ROOT / "pipeline.py"), "ui", "--workspace", workspace]
        server = subprocess.Popen([*program, "--port", "0"], stderr=subprocess.PIPE, text=True)
        try:
            assert server.stderr is not None
            address = server.stderr.readline().split()[-1]
            carry_out(address)
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            for view in VIEWS:
                draw(browser, address, folder, *view)
            browser.close()
        finally:
            server.terminate()
            server.wait()


def carry_out(address: str) -> None:
    """Submit a training and two generations, and wait for their end."""
    model = next(
        one["id"]
        for one in requests.get(f"{address}/api/v1/models", timeout=60).json()
        if one["is_default"]
    )
    wanted: list[dict[str, Any]] = [
        {
            "kind": "train",
            "collection": "embedded",
            "preset": "default",
            "settings": {"train": {"sample_seconds": 15}},
        }
    ]
    wanted += [
        {
            "kind": "generate",
            "model": model,
            "choices": {"generate": {"style": style, "count": count, "seed": SEED}},
        }
        for style, count in (("Impressionism", 12), ("Ukiyo_e", 8))
    ]
    numbers = [
        requests.post(f"{address}/api/v1/jobs", json=order, timeout=60).json()["id"]
        for order in wanted
    ]
    while numbers:
        time.sleep(1)
        job = requests.get(f"{address}/api/v1/jobs/{numbers[0]}", timeout=60).json()
        assert job["state"] not in ("failed", "cancelled"), job["error"]
        if job["state"] == "done":
            numbers.pop(0)


def draw(
    browser: Browser, address: str, folder: Path, name: str, part: str, scheme: Any, size: Any
) -> None:
    """One part of the page as a picture."""
    viewport: Any = {"width": size[0], "height": size[1]}
    context = browser.new_context(viewport=viewport, color_scheme=scheme, locale="en-GB")
    page = context.new_page()
    page.goto(f"{address}/#/{part}")
    time.sleep(SETTLING_SECONDS)  # thumbnails are drawn as they are asked for
    with Image.open(io.BytesIO(page.screenshot())) as picture:
        picture.convert("RGB").save(folder / f"{name}.webp", quality=85, method=6)
    context.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
