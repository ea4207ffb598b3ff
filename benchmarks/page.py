"""The page and its API, as a person and as programs meet them.

`python -m benchmarks.page [start] [museum] [crowd] [beside]`; without a name, all four.

- start: from `pipeline.py ui` to a page that can be used, and from pressing Generate to the first
  picture on the screen, 64×64 of the shipped model, which is loaded by then.
- museum: a store of fifty thousand results: the gallery's first screen, searches, a thousand
  pictures selected and starred, and the memory of the server's process and of the page.
- crowd: fifty programs that submit and poll at once for a minute.
- beside: photographs enlarged while a training runs: how long they take, and what it loses.

The first two are seen in Chromium, which runs on the same cores.
"""

import contextlib
import hashlib
import io
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import requests
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[1]
ROUNDS = 5


def main(names: list[str]) -> None:
    """Measure what is named, or everything."""
    for name in names or ("start", "museum", "crowd", "beside"):
        {"start": start, "museum": museum, "crowd": minute, "beside": beside}[name]()


# ---------------------------------------------------------------- a real server


@dataclass
class Server:
    """`pipeline.py ui` as a process of its own."""

    process: "subprocess.Popen[str]"
    address: str
    began: float
    """Time of its start, on the monotonic clock."""

    def mebibytes(self, what: str = "VmHWM") -> float:
        """The most memory that the server's process has held, without its worker."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith(what))
        return int(line.split()[1]) / 1024

    def processor_seconds(self) -> float:
        """Time that a processor has worked for the server's process, however long it waited."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def serving(workspace: Path) -> Generator[Server]:
    """The server of a workspace, at a free port."""
    command = [sys.executable, str(REPOSITORY / "pipeline.py"), "ui", "--port", "0"]
    began = time.monotonic()
    process = subprocess.Popen(
        [*command, "--workspace", str(workspace)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if "http://" in line:
                break
        else:
            raise RuntimeError(f"pipeline.py ui: {''.join(said)}")
        threading.Thread(target=process.stdout.read, daemon=True).start()  # that no pipe fills up
        yield Server(process, "http://" + said[-1].partition("http://")[2].strip(), began)
    finally:
        process.terminate()
        process.wait(60)


@contextlib.contextmanager
def browsing() -> Generator[Any]:
    """A page of a real browser, 1280 by 860."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser.new_page(viewport={"width": 1280, "height": 860}, locale="en-GB")
        browser.close()


def _told(what: str, seconds: list[float], goal: float) -> None:
    middle, low, high = statistics.median(seconds), min(seconds), max(seconds)
    print(f"{what:<52} {middle:6.2f} s ({low:.2f} to {high:.2f}; goal {goal:g} s)", flush=True)


# ---------------------------------------------------------------- start

_PICTURE_SHOWN = """async () => {
  const before = document.querySelector('.job')
  const began = performance.now()
  document.querySelector('form button.go').click()
  while (performance.now() - began < 120000) {
    await new Promise(requestAnimationFrame)
    const job = document.querySelector('.job')
    if (job !== before && [...job.querySelectorAll('.tile img')].some((i) => i.naturalWidth > 0))
      return (performance.now() - began) / 1000
  }
  throw new Error('no picture in two minutes')
}"""


def start() -> None:
    """Measure how long a person waits at first, and for the first picture."""
    usable: list[float] = []
    worked: list[float] = []
    with browsing() as page:
        for _ in range(ROUNDS):
            with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as server:
                page.goto(server.address)
                page.locator("form button.go:enabled").wait_for()
                usable.append(time.monotonic() - server.began)
                worked.append(server.processor_seconds())
        _told("from `pipeline.py ui` to a page that can be used", usable, 4)
        print(f"  processor time of the server in it {statistics.median(worked):.2f} s", flush=True)
        with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as server:
            page.goto(server.address)
            page.locator("[data-field=scale]").first.select_option(label="64 × 64")
            cold = page.evaluate(_PICTURE_SHOWN)
            page.locator(".job .badge", has_text="Done").first.wait_for(timeout=120_000)
            warm = [cold]
            for _ in range(ROUNDS):
                warm.append(page.evaluate(_PICTURE_SHOWN))
                page.wait_for_timeout(3000)
        print(f"from Generate to the first picture, model not loaded {cold:12.2f} s")
        _told("from Generate to the first picture, model loaded", warm[1:], 2)


# ---------------------------------------------------------------- fifty thousand results


def fill(workspace: Path, number: int = 50_000, side: int = 256) -> None:
    """A store as years of work would leave it: JPEG files with their records, in runs of 500.

    The files are put where the store would put them, and it then makes its index from them at once.
    """
    from components.results_store import create
    from components.training_store import EMBEDDED_STYLES, paint_picture
    from interfaces.iodt import FileFacts

    rng, facts = random.Random(0), dict[Path, FileFacts]()
    painted = [
        _jpeg(paint_picture(style, index), side) for style in EMBEDDED_STYLES for index in range(40)
    ]
    for seed in range(number):
        record = _record(seed, rng, EMBEDDED_STYLES)
        path = _write(workspace / "results", _distinct(painted[seed % len(painted)], seed), record)
        facts[path] = FileFacts(record=record, media_type="image/jpeg", width=side, height=side)
    report = create(workspace).rebuild(lambda path: facts[path], lambda event: None)
    assert report.num_listed == number, report


def _distinct(jpeg: bytes, seed: int) -> bytes:
    """The same picture with a comment, so that no two files are the same."""
    note = f"picture {seed}".encode()
    return jpeg[:2] + b"\xff\xfe" + (len(note) + 2).to_bytes(2, "big") + note + jpeg[2:]


def _write(results: Path, data: bytes, record: Any) -> Path:
    """Put a result's file where the store would."""
    from components.results_store.names import places, stem_of

    run = f"{record.origin.seed // 500:04d}-r3gan-paintings"
    digest = hashlib.sha256(data).hexdigest()
    path = results / next(iter(places(run, stem_of(record.origin, run), digest, ".jpg")))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _jpeg(pixels: np.ndarray, side: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).resize((side, side)).save(stream, "JPEG", quality=85)
    return stream.getvalue()


def _record(seed: int, rng: random.Random, styles: Any) -> Any:
    from interfaces.record import EnhancementRecord, GeneratedOrigin, Record

    family = rng.choice(("r3gan", "vae", "stylegan2", "sketch_diffusion"))
    origin = GeneratedOrigin(
        seed=seed,
        index=seed % 500,
        family=family,
        model_digest=hashlib.sha256(family.encode()).hexdigest(),
        dataset_name="paintings",
        dataset_digest=None,
        style=rng.choice(list(styles)),
        originality=rng.random() * 2,
    )
    enhancement = EnhancementRecord(enhancer="embedded", weights_sha256=None, scale=4, strength=1)
    return Record(
        software="atelier benchmark",
        origin=origin,
        enhancement=enhancement,
        conversion={"format": "jpeg"},
        is_ai_generated=True,
        drift=rng.random() * 9,
    )


_SEEN = """async ([act, value]) => {
  const count = () => document.querySelector('.count')?.textContent ?? ''
  const first = () => document.querySelector('.virtual .tile')?.dataset.id
  const [before, began] = [count(), performance.now()]
  const field = document.querySelector('input[type=search]')
  if (act === 'go') location.hash = value
  else (field.value = value), field.dispatchEvent(new Event('input', { bubbles: true }))
  let listed = 0
  while (performance.now() - began < 60000) {
    await new Promise(requestAnimationFrame)
    if (!first() || !count().trim() || count() === before) continue
    listed ||= performance.now() - began
    const seen = [...document.querySelectorAll('.virtual .tile')].filter((one) => {
      const box = one.getBoundingClientRect()
      return box.top < innerHeight && box.bottom > 0
    })
    if (seen.every((one) => one.querySelector('img')?.naturalWidth > 0))
      return [listed / 1000, (performance.now() - began) / 1000, seen.length]
  }
  throw new Error('no screen in a minute')
}"""

_PRESSED = """async ([key, ctrlKey, place, text]) => {
  const said = () => document.querySelector(place)?.textContent ?? ''
  const tile = document.querySelector('.virtual .tile')
  tile.focus()
  const began = performance.now()
  tile.dispatchEvent(new KeyboardEvent('keydown', { key, ctrlKey, bubbles: true }))
  while (performance.now() - began < 60000) {
    await new Promise(requestAnimationFrame)
    if (said().includes(text)) return (performance.now() - began) / 1000
  }
  throw new Error(`nothing said ${text} in a minute`)
}"""

_SEARCHES = (
    ("typed", "blossoms vae"),
    ("typed", "seed 20077"),
    ("go", "#/gallery?first_seed=20000&last_seed=20399"),
    ("go", "#/gallery?sort_by=originality&family=r3gan"),
)


def museum(number: int = 50_000) -> None:
    """Measure what fifty thousand results cost the person and the machine."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        fill(Path(folder), number)
        print(f"{number} results made in {time.monotonic() - began:.0f} s", flush=True)
        visit(Path(folder))


def visit(workspace: Path) -> None:
    """The gallery of a workspace: opened, searched, selected from, scrolled."""
    with serving(workspace) as server, browsing() as page:
        opened: list[float] = []
        for turn in range(ROUNDS + 1):
            _arrive(page, server)
            listed, shown, seen = page.evaluate(_SEEN, ["go", "#/gallery"])
            if turn == 0:
                print(
                    f"first screen, no thumbnail made yet: listed {listed:.2f} s, all {seen} "
                    f"pictures seen {shown:.2f} s",
                    flush=True,
                )
            else:
                opened.append(shown)
        _told("the gallery's first screen", opened, 1)
        for act, value in _SEARCHES:
            _search(page, server, act, value)
        _select(page, server)
        _scroll(page)
        heap = page.evaluate("performance.memory.usedJSHeapSize") / 2**20
        print(f"server's process: {server.mebibytes():.0f} MiB at most (goal 1024)")
        print(f"page's heap: {heap:.0f} MiB after scrolling")


def _arrive(page: Any, server: Server) -> None:
    page.goto("about:blank")
    page.goto(server.address)
    page.locator("form button.go:enabled").wait_for()


def _search(page: Any, server: Server, act: str, value: str) -> None:
    listed: list[float] = []
    shown: list[float] = []
    for _ in range(ROUNDS):
        _arrive(page, server)
        page.evaluate(_SEEN, ["go", "#/gallery?sort_by=newest"])
        times = page.evaluate(_SEEN, [act, value])
        listed.append(times[0])
        shown.append(times[1])
    what = value.removeprefix("#/gallery?")
    _told(f"a search ({what}): listed", listed, 0.3)
    _told(f"a search ({what}): all pictures seen", shown, 1)


def _select(page: Any, server: Server) -> None:
    """A thousand pictures selected at once and starred, and the stars taken away again."""
    selecting: list[float] = []
    starring: list[float] = []
    for _ in range(ROUNDS):
        _arrive(page, server)
        page.evaluate(_SEEN, ["go", "#/gallery?first_seed=20000&last_seed=20999"])
        selecting.append(page.evaluate(_PRESSED, ["a", True, ".selection strong", "1,000"]))
        starring.append(page.evaluate(_PRESSED, ["s", False, ".virtual", "★"]))
        page.evaluate(_PRESSED, ["s", False, "#toasts", "1,000 pictures taken away"])
    _told("1 000 pictures selected", selecting, 0.3)
    _told("1 000 pictures starred", starring, 1)


def _scroll(page: Any) -> None:
    """Scroll as far as half a minute allows, to see what memory that takes."""
    page.mouse.move(800, 500)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        page.mouse.wheel(0, 4000)
        page.wait_for_timeout(100)


# ---------------------------------------------------------------- a crowd


@dataclass
class Crowd:
    """Outcome of many clients' calls."""

    jobs: dict[int, int] = field(default_factory=dict[int, int])
    """Numbers of the jobs that were taken in, and the seed that each asked for."""
    num_submitted: int = 0
    num_polls: int = 0
    num_busy: int = 0
    slowest: float = 0.0
    """The longest wait for an answer, seconds."""
    faults: list[str] = field(default_factory=list[str])

    def __str__(self) -> str:
        return (
            f"{self.num_submitted} jobs submitted and {self.num_polls} polls answered, "
            f"{self.num_busy} times busy, slowest answer {self.slowest:.2f} s, "
            f"{len(self.faults)} faults {self.faults[:3]}"
        )


class _Client(threading.Thread):
    """Submits orders of one picture and asks after them; counts all into the crowd."""

    lock = threading.Lock()

    def __init__(self, place: int, address: str, model: str, until: float, crowd: Crowd) -> None:
        super().__init__(daemon=True)
        self._place, self._address, self._model, self._until = place, address, model, until
        self._crowd, self._session, self._mine = crowd, requests.Session(), list[int]()

    def run(self) -> None:
        """Until the time is over; then what still waits is cancelled, and all is looked at."""
        try:
            turn = 0
            while time.monotonic() < self._until:
                self._submit(1000 * self._place + turn)
                turn += 1
                for job_id in self._mine[-3:]:
                    self._ask("GET", f"jobs/{job_id}")
            for job_id in self._mine:
                self._end(job_id)
        except Exception as error:
            with self.lock:
                self._crowd.faults.append(f"client {self._place}: {error!r}")

    def _submit(self, seed: int) -> None:
        wanted = {"count": 1, "seed": seed, "originality": False}
        choices = {"generate": wanted, "enhance": {"scale": 1}}
        order = {"kind": "generate", "model": self._model, "choices": choices}
        key = {"Idempotency-Key": str(uuid.uuid4())}
        job = self._ask("POST", "jobs", json=order, headers=key)
        if job is not None:
            self._mine.append(job["id"])
            with self.lock:
                self._crowd.num_submitted += 1
                self._crowd.jobs[job["id"]] = seed

    def _end(self, job_id: int) -> None:
        end = time.monotonic() + 120
        while True:
            job = self._ask("GET", f"jobs/{job_id}")
            if job is not None and job["state"] in ("done", "failed", "cancelled"):
                break
            if time.monotonic() > end:
                raise TimeoutError(f"job {job_id} has not ended in two minutes: {job}")
            self._ask("POST", f"jobs/{job_id}/cancel")
            time.sleep(0.2)
        if job["state"] == "failed":
            raise RuntimeError(job["error"])

    def _ask(self, method: str, path: str, **more: Any) -> Any:
        """The answer's JSON; None where the server was busy, or the job had ended."""
        began = time.monotonic()
        url = f"{self._address}/api/{path}"
        answer = self._session.request(method, url, timeout=60, **more)
        with self.lock:
            self._crowd.slowest = max(self._crowd.slowest, time.monotonic() - began)
            self._crowd.num_polls += method == "GET"
        if answer.status_code in (429, 503):
            line, wait = answer.json()["error"], float(answer.headers["Retry-After"])
            if not line.startswith("busy"):
                raise RuntimeError(line)
            with self.lock:
                self._crowd.num_busy += 1
            time.sleep(min(wait, 0.5))
            return None
        if answer.status_code == 409 and path.endswith("/cancel"):
            return None
        if not answer.ok:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:200]}")
        return answer.json()


