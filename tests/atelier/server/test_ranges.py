"""Parts and validation of files, against slices of the bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException

from atelier.server.ranges import file_response

SIZES = st.integers(0, 40)


@given(data=st.binary(min_size=1, max_size=30), first=SIZES, last=SIZES)
def test_a_range_is_a_slice(data: bytes, first: int, last: int) -> None:
    asked = {"range": f"bytes={first}-{last}"}
    if first > last or first >= len(data):
        with pytest.raises(HTTPException) as error:
            file_response(asked, data, "image/png", "tag")
        assert error.value.status_code == 416
        assert error.value.headers == {"Content-Range": f"bytes */{len(data)}"}
    else:
        answer = file_response(asked, data, "image/png", "tag")
        assert answer.status_code == 206 and answer.body == data[first : last + 1]
        end = min(last, len(data) - 1)
        assert answer.headers["content-range"] == f"bytes {first}-{end}/{len(data)}"


@given(data=st.binary(min_size=1, max_size=30), count=st.integers(1, 40))
def test_a_suffix_is_the_end(data: bytes, count: int) -> None:
    answer = file_response({"range": f"bytes=-{count}"}, data, "image/png", "tag")
    assert answer.status_code == 206 and answer.body == data[-count:]


@given(header=st.sampled_from(["", "bytes=-", "bytes=0-1,3-4", "items=0-1", "bytes=a-b"]))
def test_what_is_no_single_range_gives_the_whole(header: str) -> None:
    answer = file_response({"range": header}, b"picture", "image/png", "tag")
    assert answer.status_code == 200 and answer.body == b"picture"


def test_a_client_that_has_the_file_is_told_so() -> None:
    for header in ('"tag"', 'W/"tag"', '"other", "tag"'):
        assert file_response({"if-none-match": header}, b"x", "image/png", "tag").status_code == 304
    assert file_response({"if-none-match": '"other"'}, b"x", "image/png", "tag").body == b"x"


def test_a_range_of_another_version_gives_the_whole() -> None:
    asked = {"range": "bytes=1-2", "if-range": '"older"'}
    assert file_response(asked, b"picture", "image/png", "tag").status_code == 200
