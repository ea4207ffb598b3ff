"""Files of every layout, written by hand, by Pillow, or by ImageMagick, and what they show."""

import io
import shutil
import struct
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

MAGICK = next(
    (name for name in ("magick", "convert-im6.q16", "convert") if shutil.which(name)), None
)
WIDTH, HEIGHT = 37, 23


def has_magick() -> bool:
    """Whether ImageMagick itself is there, and no stand-in of its name."""
    if MAGICK is None:
        return False
    said = subprocess.run([MAGICK, "-version"], capture_output=True, text=True, check=False).stdout
    return "Version: ImageMagick" in said


def scene(num_colours: int) -> np.ndarray:
    """A smooth picture, float64 (HEIGHT, WIDTH, num_colours) in [0, 1], 0 and 1 among them."""
    y, x = np.meshgrid(np.linspace(0, 1, HEIGHT), np.linspace(0, 1, WIDTH), indexing="ij")
    return np.stack([x, y, (x + y) / 2, 1 - x][:num_colours], axis=-1)


def opacity() -> np.ndarray:
    """Float64 (HEIGHT, WIDTH) from 0 to 1, along columns and rows."""
    return np.clip(scene(3)[..., 2] * 1.2, 0, 1)


@dataclass(frozen=True)
class Case:
    """A file, and what it shows; None: it must be refused."""

    name: str
    data: bytes
    suffix: str
    shows: np.ndarray | None  # float64 (H, W, 1, 2, 3 or 4) in [0, 1]
    tolerance: float = 1 / 65535


