"""An HTTP session that a peer cannot hold on to: the whole of an answer in a time, and of a size."""

from __future__ import annotations

import time
from typing import Any, Final

import requests
from requests.exceptions import ConnectionError as BrokenConnection
from requests.exceptions import ContentDecodingError, ReadTimeout
from urllib3.exceptions import HTTPError, ReadTimeoutError

MAX_ANSWER_BYTES: Final = 1024 * 1024
_PIECE_BYTES: Final = 64 * 1024


class BoundedSession(requests.Session):
    """Reads no proxy, no .netrc and no CA from the environment, and follows no redirect.

    Args:
        seconds: for connecting, for each wait, and for the body as a whole.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.trust_env = False
        self.headers["Accept-Encoding"] = "identity"
        self._seconds = seconds

    def send(self, request: requests.PreparedRequest, **more: Any) -> requests.Response:
        """The answer, read to its end.

        Raises:
            RequestException: `ReadTimeout`: not in time; `ContentDecodingError`: too large.
        """
        until = time.monotonic() + self._seconds
        response = super().send(request, **{**more, "stream": True, "timeout": self._seconds})
        body = bytearray()
        try:
            # `iter_content` would wait for a whole piece, and each byte that drips in would prolong that.
            while piece := response.raw.read1(_PIECE_BYTES, decode_content=True):
                body += piece
                if len(body) > MAX_ANSWER_BYTES:
                    raise ContentDecodingError("too large")
                if time.monotonic() > until:
                    raise ReadTimeout("too slow")
        except ReadTimeoutError:
            response.close()
            raise ReadTimeout("too slow") from None
        except HTTPError:
            response.close()
            raise BrokenConnection("broken off") from None
        except BaseException:
            response.close()
            raise
        response._content = bytes(body)
        return response
