"""Policy documents as the operator gives them: a file, ``-`` for standard input, or the JSON itself."""

import argparse
import sys
from pathlib import Path

#: The store says how long a document may be; this only keeps us from reading what is none.
_MAX_CHARACTERS = 1 << 16


def read_document(given: str) -> str:
    if given.lstrip().startswith("{"):
        return given
    try:
        if given == "-":
            return sys.stdin.read(_MAX_CHARACTERS)
        with Path(given).open(encoding="utf-8") as file:
            return file.read(_MAX_CHARACTERS)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{given}: {error.strerror or error}") from error
    except UnicodeDecodeError:
        raise argparse.ArgumentTypeError(f"{given}: is not text in UTF-8") from None
