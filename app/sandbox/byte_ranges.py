"""The Range header, as far as anybody uses it: one range of bytes."""

import re


def asked_range(header: str, size: int) -> tuple[int, int] | None:
    """The first and last byte of the wanted range; None without one. It is empty if first > last."""
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", header)
    if asked is None or asked.group(0) == "bytes=-":
        return None
    first, last = asked.groups()
    if not first:
        return max(size - int(last), 0), size - 1
    return int(first), min(int(last) if last else size - 1, size - 1)
