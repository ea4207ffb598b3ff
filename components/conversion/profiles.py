"""Colour profiles made here (ICC.1:2001-04), where a file says what its samples mean otherwise.

Two cases: a PNG's `gAMA` and `cHRM` chunks, which no other format has; and a grey profile whose
picture is written as RGB, since WebP and AVIF know no grey. Both become a profile of three
primaries and one curve, which every colour-managed program reads.
"""

import struct
from collections.abc import Mapping

import numpy as np

_SRGB = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)  # x and y of white, red, green, blue
_SRGB_GAMMA = 0.45455  # what a PNG says where it means sRGB (PNG specification, 11.3.2.5)
_D50 = np.array([0.9642, 1.0, 0.8249])  # the white of all profiles
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_HEADER_BYTES = 128
_COLOURS = {b"RGB ", b"GRAY"}


def colours_of(profile: bytes) -> bytes | None:
    """Colours that a profile describes, b'RGB ' or b'GRAY' (7.2.6); None: others, or damaged."""
    named = profile[16:20]
    return named if named in _COLOURS else None


def of_gamma(
    gamma: float | None, chromaticities: tuple[float, ...] | None, *, is_grey: bool
) -> bytes | None:
    """A PNG's gamma and chromaticities as a profile; None where they are those of sRGB.

    A gamma that is missing is taken for that of sRGB, and so are chromaticities.
    """
    gamma, primaries = gamma or _SRGB_GAMMA, chromaticities or _SRGB
    is_srgb_gamma = abs(gamma - _SRGB_GAMMA) < 0.001
    if is_srgb_gamma and (is_grey or np.allclose(primaries, _SRGB, atol=0.001)):
        return None
    # One number in fixed point: light = sample ** number.
    exponent = min(max(round(256 / gamma), 1), 65535)
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, exponent)
    if is_grey:
        return _profile(b"GRAY", {b"kTRC": curve})
    try:
        return _profile(b"RGB ", _of_primaries(curve, primaries))
    except np.linalg.LinAlgError:  # three primaries on one line show no colours
        return None


def grey_as_rgb(profile: bytes) -> bytes | None:
    """The profile of a grey picture => that of the same levels written as red, green and blue.

    Grey stays grey whatever the primaries, so those of sRGB are taken. None where the profile has
    no curve of its own to take over.
    """
    curve = _tags_of(profile).get(b"kTRC")
    return None if curve is None else _profile(b"RGB ", _of_primaries(curve, _SRGB))


def _tags_of(profile: bytes) -> dict[bytes, bytes]:
    if len(profile) < _HEADER_BYTES + 4:
        return {}
    (count,) = struct.unpack_from(">I", profile, _HEADER_BYTES)
    tags: dict[bytes, bytes] = {}
    for place in range(min(count, 200)):
        entry = profile[_HEADER_BYTES + 4 + 12 * place :][:12]
        if len(entry) == 12:
            name, offset, size = struct.unpack(">4sII", entry)
            tags[name] = profile[offset : offset + size]
    return {name: data for name, data in tags.items() if data[:4] in (b"curv", b"para")}


def _of_primaries(curve: bytes, primaries: tuple[float, ...]) -> dict[bytes, bytes]:
    columns = _adapted(np.array(primaries, np.float64).reshape(4, 2))
    names = (b"rXYZ", b"gXYZ", b"bXYZ")
    points = {name: _xyz(column) for name, column in zip(names, columns.T, strict=True)}
    return points | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)


def _adapted(points: np.ndarray) -> np.ndarray:
    """Chromaticities (4, 2) => XYZ of red, green and blue as columns, their white turned to D50.

    By Bradford's transform, as ICC.1 annex E has it.
    """
    x, y = points.T
    xyz = np.stack([x / y, np.ones(4), (1 - x - y) / y], axis=1)
    white, primaries = xyz[0], xyz[1:].T
    primaries = primaries * np.linalg.solve(primaries, white)  # pyright: ignore[reportUnknownVariableType]
    gains = (_BRADFORD @ _D50) / (_BRADFORD @ white)
    return np.linalg.inv(_BRADFORD) @ np.diag(gains) @ _BRADFORD @ primaries  # pyright: ignore[reportUnknownVariableType]


def _xyz(point: np.ndarray) -> bytes:
    fixed = [round(float(value) * 65536) for value in point]
    return b"XYZ " + bytes(4) + struct.pack(">3i", *fixed)


def _profile(colours: bytes, own: Mapping[bytes, bytes]) -> bytes:
    """A display profile of version 2.4 with these tags beside the required ones."""
    words = b"from the picture's own metadata\0"
    required = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(words)) + words + bytes(78),
        b"cprt": b"text" + bytes(4) + b"no copyright\0",
        b"wtpt": _xyz(_D50),
    }
    tags = required | dict(own)
    position = _HEADER_BYTES + 4 + 12 * len(tags)
    table, body, places = b"", b"", dict[bytes, int]()
    for name, data in tags.items():
        if data not in places:  # three curves that are one lie there once
            places[data] = position + len(body)
            body += data + bytes(-len(data) % 4)
        table += name + struct.pack(">II", places[data], len(data))
    size = position + len(body)
    header = struct.pack(
        ">I4sI4s4s4s12s4s28s12s48s",
        *(size, b"", 0x02400000, b"mntr", colours, b"XYZ ", bytes(12), b"acsp", b""),
        *(_xyz(_D50)[8:], b""),
    )
    return header + struct.pack(">I", len(tags)) + table + body