def crowd(address: str, model: str, clients: int, seconds: float) -> Crowd:
    """So many clients at once, for so long, against a server; then every job has ended."""
    found, until = Crowd(), time.monotonic() + seconds
    threads = [_Client(place, address, model, until, found) for place in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 300)
        if thread.is_alive():
            found.faults.append("a client was not done after five minutes more")
    return found


def minute(clients: int = 50, seconds: float = 60) -> None:
    """Fifty clients for a minute, against the whole pipeline."""
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as server:
        models = requests.get(f"{server.address}/api/models", timeout=60).json()
        model = next(one["id"] for one in models if not one["needs"])
        found = crowd(server.address, model, clients, seconds)
        print(f"{clients} clients, {seconds:.0f} s: {found}")
        print(f"server's process: {server.mebibytes():.0f} MiB at most")


# ---------------------------------------------------------------- beside a training


def beside(window: float = 60) -> None:
    """A photograph of each size is enlarged while a training runs.

    The training's pace is taken over `window` seconds before and after, and meanwhile.
    """
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as server:
        api = f"{server.address}/api/v1"
        train = {"family": "vae", "total_images": 1_000_000, "measure_images": 0}
        order = {"kind": "train", "collection": "embedded", "settings": {"train": train}}
        training = requests.post(f"{api}/jobs", json=order, timeout=60).json()["id"]
        while _images_seen(api, training) < 500:
            time.sleep(1)
        for width, height in ((320, 240), (1500, 1000)):
            before = _pace(api, training, time.monotonic() + window)
            began = time.monotonic()
            job = _enlarge(api, width, height)
            meanwhile = _pace(api, training, None, job)
            seconds = time.monotonic() - began
            after = _pace(api, training, time.monotonic() + window)
            lost = 1 - 2 * meanwhile / (before + after)
            print(
                f"{width} x {height} to {4 * width} x {4 * height}: {seconds:.0f} s; the training "
                f"saw {before:.1f} pictures a second before, {meanwhile:.1f} meanwhile ({lost:.0%} "
                f"less), {after:.1f} after",
                flush=True,
            )
        requests.post(f"{api}/jobs/{training}/cancel", timeout=60)