@dataclass
class Tiff:
    """A TIFF, tag by tag."""

    samples: np.ndarray  # (H, W, C) of unsigned, signed or floating numbers
    bits: int
    photometric: int
    order: str = "<"
    is_big: bool = False
    is_planar: bool = False
    tile: int | None = None
    rows_per_strip: int = 7
    is_reversed: bool = False
    predictor: int = 1
    compression: int = 1
    tags: dict[int, tuple[int, ...]] = field(default_factory=dict)

    def data(self) -> bytes:
        """The file."""
        height, width, count = self.samples.shape
        kind = {"u": 1, "i": 2, "f": 3}[self.samples.dtype.kind]
        segments = [self._segment(part) for part in self._parts()]
        names = (324, 325) if self.tile else (273, 279)
        tags: dict[int, tuple[int, ...]] = {
            **{256: (width,), 257: (height,), 258: (self.bits,) * count},
            **{259: (self.compression,), 262: (self.photometric,), 277: (count,)},
            **{266: (2 if self.is_reversed else 1,), 284: (2 if self.is_planar else 1,)},
            **{317: (self.predictor,), 339: (kind,) * count},
            names[1]: tuple(map(len, segments)),
        }
        tags |= {322: (self.tile,), 323: (self.tile,)} if self.tile else {278: (self._rows,)}
        return self._file(tags | self.tags, names[0], segments)

    @property
    def _rows(self) -> int:
        return min(self.rows_per_strip, len(self.samples))

    def _parts(self) -> Iterator[np.ndarray]:
        height, width, count = self.samples.shape
        rows, columns = (self.tile, self.tile) if self.tile else (self._rows, width)
        planes = [slice(n, n + 1) for n in range(count)] if self.is_planar else [slice(None)]
        for plane in planes:
            for y in range(0, height, rows):
                for x in range(0, width, columns):
                    part = self.samples[y : y + rows, x : x + columns, plane]
                    if self.tile:
                        missing = (rows - part.shape[0], columns - part.shape[1])
                        part = np.pad(part, ((0, missing[0]), (0, missing[1]), (0, 0)), "edge")
                    yield part

    def _segment(self, part: np.ndarray) -> bytes:
        part = np.ascontiguousarray(part)
        if self.predictor == 3:
            packed = self._float_differences(part)
        else:
            if self.predictor == 2:
                whole = part.view(f"u{part.itemsize}")
                part = np.diff(whole, axis=1, prepend=whole.dtype.type(0))
            packed = self._packed(part)
        data = zlib.compress(packed) if self.compression == 8 else packed
        if self.is_reversed:
            table = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
            data = data.translate(table)
        return data

    def _float_differences(self, part: np.ndarray) -> bytes:
        rows, _, count = part.shape
        big = part.astype(part.dtype.newbyteorder(">")).view(np.uint8)
        planes = big.reshape(rows, -1, part.itemsize).transpose(0, 2, 1).reshape(rows, -1, count)
        return np.diff(planes, axis=1, prepend=np.uint8(0)).tobytes()

    def _packed(self, part: np.ndarray) -> bytes:
        if self.bits in (8, 16, 32, 64):
            return part.astype(part.dtype.newbyteorder(self.order)).tobytes()
        numbers = part.reshape(len(part), -1).astype(np.uint64)
        places = np.arange(self.bits - 1, -1, -1, dtype=np.uint64)
        digits = (numbers[..., None] >> places & np.uint64(1)).astype(np.uint8)
        if self.bits == 24 and self.order == "<":
            digits = digits.reshape(*numbers.shape, 3, 8)[:, :, ::-1]
        return np.packbits(digits.reshape(len(part), -1), axis=1).tobytes()

    def _file(
        self, tags: dict[int, tuple[int, ...]], offsets_tag: int, segments: list[bytes]
    ) -> bytes:
        order, wide = self.order, self.is_big
        entry, room = ("HHQ8s", 8) if wide else ("HHI4s", 4)
        tags[offsets_tag] = (0,) * len(segments)
        start = 16 if wide else 8
        directory = (8 if wide else 2) + struct.calcsize(order + entry) * len(tags) + room
        outside, entries = b"", b""
        own = {tag: "I" if tag in (offsets_tag, 325, 279) else "H" for tag in tags}
        sizes = sum(len(v) * struct.calcsize(own[t]) for t, v in tags.items())
        first = start + directory + sizes + len(tags) * 8
        places = np.cumsum([first, *map(len, segments)])[:-1]
        tags[offsets_tag] = tuple(int(place) for place in places)
        for tag, values in sorted(tags.items()):
            data = struct.pack(f"{order}{len(values)}{own[tag]}", *values)
            if len(data) > room:
                place = start + directory + len(outside)
                outside += data + bytes(-len(data) % 8)
                data = struct.pack(order + ("Q" if wide else "I"), place)
            entries += struct.pack(
                order + entry, tag, 4 if own[tag] == "I" else 3, len(values), data
            )
        magic = b"II" if order == "<" else b"MM"
        header = magic + (
            struct.pack(f"{order}HHHQ", 43, 8, 0, 16) if wide else struct.pack(f"{order}HI", 42, 8)
        )
        count = struct.pack(order + ("Q" if wide else "H"), len(tags))
        head = header + count + entries + bytes(room) + outside
        return head + bytes(first - len(head)) + b"".join(segments)


def levels(values: np.ndarray, bits: int) -> np.ndarray:
    """[0, 1] => unsigned integers of so many bits, in the smallest type that holds them."""
    size = next(size for size in (1, 2, 4) if bits <= 8 * size)
    return np.rint(values * (2**bits - 1)).astype(f"u{size}")


def shown(numbers: np.ndarray, bits: int) -> np.ndarray:
    """Unsigned integers => [0, 1]."""
    return numbers.astype(np.float64) / (2**bits - 1)


def _grey_and_rgb(bits: int, **layout: Any) -> Iterator[tuple[str, bytes, np.ndarray]]:
    grey, rgb = levels(scene(1), bits), levels(scene(3), bits)
    negative = (2**bits - 1) - grey.astype(np.uint64)
    yield "grey", Tiff(grey, bits, 1, **layout).data(), shown(grey, bits)
    yield "negative", Tiff(negative.astype(grey.dtype), bits, 0, **layout).data(), shown(grey, bits)
    yield "rgb", Tiff(rgb, bits, 2, **layout).data(), shown(rgb, bits)


