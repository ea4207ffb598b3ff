"""Valid messages of every kind, for hypothesis to draw."""

import hashlib
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from atelier.contracts.samples import digest
from interfaces.batch import Carried
from interfaces.iedt import IEDT
from interfaces.igdt import IGDT
from interfaces.iodt import IODT
from interfaces.record import EnhancementRecord, FileOrigin, GeneratedOrigin, Record


def examples(count: int) -> settings:
    """Settings of a test that draws `count` messages, however slow the machine is just now."""
    return settings(max_examples=count, deadline=None, suppress_health_check=[HealthCheck.too_slow])


words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
digests = words.map(digest)
generated = st.builds(
    GeneratedOrigin,
    seed=st.integers(0, 2**63 - 1),
    index=st.integers(0, 10**6),
    family=words,
    model_digest=digests,
    dataset_name=words,
    dataset_digest=digests,
    style=st.none() | words,
    options=st.dictionaries(words, st.booleans() | st.integers(-9, 9) | words, max_size=2),
)
files = st.builds(FileOrigin, name=words, sha256=digests)
carried_blocks = st.builds(
    Carried,
    bit_depth=st.sampled_from([8, 16]),
    mode=st.sampled_from(["RGB", "L", "CMYK", "I;16"]),
    icc_profile=st.none() | st.binary(max_size=9),
    exif=st.none() | st.binary(max_size=9),
    xmp=st.none() | st.binary(max_size=9),
    text=st.dictionaries(words, words, max_size=2),
)


@st.composite
def batches(draw: st.DrawFn) -> IGDT:
    """Any valid batch: every field, every kind of origin, values to the ends of their range."""
    count, height, width = (draw(st.integers(1, 4)) for _ in range(3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    images = rng.uniform(-1, 1, (count, 3, height, width)).astype(np.float32)
    images.flat[:2] = -1, 1
    alpha = rng.random((count, 1, height, width), dtype=np.float32)

    def one_each(strategy: st.SearchStrategy[Any]) -> tuple[Any, ...]:
        return tuple(draw(st.lists(strategy, min_size=count, max_size=count)))

    return IGDT(
        images=images,
        origins=one_each(generated | files),
        alpha=alpha if draw(st.booleans()) else None,
        carried=one_each(carried_blocks) if draw(st.booleans()) else None,
    )


enhancements = st.builds(
    EnhancementRecord,
    enhancer=words,
    weights_sha256=st.none() | digests,
    is_fallback=st.booleans(),
    scale=st.sampled_from([1, 4, 16]),
    strength=st.floats(0, 1),
    denoise=st.floats(0, 1),
    twin_sha256=st.none() | digests,
    route=st.none() | words,
)


@st.composite
def enlarged_batches(draw: st.DrawFn) -> IEDT:
    """Any valid batch, with any valid word on how it was enlarged."""
    batch = draw(batches())
    figures = st.floats(0, 255)
    drift = st.just(()) | st.tuples(*[figures] * len(batch))
    return IEDT(**dict(batch), enhancement=draw(enhancements), drift=draw(drift))


values = st.none() | st.booleans() | st.integers(-9, 9) | words
records = st.recursive(
    st.none(),
    lambda source: st.builds(
        Record,
        software=words,
        origin=generated | files,
        enhancement=enhancements,
        conversion=st.dictionaries(words, values, max_size=2),
        is_ai_generated=st.booleans(),
        source=source,
    ),
    max_leaves=2,
).filter(lambda record: record is not None)


def make_encoded(data: bytes, record: Record, /, **changed: Any) -> IODT:
    """An IODT of any bytes; its other fields may be changed."""
    fields: dict[str, Any] = {
        "data": data,
        "sha256": hashlib.sha256(data).hexdigest(),
        "media_type": "image/png",
        "width": 3,
        "height": 2,
        "record": record,
    }
    return IODT(**(fields | changed))


encoded = st.builds(
    make_encoded,
    st.binary(min_size=1, max_size=99),
    records,
    media_type=st.sampled_from(
        [f"image/{name}" for name in ("png", "jpeg", "webp", "avif", "tiff")]
    ),
    width=st.integers(1, 2**31),
)