def _images_seen(api: str, training: int) -> int:
    progress = requests.get(f"{api}/jobs/{training}", timeout=60).json()["progress"] or {}
    return int(progress["done"]) if progress.get("stage") == "train" else 0


def _pace(api: str, training: int, end: float | None, job: int | None = None) -> float:
    """Pictures a second that the training sees until that moment, or while that job runs."""
    began, first = time.monotonic(), _images_seen(api, training)
    while time.monotonic() < end if end else not _is_over(api, job):
        time.sleep(0.2)
    return (_images_seen(api, training) - first) / (time.monotonic() - began)


def _is_over(api: str, job: int | None) -> bool:
    state = requests.get(f"{api}/jobs/{job}", timeout=60).json()["state"]
    assert state != "failed"
    return state == "done"


def _enlarge(api: str, width: int, height: int) -> int:
    """Send a picture and the order to enlarge it four times => the job."""
    rows, columns = np.mgrid[:height, :width] / max(width, height)
    waves = np.stack([np.sin(9 * rows + k * columns * 20) for k in (1, 2, 3)], axis=-1)
    noise = np.random.default_rng(0).normal(0, 6, waves.shape)
    pixels = (127 + 90 * waves + noise).clip(0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=90)
    upload = requests.post(f"{api}/uploads", data=stream.getvalue(), timeout=60).json()["id"]
    order = {"kind": "enhance", "uploads": [upload], "enhance": {"scale": 4}}
    return requests.post(f"{api}/jobs", json=order, timeout=60).json()["id"]


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    main(sys.argv[1:])