def tiffs() -> Iterator[Case]:
    """Every depth × layout of a TIFF that this project can put together by hand."""
    layouts: dict[str, dict[str, Any]] = {
        "strips": {},
        "big-endian": {"order": ">"},
        "bigtiff": {"is_big": True},
        "tiles": {"tile": 16},
        "planes": {"is_planar": True},
        "tiled planes, big-endian": {"is_planar": True, "tile": 16, "order": ">"},
        "reversed bits": {"is_reversed": True},
        "deflate": {"compression": 8},
        "one row a strip": {"rows_per_strip": 1},
        "one strip": {"rows_per_strip": 10_000},
    }
    for bits in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 15, 16, 17, 20, 24, 31, 32):
        for name, layout in layouts.items():
            for colours, data, shows in _grey_and_rgb(bits, **layout):
                room = 0.51 / 255 if bits < 8 else 1 / 65535
                yield Case(f"tiff {bits} bits, {name}, {colours}", data, ".tif", shows, room)
    for bits in (8, 16, 32):
        for order in "<>":
            layout = {"order": order, "compression": 8, "predictor": 2}
            for colours, data, shows in _grey_and_rgb(bits, **layout):
                yield Case(f"tiff {bits} bits{order}, predictor, {colours}", data, ".tif", shows)
    yield from _tiffs_with_opacity()
    yield from _palettes()
    yield from _signed_and_floating()
    yield from _inks_and_lab()
    yield from _refused()


def _tiffs_with_opacity() -> Iterator[Case]:
    for bits in (8, 16, 32):
        for num_colours, photometric in ((1, 1), (3, 2)):
            colours, clear = levels(scene(num_colours), bits), levels(opacity(), bits)[..., None]
            whole = np.concatenate([colours, clear], axis=-1)
            for planar in (False, True):
                layout = {"is_planar": planar, "tags": {338: (2,)}}
                name = f"{bits} bits, {num_colours} colours, planar {planar}"
                data = Tiff(whole, bits, photometric, **layout).data()
                yield Case(f"tiff opacity, {name}", data, ".tif", shown(whole, bits))
            mixed = np.rint(colours * shown(clear, bits)).astype(colours.dtype)
            premultiplied = np.concatenate([mixed, clear], axis=-1)
            data = Tiff(premultiplied, bits, photometric, tags={338: (1,)}).data()
            shows = shown(whole, bits)
            yield Case(f"tiff premultiplied, {bits} bits, {num_colours}", data, ".tif", shows, -1)
            more = np.concatenate([whole, clear], axis=-1)
            data = Tiff(more, bits, photometric, tags={338: (0, 2)}).data()
            yield Case(
                f"tiff opacity after another sample, {bits} bits, {num_colours}",
                *(data, ".tif", np.concatenate([shows[..., :-1], shows[..., -1:]], axis=-1)),
            )
    rgbx = np.concatenate([levels(scene(3), 8), levels(opacity(), 8)[..., None]], axis=-1)
    data = Tiff(rgbx, 8, 2, tags={338: (0,)}).data()
    yield Case("tiff rgb and a sample that is no opacity", data, ".tif", shown(rgbx[..., :3], 8))
    data = Tiff(rgbx, 8, 2).data()
    yield Case("tiff rgb and a fourth sample, unexplained", data, ".tif", shown(rgbx, 8))


def _palettes() -> Iterator[Case]:
    for bits in (1, 2, 4, 8):
        size = 1 << bits
        index = levels(scene(1), bits)
        table = np.stack([np.linspace(0, 65535, size), np.linspace(65535, 0, size)] * 2)[:3]
        for kind, colours in {"16": np.rint(table), "8": np.rint(table / 257) * 257}.items():
            colour_map = tuple(int(v) for v in colours.astype(np.uint16).reshape(-1))
            data = Tiff(index, bits, 3, tags={320: colour_map}).data()
            shows = colours.T[index[..., 0]] / 65535
            yield Case(f"tiff palette, {bits} bits, colours of {kind}", data, ".tif", shows)
        narrow = tuple(int(v) for v in np.rint(table / 257).astype(np.uint16).reshape(-1))
        data = Tiff(index, bits, 3, tags={320: narrow}).data()
        shows = np.rint(table / 257).T[index[..., 0]] / 255
        yield Case(f"tiff palette, {bits} bits, wrongly of 8", data, ".tif", shows)


