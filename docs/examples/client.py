"""Make pictures over Atelier's API, with nothing but `requests`.

python docs/examples/client.py http://127.0.0.1:7860 --count 4 --folder pictures

Where the server asks for a token, it is taken from the environment variable ATELIER_TOKEN.
"""

import argparse
import json
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests


class Client:
    """The few calls that most programs need."""

    def __init__(self, address: str, token: str | None = None) -> None:
        self._address = address.rstrip("/")
        self._session = requests.Session()
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"

    def call(self, method: str, path: str, **more: Any) -> Any:
        """Call the API => its JSON. A full queue is asked again; other errors are raised."""
        while True:
            answer = self._session.request(method, self._address + path, timeout=60, **more)
            if answer.status_code != 503:
                break
            time.sleep(float(answer.headers.get("Retry-After", 5)))
        if not answer.ok:
            raise RuntimeError(answer.json()["error"])
        return answer.json()

    def submit(self, order: dict[str, Any]) -> dict[str, Any]:
        """Put an order into the queue; trying again after a lost answer makes no second job."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        return self.call("POST", "/api/jobs", json=order, headers=headers)

    def events(self, job_id: int) -> Iterator[dict[str, Any]]:
        """Events of a job, as they happen, until it has ended."""
        path = f"{self._address}/api/jobs/{job_id}/events"
        with self._session.get(path, stream=True, timeout=60) as lines:
            for line in lines.iter_lines(chunk_size=None):
                if line.startswith(b"data: "):
                    yield json.loads(line.removeprefix(b"data: "))

    def save(self, result_id: int, folder: Path, image_format: str = "png") -> Path:
        """Save a picture into a folder, in the format that is wanted; returns its path."""
        path = f"{self._address}/api/results/{result_id}/file"
        answer = self._session.get(path, params={"format": image_format}, timeout=60)
        answer.raise_for_status()
        folder.mkdir(parents=True, exist_ok=True)
        place = folder / f"{result_id}.{image_format}"
        place.write_bytes(answer.content)
        return place


def main() -> None:
    """Order pictures of the proposed model, watch them come, and save them."""
    parser = argparse.ArgumentParser(description="Make pictures over Atelier's API.")
    parser.add_argument("address", help="where the server is, as http://127.0.0.1:7860")
    parser.add_argument("--count", type=int, default=4)
    parser.add_argument("--folder", type=Path, default=Path("pictures"))
    given = parser.parse_args()

    client = Client(given.address, os.environ.get("ATELIER_TOKEN"))
    model = next(model for model in client.call("GET", "/api/models") if model["is_default"])
    choices = {"generate": {"count": given.count, "seed": 7}, "enhance": {"scale": 4}}
    job = client.submit({"kind": "generate", "model": model["id"], "choices": choices})
    print(f"job {job['id']} with {model['name']}, place {job['position']} in the queue")

    for event in client.events(job["id"]):
        if event["kind"] == "kept":
            print(f"saved {client.save(event['data']['result'], given.folder)}")
        elif event["kind"] == "progress":
            print(f"{event['data']['stage']}: {event['data']['done']:.0f}")

    job = client.call("GET", f"/api/jobs/{job['id']}")
    print(
        f"{job['state']}: {job['num_results']} pictures"
        + (f" ({job['error']})" if job["error"] else "")
    )


if __name__ == "__main__":
    main()
