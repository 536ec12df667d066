"""What fails, as an exception."""

import re
from typing import Optional

_PLACE = re.compile(r"^(?P<path>.*?):(?P<line>\d+):(?P<column>\d+): (?P<message>.*)$", re.S)


class Error(ValueError):
    """What libpipebd or pipebd-plot says of bad input, in its words.

    str(error) is the whole text. Where it is about a place in a file, path, line and column
    (from 1) say which, else they are None; message is the text without the place.
    """

    def __init__(self, text: str):
        super().__init__(text)
        place = _PLACE.match(text)
        self.path: Optional[str] = place.group("path") if place else None
        self.line: Optional[int] = int(place.group("line")) if place else None
        self.column: Optional[int] = int(place.group("column")) if place else None
        self.message: str = place.group("message") if place else text