def _signed_and_floating() -> Iterator[Case]:
    for bits in (8, 16, 32):
        for photometric, num_colours in ((1, 1), (2, 3)):
            numbers = levels(scene(num_colours), bits - 1).astype(f"i{bits // 8}")
            data = Tiff(numbers, bits, photometric).data()
            shows = numbers.astype(np.float64) / (2 ** (bits - 1) - 1)
            name = f"signed, {bits} bits, {num_colours} colours"
            yield Case(f"tiff {name}", data, ".tif", shows, 0.51 / 255 if bits == 8 else 1 / 65535)
            below = Tiff((-numbers), bits, photometric).data()
            yield Case(f"tiff {name}, below 0", below, ".tif", None)
    for bits in (16, 32, 64):
        for white in (1.0, 255.0, 65535.0):
            if bits == 16 and white > 255:
                continue  # half precision ends at 65504
            for num_colours, photometric in ((1, 1), (3, 2)):
                numbers = (scene(num_colours) * white).astype(f"f{bits // 8}")
                shows = numbers.astype(np.float64) / white
                name = f"floating, {bits} bits, {num_colours} colours, white {white:g}"
                for order in "<>":
                    data = Tiff(numbers, bits, photometric, order=order).data()
                    yield Case(f"tiff {name} {order}", data, ".tif", shows)
                layout = {"compression": 8, "predictor": 3}
                data = Tiff(numbers, bits, photometric, **layout).data()
                yield Case(f"tiff {name}, predictor", data, ".tif", shows)
    over = scene(1).astype(np.float32)
    over[0, 0], over[0, 1] = 1.004, -0.02
    yield Case("tiff overshoot", Tiff(over, 32, 1).data(), ".tif", np.clip(over, 0, 1))
    for name, wrong in {"nan": np.nan, "infinite": np.inf, "unknown white": 8.0}.items():
        numbers = over.copy()
        numbers[0, 0] = wrong
        yield Case(f"tiff floating, {name}", Tiff(numbers, 32, 1).data(), ".tif", None)
    centred = (scene(1) * 2 - 1).astype(np.float32)
    yield Case("tiff floating, -1 to 1", Tiff(centred, 32, 1).data(), ".tif", None)


def _inks_and_lab() -> Iterator[Case]:
    for bits in (8, 16):
        inks = levels(scene(3), bits)
        black = np.zeros_like(inks[..., :1])
        for planar in (False, True):
            data = Tiff(np.concatenate([inks, black], -1), bits, 5, is_planar=planar).data()
            shows = 1 - shown(inks, bits)
            yield Case(f"tiff inks, {bits} bits, planar {planar}", data, ".tif", shows, 2 / 255)
        grey = np.zeros((HEIGHT, WIDTH, 3), np.float64)
        lightness = scene(1)[..., 0]
        grey[..., 0] = lightness
        numbers = levels(grey, bits)
        data = Tiff(numbers, bits, 8).data()
        light = np.where(
            lightness > 0.08, ((lightness * 100 + 16) / 116) ** 3, lightness * 100 / 903.3
        )
        srgb = np.where(light > 0.0031308, 1.055 * light ** (1 / 2.4) - 0.055, 12.92 * light)
        shows = srgb[..., None].repeat(3, axis=-1)
        yield Case(f"tiff L*a*b*, {bits} bits", data, ".tif", shows, 3 / 255)


def _refused() -> Iterator[Case]:
    rgb = levels(scene(3), 8)
    many = np.concatenate([rgb, rgb], axis=-1)
    complex_numbers = Tiff(levels(scene(1), 32), 32, 1, tags={339: (5,)}).data()
    yield Case("tiff complex numbers", complex_numbers, ".tif", None)
    yield Case("tiff six bands of grey", Tiff(many, 8, 1).data(), ".tif", None)
    yield Case("tiff unknown colours", Tiff(rgb, 8, 32803).data(), ".tif", None)
    yield Case(
        "tiff of no known compression", Tiff(rgb, 8, 2, compression=34677).data(), ".tif", None
    )
    uneven = Tiff(rgb, 8, 2, tags={258: (5, 6, 5)}).data()
    yield Case("tiff of 5, 6 and 5 bits", uneven, ".tif", None)


