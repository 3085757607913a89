"""Text of any encoding, with any line ends, compressed or not."""

import bz2
import gzip
import lzma
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskksvd.captions.files.text import Decoder, decode_text, ending_of, read_lines, read_whole

TEXT = "file,caption\na.png,un café à Genève – “très” beau\nb.png,Straße\n\nc.png,ñandú"
MARKED = {
    "utf-8": b"",
    "utf-8-sig": b"",
    "utf-16": b"",
    "utf-16-le": b"\xff\xfe",
    "utf-16-be": b"\xfe\xff",
    "utf-32-le": b"\xff\xfe\0\0",
    "utf-32-be": b"\0\0\xfe\xff",
}


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", [*MARKED, "utf-16-le without a mark", "utf-16-be without a mark"])
def test_encodings_that_show(tmp_path, encoding, newline):
    name, _, unmarked = encoding.partition(" ")
    data = (b"" if unmarked else MARKED[name]) + TEXT.replace("\n", newline).encode(name)
    (tmp_path / "t.csv").write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(read_lines(tmp_path / "t.csv", "t.csv")) == TEXT.split("\n")
        assert decode_text(data, "t").replace(newline, "\n") == TEXT


def test_what_is_no_utf8_is_windows_1252_and_said_once(tmp_path):
    (tmp_path / "t.csv").write_bytes(TEXT.encode("cp1252"))
    with pytest.warns(UserWarning) as said:
        assert list(read_lines(tmp_path / "t.csv", "captions='t.csv'")) == TEXT.split("\n")
    (message,) = [str(one.message) for one in said]
    assert message.startswith("captions='t.csv' has 3 lines with bytes that are no UTF-8")
    assert "Windows-1252" in message and message.endswith("the first at line 2")
    with pytest.warns(UserWarning, match=r"a\.txt has 1 text with bytes that are no UTF-8"):
        assert decode_text("Café".encode("latin-1"), "a.txt") == "Café"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(read_lines(tmp_path / "t.csv", "t", quiet=True)) == TEXT.split("\n")


def test_one_bad_byte_spoils_nothing_else():
    with pytest.warns(UserWarning, match="no UTF-8"):
        assert (
            decode_text("Café ".encode() + b"\xe9 \x81" + " naïve 犬".encode(), "t") == "Café é \x81 naïve 犬"
        )


def test_several_texts_are_told_together():
    decoder = Decoder("00000.tar", "texts")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [
            decode_text(data, decoder, name) for name, data in (("0", b"a"), ("1", b"\xe9"), ("2", b"\xe8"))
        ] == ["a", "é", "è"]
    with pytest.warns(UserWarning, match="00000.tar has 2 texts .*, the first at 1"):
        decoder.tell()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decoder.tell()


def test_damaged_utf16_is_told(tmp_path):
    (tmp_path / "t.csv").write_bytes("\ufeffa\nb\n".encode("utf-16-le") + b"\x00\xd8c\0")
    with pytest.warns(UserWarning, match="damaged UTF-16-LE.*line 3"):
        assert list(read_lines(tmp_path / "t.csv", "t"))[:2] == ["a", "b"]


@pytest.mark.parametrize("ending, pack", [("gz", gzip), ("bz2", bz2), ("xz", lzma)])
def test_compressed_files(tmp_path, ending, pack):
    path = tmp_path / f"t.CSV.{ending}"
    path.write_bytes(pack.compress(TEXT.encode()))
    assert ending_of(path) == ".csv" and read_whole(path, "t") == TEXT
    long = "".join(f"{number} {number * 7919 % 10007}\n" for number in range(100_000))
    path.write_bytes(pack.compress(long.encode())[:-40])
    with pytest.raises(ValueError, match="t is cut short or damaged"):
        list(read_lines(path, "t"))


@given(st.lists(st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]))))
def test_any_lines_are_read_as_they_were_written(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("text") / "t.txt"
    lines = ["file,caption", *lines]
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())
    assert list(read_lines(path, "t")) == lines


def test_a_long_file_of_carriage_returns(tmp_path):
    lines = [f"{number}.png,a dog {number}" for number in range(20_000)]
    (tmp_path / "t.csv").write_bytes("\r".join(lines).encode())
    assert list(read_lines(tmp_path / "t.csv", "t")) == lines
