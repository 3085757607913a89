"""Text of people's files: whatever its encoding and its line ends, compressed or not."""

import bz2
import codecs
import gzip
import io
import itertools
import lzma
import os
import re
import warnings
import zlib

PACKED = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
"""Endings of compressed files, which may follow any other ending, and what opens them."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_PEEK = 1 << 16
"""Bytes that are looked at to tell encoding and line ends."""

_BLOCK = 1024
"""Lines that are decoded at a time where each is decoded by itself."""

_BINARY = {
    b"\x1f\x8b": "is compressed, and its name must end in .gz",
    b"BZh": "is compressed, and its name must end in .bz2",
    b"\xfd7zXZ": "is compressed, and its name must end in .xz",
    b"PK\x03\x04": "is a zip file or a workbook of Excel; unpack it, or save it as CSV",
    b"PAR1": "is a Parquet file, and its name must end in .parquet",
}
"""First bytes of files that are no text, and what to do."""

_CP1252 = {code: bytes([code]).decode("cp1252", "ignore") or chr(code) for code in range(128, 256)}
_FALLBACK = "daskksvd.cp1252"


def _as_cp1252(error):
    if not isinstance(error, UnicodeDecodeError):
        raise error
    found = error.object[error.start : error.end]
    return "".join(_CP1252.get(byte, chr(byte)) for byte in found), error.end


codecs.register_error(_FALLBACK, _as_cp1252)


class Decoder:
    """Bytes as text: by a byte-order mark, else as UTF-8, and what is none as Windows-1252.

    Parameters
    ----------
    where : str
        What the warning calls the file.
    unit : str
        What of it is decoded at a time, in the plural.

    Attributes
    ----------
    n_odd : int
        How many were not in the encoding of the others.
    """

    def __init__(self, where, unit="lines"):
        self.where, self.unit = where, unit
        self.n_odd, self.first, self._damaged = 0, None, None

    def text(self, data, place, encoding="utf-8"):
        """Text of ``data``; ``place`` is told if it is the first that is in another encoding."""
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            self.count(place, None if encoding == "utf-8" else encoding)
        return data.decode(encoding, _FALLBACK if encoding == "utf-8" else "replace")

    def count(self, place, damaged=None):
        """One more that is not in the encoding of the others."""
        self.n_odd += 1
        if self.first is None:
            self.first, self._damaged = place, damaged

    def tell(self):
        """Warn of all of them, once."""
        if not self.n_odd:
            return
        if self._damaged is None:
            what = (
                "no UTF-8: they were read as Windows-1252 (Latin-1); save the text as UTF-8 if that is wrong"
            )
        else:
            what = f"damaged {self._damaged.upper()}; what is no text there is written as \ufffd"
        number = self.unit if self.n_odd > 1 else self.unit.removesuffix("s")
        at = f", the first at {self.first}" if self.first else ""
        warnings.warn(
            f"{self.where} has {self.n_odd:,} {number} with bytes that are {what}{at}", stacklevel=2
        )
        self.n_odd, self.first = 0, None


def decode_text(data, where, place=None):
    """Text of bytes that may be in any of the common encodings.

    Parameters
    ----------
    data : bytes
        In UTF-8, in UTF-16 or UTF-32 with or without a byte-order mark, or in
        Windows-1252 (of which Latin-1 is a part).
    where : str or Decoder
        What a warning calls them; or what collects such warnings of several.
    place : str, optional
        What the warning of several calls these, if they are the first.

    Returns
    -------
    str
        Without the mark. Bytes that are no UTF-8 were read as Windows-1252,
        and a warning says so.
    """
    decoder = where if isinstance(where, Decoder) else Decoder(where, "texts")
    encoding, mark = sniff(data[:_PEEK])
    text = decoder.text(data[mark:], place, encoding)
    if decoder is not where:
        decoder.tell()
    return text


def lines_of(text):
    """Lines of a text, which end as those of `read_lines`."""
    return re.split(r"\r\n?|\n", text)


def sniff(head):
    """Encoding that the first bytes of a text show, and the length of its byte-order mark."""
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding, len(mark)
    if b"\0" not in head:
        return "utf-8", 0
    # text of the West in UTF-16 without a mark has a zero in every second byte
    even, odd = head[::2].count(0), head[1::2].count(0)
    few, many = sorted((even, odd))
    if many >= max(2, len(head) // 20) and few <= many // 10:
        return ("utf-16-le" if odd > even else "utf-16-be"), 0
    return "utf-8", 0


def ending_of(path):
    """Ending of a file's name in small letters, without that of a compressed file."""
    stem, ending = os.path.splitext(os.fspath(path).lower())
    return os.path.splitext(stem)[1] if ending in PACKED else ending