def png(numbers: np.ndarray, depth: int, colour_type: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of unsigned integers (H, W, C), with further chunks before its pixels."""
    height, width, _ = numbers.shape
    places = np.arange(depth - 1, -1, -1, dtype=np.uint64)
    digits = (numbers.astype(np.uint64)[..., None] >> places & np.uint64(1)).astype(np.uint8)
    rows = np.packbits(digits.reshape(height, -1), axis=1)
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    parts = [(b"IHDR", header), *chunks, (b"IDAT", packed), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )


def pngs() -> Iterator[Case]:
    """Every colour type, depth and kind of transparency of a PNG."""
    for depth in (1, 2, 4, 8, 16):
        numbers = levels(scene(1), depth)
        yield Case(f"png grey, {depth} bits", png(numbers, depth, 0), ".png", shown(numbers, depth))
        key = int(numbers[5, 20, 0])
        hole = (b"tRNS", struct.pack(">H", key))
        clear = np.where(numbers == key, 0.0, 1.0)
        shows = np.concatenate([shown(numbers, depth), clear], axis=-1)
        yield Case(f"png grey with a hole, {depth}", png(numbers, depth, 0, hole), ".png", shows)
    for depth in (8, 16):
        numbers = levels(scene(3), depth)
        yield Case(f"png rgb, {depth} bits", png(numbers, depth, 2), ".png", shown(numbers, depth))
        key = numbers[5, 20]
        hole = (b"tRNS", struct.pack(">3H", *map(int, key)))
        clear = np.where(np.all(numbers == key, axis=-1, keepdims=True), 0.0, 1.0)
        shows = np.concatenate([shown(numbers, depth), clear], axis=-1)
        yield Case(f"png rgb with a hole, {depth}", png(numbers, depth, 2, hole), ".png", shows)
        for num_colours, colour_type in ((1, 4), (3, 6)):
            whole = np.concatenate([scene(num_colours), opacity()[..., None]], axis=-1)
            numbers = levels(whole, depth)
            data = png(numbers, depth, colour_type)
            shows = shown(numbers, depth)
            yield Case(f"png {num_colours} colours, opacity, {depth}", data, ".png", shows)
    for depth in (1, 2, 4, 8):
        index = levels(scene(1), depth)
        table = np.random.default_rng(depth).integers(0, 256, (1 << depth, 3), dtype=np.uint8)
        clear = np.linspace(0, 255, 1 << depth).astype(np.uint8)
        palette = (b"PLTE", table.tobytes())
        yield Case(
            f"png palette, {depth} bits",
            *(png(index, depth, 3, palette), ".png", table[index[..., 0]] / 255),
        )
        shows = np.concatenate([table, clear[:, None]], axis=-1)[index[..., 0]] / 255
        data = png(index, depth, 3, palette, (b"tRNS", clear.tobytes()))
        yield Case(f"png palette with opacity, {depth}", data, ".png", shows)


def by_pillow() -> Iterator[Case]:
    """Files that Pillow writes in the other formats, and with libtiff's other compressions."""
    rgb, grey = levels(scene(3), 8), levels(scene(1), 8)
    rgba = np.concatenate([rgb, levels(opacity(), 8)[..., None]], axis=-1)
    images = {
        **{"L": Image.fromarray(grey[..., 0]), "RGB": Image.fromarray(rgb)},
        "RGBA": Image.fromarray(rgba),
        "1": Image.fromarray(grey[..., 0] > 127),
    }
    arrays = {"L": grey, "RGB": rgb, "RGBA": rgba, "1": (grey > 127) * np.uint8(255)}
    exact: dict[str, tuple[str, dict[str, Any], str]] = {
        **{f"tiff {name}": (".tif", {"compression": name}, "L RGB RGBA") for name in _LIBTIFF},
        **{f"tiff {name}": (".tif", {"compression": name}, "1") for name in _FAX},
        "webp": (".webp", {"lossless": True, "exact": True}, "RGB RGBA"),
        "bmp": (".bmp", {}, "1 L RGB"),
        "ppm": (".ppm", {}, "1 L RGB"),
        "tga": (".tga", {}, "L RGB RGBA"),
        "tga rle": (".tga", {"compression": "tga_rle"}, "L RGB RGBA"),
        "jp2": (".jp2", {"irreversible": False}, "L RGB RGBA"),
        "pcx": (".pcx", {}, "1 L RGB"),
        "sgi": (".sgi", {}, "L RGB RGBA"),
        "qoi": (".qoi", {}, "RGB RGBA"),
        "gif": (".gif", {}, "1 L"),
        "dib": (".dib", {}, "L RGB"),
    }
    for name, (suffix, options, modes) in exact.items():
        for mode in modes.split():
            yield Case(
                f"{name}, {mode}", _saved(images[mode], suffix, options), suffix, arrays[mode] / 255
            )
    lossy: dict[str, tuple[str, dict[str, Any]]] = {
        "jpeg": (".jpg", {"quality": 98, "subsampling": 0}),
        "jpeg progressive": (".jpg", {"quality": 98, "progressive": True}),
        "tiff jpeg": (".tif", {"compression": "jpeg", "quality": 98}),
        "avif": (".avif", {"quality": 98}),
    }
    for name, (suffix, options) in lossy.items():
        for mode in ("L", "RGB"):
            data = _saved(images[mode], suffix, options)
            yield Case(f"{name}, {mode}", data, suffix, arrays[mode] / 255, 6 / 255)
    yield from _print_jpegs(images["RGB"])
    for white, numbers in {"16": levels(scene(1), 16), "12": levels(scene(1), 12)}.items():
        head = f"P5 {WIDTH} {HEIGHT} {2 ** int(white) - 1}\n".encode()
        data = head + numbers.astype(">u2").tobytes()
        yield Case(f"pgm of {white} bits", data, ".pgm", shown(numbers, int(white)), 1.01 / 65535)
    head = f"Pf {WIDTH} {HEIGHT} -1.0\n".encode()
    data = head + scene(1)[::-1].astype("<f4").tobytes()
    yield Case("pfm", data, ".pfm", scene(1))


_LIBTIFF = ("tiff_lzw", "packbits", "tiff_adobe_deflate", "tiff_deflate", "lzma", "zstd")
_FAX = ("group3", "group4", "tiff_ccitt")


def _print_jpegs(image: Image.Image) -> Iterator[Case]:
    inks = image.convert("CMYK")
    data = _saved(inks, ".jpg", {"quality": 98})
    shows = np.asarray(image) / 255
    yield Case("jpeg of inks, as Adobe writes it", data, ".jpg", shows, 5 / 255)
    # Without Adobe's marker inks are not inverted (as libvips, GIMP and ghostscript have it).
    inverted = Image.merge("CMYK", [band.point(lambda v: 255 - v) for band in inks.split()])
    data = _saved(inverted, ".jpg", {"quality": 98})
    at = data.index(b"\xff\xee")
    (size,) = struct.unpack_from(">H", data, at + 2)
    data = data[:at] + data[at + 2 + size :]
    yield Case("jpeg of inks without Adobe's marker", data, ".jpg", shows, 5 / 255)


def _saved(image: Image.Image, suffix: str, options: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    image.save(stream, Image.registered_extensions()[suffix], **options)
    return stream.getvalue()


def magick_reads(path: Path) -> np.ndarray:
    """The file's first picture as ImageMagick sees it: float64 (H, W, 4), sRGB and opacity."""
    assert MAGICK is not None
    command = [MAGICK, f"{path}[0]", "-auto-orient", "-colorspace", "sRGB", "-alpha", "on"]
    command += ["-depth", "16", "-endian", "LSB", "rgba:-"]
    size = [MAGICK, f"{path}[0]", "-format", "%w %h", "info:"]
    width, height = map(int, _run(size).split())
    read = np.frombuffer(_run(command), "<u2")
    return read.reshape(height, width, 4) / 65535


def magick_writes(arguments: list[str], source: Path, target: Path) -> None:
    """Have ImageMagick write a picture in some layout."""
    assert MAGICK is not None
    _run([MAGICK, str(source), *arguments, str(target)])


def _run(command: list[str]) -> bytes:
    return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
