"""Where a task's media lies: addresses from task data, resolved against the configured Label Studio. Pure.

Task data is written by annotators and importers, so an address in it is never fetched because it is there: only the
configured Label Studio and the hosts that the settings name are asked, and only the former is shown the token.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

_CLOUD = ("s3:", "gs:", "azure-blob:")
_PORTS = {"http": 80, "https": 443}


class RefusedUrlError(ValueError):
    """The address is none that may be fetched; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Hosts:
    """Who may be asked for media.

    Attributes:
        base: address of Label Studio, with the path that it is mounted under, without a slash at the end.
        others: further hosts, `name` or `name:port`, lower case.
    """

    base: str
    others: frozenset[str] = frozenset()

    def resolve(self, address: str, task: int | None) -> httpx.URL:
        """The absolute URL of a task's medium.

        Args:
            address: as the task's data has it: absolute, relative to Label Studio, or of a cloud storage that Label
                Studio resolves.
            task: the task's id, which cloud storages are resolved by.

        Raises:
            RefusedUrlError: of another host or scheme.
        """
        address = address.strip()
        if address.startswith(_CLOUD):
            if task is None:
                raise RefusedUrlError(f"{_short(address)} cannot be resolved without the id of its task")
            encoded = base64.urlsafe_b64encode(address.encode()).decode()
            return httpx.URL(f"{self.base}/tasks/{task}/resolve/", params={"fileuri": encoded})
        if address.startswith(("upload/", "/upload/")):
            address = f"/data/{address.lstrip('/')}"
        try:
            parts = urlsplit(address)
            absolute = bool(parts.scheme or parts.netloc)
            if not absolute:
                mounted = urlsplit(self.base).path
                path = address.lstrip("/")
                if mounted and f"/{path}".startswith(f"{mounted}/"):
                    path = f"/{path}".removeprefix(f"{mounted}/")
                address = f"{self.base}/{path}"
            elif not parts.scheme:
                address = f"{urlsplit(self.base).scheme}:{address}"
            url = httpx.URL(address)
        except (ValueError, httpx.InvalidURL) as error:
            raise RefusedUrlError(f"{_short(address)} is no address ({error})") from error
        self.check(url)
        return url

    def check(self, url: httpx.URL) -> None:
        """Refuse a URL of a host that may not be asked.

        Raises:
            RefusedUrlError: saying which setting would allow it.
        """
        if url.scheme not in _PORTS:
            raise RefusedUrlError(f"{_short(str(url))} is neither http nor https")
        if url.userinfo:
            raise RefusedUrlError("an address with a user name in it is not fetched")
        if not self.is_label_studio(url) and not {url.host.lower(), _netloc(url)} & self.others:
            raise RefusedUrlError(
                f"media of {_netloc(url)} is not fetched: it is neither {self.base} (ROIGCN_LABEL_STUDIO_URL) nor "
                "named in ROIGCN_LABEL_STUDIO_MEDIA_HOSTS"
            )

    def is_label_studio(self, url: httpx.URL) -> bool:
        """Whether the URL belongs to Label Studio itself: same scheme, host and port."""
        base = httpx.URL(self.base)
        return (url.scheme, _netloc(url)) == (base.scheme, _netloc(base))


def _netloc(url: httpx.URL) -> str:
    return f"{url.host.lower()}:{url.port or _PORTS.get(url.scheme, 0)}"


def _short(address: str) -> str:
    return repr(address if len(address) <= 100 else address[:100] + "…")
