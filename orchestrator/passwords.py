"""Addresses without what only their owner should see."""

from __future__ import annotations

import re

_INSIDE = re.compile(r"(//[^/@:\s]*):[^/@\s]*@")
_BEHIND = re.compile(r"([?&;](?:password|passwd|pwd|token|secret|api_?key)=)[^&;#\s]*", re.IGNORECASE)


def hidden(text: str) -> str:
    """The text as messages and files may show it: with *** for the passwords of all addresses in it.

    >>> hidden("postgresql://ann:s3cret@db/mlflow?sslpassword=no&password=yes")
    'postgresql://ann:***@db/mlflow?sslpassword=no&password=***'
    """
    return _BEHIND.sub(r"\1***", _INSIDE.sub(r"\1:***@", text))


def without_login(address: str) -> str:
    """An address that a browser can be given: without a name and a password."""
    return re.sub(r"//[^/@\s]*@", "//", address)
