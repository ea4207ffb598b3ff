"""Answers of the API about where a picture came from."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from atelier.contracts.samples import make_iedt
from atelier.server import Safety, create_app
from atelier.verification import Verification
from components.conversion import ImageConverter
from interfaces.ics import ICS
from tests.atelier.jobs.fake_painter import make_backend

HERE = "http://127.0.0.1"


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    return TestClient(create_app(make_backend(tmp_path / "workspace"), Safety()), HERE)


def _picture(**chosen: object) -> bytes:
    settings = ICS.model_validate(chosen)
    return next(ImageConverter().convert([make_iedt(1, 32)], settings)).data


@pytest.mark.parametrize(("sign", "state"), [(True, "intact"), (False, "unsigned")])
def test_an_uploaded_picture_is_verified_at_once(
    client: TestClient, sign: bool, state: str
) -> None:
    data = _picture(sign=sign)
    sent = client.post("/api/v1/uploads?name=dropped.png", content=data)
    assert sent.status_code == 201
    answer = client.get(f"/api/v1/uploads/{sent.json()['id']}/verification")
    found = Verification.model_validate(answer.json())
    assert (found.name, found.state, found.made_by) == ("dropped.png", state, "Atelier")


@pytest.mark.parametrize("place", ["uploads/nonsense", "results/12345"])
def test_what_is_not_there_is_not_found(client: TestClient, place: str) -> None:
    assert client.get(f"/api/v1/{place}/verification").status_code == 404
