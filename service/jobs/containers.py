"""Video containers by their first bytes, so that a renamed text or picture is refused before it is stored."""

from __future__ import annotations

HEAD_BYTES = 512

_ATOMS = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")
_TS_PACKET = 188

CONTAINERS = "MP4, MOV, Matroska, WebM, AVI, MPEG-TS, MPEG-PS, ASF/WMV, FLV, Ogg and MXF"


def sniff_container(head: bytes) -> str | None:
    """The media type of a clip.

    Args:
        head: the first bytes of the file, up to `HEAD_BYTES`.

    Returns:
        Its type, or None when the bytes begin no container that is read here.
    """
    if head[4:8] in _ATOMS:
        return "video/quicktime" if head[8:12] == b"qt  " or head[4:8] != b"ftyp" else "video/mp4"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "video/webm" if b"webm" in head[:64] else "video/x-matroska"
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return "video/x-msvideo"
    if head.startswith(b"OggS"):
        return "video/ogg"
    if head.startswith(b"FLV\x01"):
        return "video/x-flv"
    if head.startswith(bytes.fromhex("3026b2758e66cf11")):
        return "video/x-ms-wmv"
    if head.startswith((b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3")):
        return "video/mpeg"
    if head.startswith(bytes.fromhex("060e2b34")):
        return "application/mxf"
    if _is_transport_stream(head):
        return "video/mp2t"
    return None


def _is_transport_stream(head: bytes) -> bool:
    # Sync bytes at the start of three packets, of 188 bytes or (M2TS) of 192 with four in front.
    for first, size in ((0, _TS_PACKET), (4, _TS_PACKET + 4)):
        places = range(first, len(head), size)
        if len(places) >= 2 and all(head[place] == 0x47 for place in places):
            return True
    return False
