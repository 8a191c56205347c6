"""The sink: places that take messages, each by its Apprise URL.

What belongs here: every call into Apprise. What does not: what is said, and to whom when. Such a URL holds
tokens and passwords, so a target is known by its place in `ALERT_URLS` and its kind; its URL is never shown.
"""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pipeline_assets.settings import Settings, SettingsError, alert_urls

if TYPE_CHECKING:
    from apprise import NotifyBase

_APP: Final = "pipeline-assets"
_HTTP_ERROR: Final = re.compile(r"\berror=(\d{3})\b")


@dataclass(frozen=True)
class Target:
    """One place that takes messages. `key` is the same for the same URL and gives nothing of it away."""

    key: str
    label: str
    service: NotifyBase

    def send(self, title: str, body: str, severity: str, timeout_s: float) -> str | None:
        """Send a message of plain text; None if it was taken, else why not, without a secret.

        `severity` is one of Apprise's types: info, success, warning, failure. Raises nothing.
        """
        import apprise

        sender = apprise.Apprise(asset=self.service.asset)
        sender.add(self.service)
        # Plain text is declared as such, so that Apprise escapes it for targets with a markup of their own.
        result = sender.notify(
            body=body,
            title=title,
            notify_type=severity,
            body_format=apprise.NotifyFormat.TEXT,
            timeout=timeout_s,
        )
        if result:
            return None
        codes = [found.group(1) for entry in result.logs() if (found := _HTTP_ERROR.search(str(entry)))]
        if codes:
            return f"it answered with HTTP {codes[-1]}"
        if result.status.name == "TIMEOUT":
            return "it did not answer in time"
        return "it could not be reached, or refused the message"


def open_targets(settings: Settings) -> list[Target]:
    """The targets of `ALERT_URLS`, in order; none where it is not set.

    Raises `SettingsError`, by the place in the list, for what Apprise does not understand.
    """
    urls = alert_urls(settings)
    if not urls:
        return []
    import apprise

    # Apprise's own log may name addresses and repeats what a result says anyway.
    logging.getLogger("apprise").propagate = False
    asset = apprise.AppriseAsset(
        app_id=_APP,
        app_desc=_APP,
        app_url="",
        # No picture from a foreign server in every message.
        image_url_mask="",
        image_url_logo="",
        storage_mode="memory",
    )
    targets: dict[str, Target] = {}
    for number, url in enumerate(urls, 1):
        service = apprise.Apprise.instantiate(url, asset=asset)
        if service is None:
            raise SettingsError(
                f"ALERT_URLS: Apprise does not understand URL number {number} ({_scheme(url)}://…); how each"
                " service is written stands at https://appriseit.com/services/"
            )
        key = hashlib.sha256(url.encode()).hexdigest()[:12]
        targets.setdefault(key, Target(key, f"{number}. {service.service_name}", service))
    return list(targets.values())


def _scheme(url: str) -> str:
    return url.partition("://")[0]