def open_bytes(path):
    """Open a file to read bytes, decompressed if its name ends like that of a compressed one."""
    return PACKED.get(os.path.splitext(os.fspath(path).lower())[1], open)(path, "rb")


def read_lines(path, where, *, quiet=False):
    """Lines of a text file, without their ends.

    They end at a line feed, perhaps after a carriage return, or, in a file that
    begins without any line feed, at carriage returns.

    Parameters
    ----------
    path : str
        May be compressed, see `PACKED`.
    where : str
        What messages call it.
    quiet : bool
        Say nothing of lines in another encoding, as for a second reading.

    Yields
    ------
    str
        With zero bytes as spaces.

    Raises
    ------
    ValueError
        Where a compressed file is damaged or cut short.
    """
    return itertools.chain.from_iterable(_blocks(path, where, quiet))


def _blocks(path, where, quiet):
    """The lines, many at a time, which takes a third of the time."""
    decoder = Decoder(where)
    try:
        with open_bytes(path) as file:
            head = file.read(_PEEK)
            for start, reason in _BINARY.items():
                if head.startswith(start):
                    raise ValueError(f"{where} {reason}")
            encoding, mark = sniff(head)
            rest = io.BufferedReader(_Joined(head[mark:], file), _PEEK)
            if encoding == "utf-8":
                if b"\r" in head and b"\n" not in head:
                    yield from _many(_decoded(_split(rest, b"\r"), decoder, 1))
                else:
                    yield from _in_blocks(rest, decoder)
            else:
                yield from _many(_wide(rest, encoding, head[mark:], decoder))
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise ValueError(f"{where} is cut short or damaged ({error})") from error
    if not quiet:
        decoder.tell()


def read_whole(path, where):
    """All text of a file."""
    return "\n".join(read_lines(path, where))


def _many(lines):
    """Lists of many lines at a time."""
    while block := list(itertools.islice(lines, _BLOCK)):
        yield block


def _in_blocks(file, decoder):
    """Lists of lines that end with a line feed, decoded at once, which takes a fourth of the time."""
    number = 1
    while lines := file.readlines(_PEEK):
        try:
            text = b"".join(lines).decode()
        except UnicodeDecodeError:
            yield list(_decoded(lines, decoder, number))
        else:
            text = text.replace("\0", " ") if "\0" in text else text
            parts = text.split("\n")
            if not parts[-1]:
                del parts[-1]
            yield parts if "\r" not in text else [part.rstrip("\r") for part in parts]
        number += len(lines)


def _decoded(lines, decoder, first):
    for number, line in enumerate(lines, first):
        try:
            text = line.decode()
        except UnicodeDecodeError:
            text = decoder.text(line, f"line {number}")
        text = text.rstrip("\r\n")
        yield text.replace("\0", " ") if "\0" in text else text


def _wide(file, encoding, head, decoder):
    """Lines in UTF-16 or UTF-32."""
    head = head[: len(head) // 4 * 4].decode(encoding, "replace")
    newline = "\r" if "\r" in head and "\n" not in head else "\n"
    with io.TextIOWrapper(file, encoding, "replace", newline) as text:
        for number, line in enumerate(text, 1):
            if "\ufffd" in line:
                decoder.count(f"line {number}", encoding)
            yield line.rstrip("\r\n").replace("\0", " ")


def _split(file, end):
    """Lines that end with any byte."""
    held = b""
    for block in itertools.chain(iter(lambda: file.read(_PEEK), b""), [b""]):
        *lines, held = (held + block).split(end)
        yield from lines
        if not block and held:
            yield held


class _Joined(io.RawIOBase):
    """What was read of a file, and the rest of it."""

    def __init__(self, head, file):
        super().__init__()
        self._head, self._file = head, file

    def readable(self):
        return True

    def readinto(self, buffer):
        data = self._head[: len(buffer)]
        if data:
            self._head = self._head[len(data) :]
        else:
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
