"""Checks a zip as its bytes pass: the checksums of its members, and its directory.

A zip that was cut short lacks its directory.
"""

import bz2
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pulumi_snapshots.errors import ProviderError
from pulumi_snapshots.storage.flow import file_of
from pulumi_snapshots.storage.store import Buffer

UNPACKED_AT_ONCE = 1024 * 1024
"""Bytes, however small they were before: a member may be made to fill the memory."""
LARGEST_DIRECTORY = 8 * 1024 * 1024
"""Bytes of a directory that is read: that of about 80,000 members."""
LONGEST_END = 0xFFFF + 22
"""Bytes at the end in which zipfile looks for the end record, whose comment may be as long."""
MEMBER = b"PK\x03\x04"
SIGNATURES = (MEMBER, b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x08")
"""What follows a member: another member, or the directory."""
LOCAL_HEADER = struct.Struct("<2x2H8x2L2H")
FIELD_HEADER = struct.Struct("<2H")
ENCRYPTED_FLAG = 1
SIZES_FOLLOW_FLAG = 8
STORED = 0
DEFLATED = 8
BZIP2 = 12
READ_METHODS = (STORED, DEFLATED, BZIP2)
"""Methods of compression that are read; members with another one are passed over."""
FULL = 0xFFFFFFFF
"""The size of a member whose size stands in a field of its own."""
LONGEST_DESCRIPTOR = 6
"""Groups of four bytes of what may follow a member: signature, checksum, two large sizes."""
Content = tuple[int, int]
"""The checksum and the size of a member."""


class BrokenZip(ProviderError):
    """A file is no zip, or not a whole one."""


def check_zip(blocks: Iterator[Buffer]) -> str | None:
    """Read a zip to its end, and check each member that can be read.

    Args:
        blocks: the bytes of the zip.

    Returns:
        Why the content is not proved, such as `it is empty`; None if every member was checked.

    Raises:
        BrokenZip: the zip is damaged or not whole.
    """
    file = file_of(blocks)
    try:
        contents, tail = _read_members(file)
        members = _read_directory(file, tail)
    except ProviderError:
        raise
    except Exception as error:  # zipfile and the unpackers raise errors of many kinds
        raise BrokenZip(
            f"the download is not a readable zip, or was truncated ({error})"
        ) from error
    # zipfile takes bytes that are missing or added for another beginning of the zip.
    if members and min(each.header_offset for each in members) != 0:
        raise BrokenZip(
            "the download is not a readable zip: its directory is not where its end record says"
        )
    for each in members:
        if contents.get(each.header_offset) not in {
            None,
            (each.CRC, each.file_size),
        }:
            raise BrokenZip(
                f"the zip's member {each.filename} is damaged: it has another checksum"
            )
    return _unproved(members, contents)


def _unproved(
    members: Sequence[zipfile.ZipInfo],
    contents: Mapping[int, Content | None],
) -> str | None:
    """Say why the content of a zip is not proved; None if it is."""
    if sum(each.file_size for each in members) == 0:
        return "it is empty"
    unread = [each for each in members if contents.get(each.header_offset) is None]
    if not unread:
        return None
    reasons = dict.fromkeys(_why_unread(each) for each in unread)
    were = "was" if len(unread) == 1 else "were"
    return f"{len(unread)} of {len(members)} members {were} not checked: {', '.join(reasons)}"


def _why_unread(member: zipfile.ZipInfo) -> str:
    if member.flag_bits & ENCRYPTED_FLAG:
        return "encrypted"
    if member.compress_type not in READ_METHODS:
        return f"compressed by method {member.compress_type}"
    return "nothing shows where it ends"


class _End(io.BytesIO):
    """The end of a file, in which each byte has its place in the whole: zipfile checks places."""

    def __init__(self, end: bytes, before: int) -> None:
        super().__init__(end)
        self._before = before

    def seek(self, place: int, whence: int = 0) -> int:
        offset = place if whence else place - self._before
        return super().seek(offset, whence) + self._before

    def tell(self) -> int:
        return super().tell() + self._before


def _read_directory(file: io.BufferedReader, tail: bytes) -> list[zipfile.ZipInfo]:
    """Read a zip from after its members to its end, and return what its directory says.

    `tail` are the bytes that were read last.
    """
    while block := file.read(UNPACKED_AT_ONCE):
        tail = tail[-LARGEST_DIRECTORY:] + block
    before = file.tell() - len(tail)
    gap = bytes(min(before, LONGEST_END))
    with zipfile.ZipFile(_End(gap + tail, before - len(gap))) as directory:
        return directory.infolist()


@dataclass(frozen=True)
class _LocalHeader:
    """The header before a member; `packed` are bytes of the member, 0 if they follow it."""

    method: int
    packed: int
    is_encrypted: bool
    sizes_follow: bool

    @classmethod
    def read(cls, file: io.BufferedReader) -> "_LocalHeader":
        fields = LOCAL_HEADER.unpack(_exactly(file, LOCAL_HEADER.size))
        flags, method, packed, size, name_length, extra_length = fields
        _exactly(file, name_length)
        packed = _large_size(size, packed, _exactly(file, extra_length))
        is_encrypted = bool(flags & ENCRYPTED_FLAG)
        return cls(
            method,
            packed,
            is_encrypted,
            bool(flags & SIZES_FOLLOW_FLAG),
        )

    @property
    def is_read(self) -> bool:
        """Whether the member can be unpacked here."""
        return not self.is_encrypted and self.method in READ_METHODS

    @property
    def shows_its_end(self) -> bool:
        """Whether the header, or the compression, shows where the member ends."""
        if not self.sizes_follow:
            return True
        return self.is_read and (self.method == DEFLATED or self.packed > 0)

    @property
    def known_packed(self) -> int | None:
        """Bytes of the member; None if only its compression shows where it ends."""
        return None if self.sizes_follow and not self.packed else self.packed


def _read_members(
    file: io.BufferedReader,
) -> tuple[dict[int, Content | None], bytes]:
    """Read all members, up to one that does not show where it ends.

    Returns the content of each member by its place, None for one that is passed over, and the
    signature that ended them.
    """
    contents: dict[int, Content | None] = {}
    start = 0
    signature = file.read(4)
    while signature == MEMBER:
        header = _LocalHeader.read(file)
        if not header.shows_its_end:
            return contents, b""
        content = _content(file, header)
        contents[start] = content if header.is_read else None
        signature = _next_signature(file, header)
        start = file.tell() - 4
    if contents and signature not in SIGNATURES:
        raise BrokenZip("the header of a member of the zip is damaged")
    return contents, signature


def _content(file: io.BufferedReader, header: _LocalHeader) -> Content:
    """Read a member; returns the checksum and the size of what it holds, packed or not."""
    crc = 0
    count = 0
    if header.is_read and header.method != STORED:
        parts = _unpacked(file, header.method, header.known_packed)
    else:
        parts = _stored(file, header.packed)
    for part in parts:
        crc = zlib.crc32(part, crc)
        count += len(part)
    return crc, count


def _next_signature(file: io.BufferedReader, header: _LocalHeader) -> bytes:
    """Read the signature after a member, which may be followed by its checksum and sizes."""
    signature = file.read(4)
    if header.sizes_follow:
        for _ in range(LONGEST_DESCRIPTOR):
            if signature not in SIGNATURES:
                signature = _exactly(file, 4)
    return signature


def _exactly(file: io.BufferedReader, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise EOFError("it ends within a member")
    return data


def _stored(file: io.BufferedReader, left: int) -> Iterator[bytes]:
    """Read a member of so many bytes as it is."""
    while left:
        part = _exactly(file, min(left, UNPACKED_AT_ONCE))
        left -= len(part)
        yield part


def _unpacked(
    file: io.BufferedReader, method: int, packed: int | None
) -> Iterator[bytes]:
    """Unpack a member in bounded parts.

    `packed` are its bytes; None means up to the end of its compression.
    """
    is_bzip2 = method == BZIP2
    unpacker: Any = (
        bz2.BZ2Decompressor() if is_bzip2 else zlib.decompressobj(-zlib.MAX_WBITS)
    )
    bytes_left = packed
    while not unpacker.eof:
        wants_input = getattr(unpacker, "needs_input", True)
        data = file.peek()[:bytes_left] if wants_input else b""
        part = unpacker.decompress(data, UNPACKED_AT_ONCE)
        rest = unpacker.unused_data or getattr(unpacker, "unconsumed_tail", b"")
        taken = len(data) - len(rest)
        if taken < 0 or not (part or taken):
            raise EOFError("a member is cut short or has other data")
        file.read(taken)
        if bytes_left is not None:
            bytes_left -= taken
        yield part
    if bytes_left:
        raise EOFError("a member ends before its data")


def _large_size(size: int, packed: int, extra: bytes) -> int:
    """Find the packed size of a member, which stands in a field of its own if it is large."""
    while len(extra) >= FIELD_HEADER.size and packed == FULL:
        kind, length = FIELD_HEADER.unpack(extra[: FIELD_HEADER.size])
        if kind == 1:
            start = 12 if size == FULL else 4
            return int.from_bytes(extra[start : start + 8], "little")
        extra = extra[FIELD_HEADER.size + length :]
    return packed
