"""URLs of pictures: which names are URLs, and how they are written down without secrets.

What could go wrong: a URL that was signed, or that has a password in it, opens what it names for
whoever reads it. It is used as it was given, and never written or shown so.
"""

import hashlib
import re
from urllib.parse import quote, unquote, urlsplit, urlunsplit

_URL = re.compile(r"([a-z][a-z0-9+.-]+)://")
_WEB = frozenset({"http", "https"})
# Parameters that only say what is wanted. No list of those that let somebody in is ever complete.
_HARMLESS = frozenset(
    (
        *("alt", "dl", "download", "export", "file", "filename", "format", "id", "name", "path"),
        *("raw", "ref", "version", "versionid"),
    )
)


def is_url(place: str) -> bool:
    """Say whether a place is a URL of a server; file:// is a path.

    Examples
    --------
    >>> is_url("s3://bucket/birds"), is_url("file:///data"), is_url("hf:user/birds")
    (True, False, False)
    """
    found = _URL.match(place)
    return found is not None and found[1] != "file"


def scheme_of(url: str) -> str:
    """Give the scheme of a URL."""
    return url.partition("://")[0]


def is_web(url: str) -> bool:
    """Say whether a URL is one of HTTP, where no folder can be listed."""
    return scheme_of(url) in _WEB


def without_secrets(url: str) -> str:
    """Write a URL without password and signature, as it may be kept and shown.

    Examples
    --------
    >>> without_secrets("https://me:word@host/a.zip?X-Amz-Signature=1&id=2")
    'https://host/a.zip?id=2'
    >>> without_secrets("https://token@host/get?file=a.zip"), without_secrets("s3://b/what?.jpg")
    ('https://host/get?file=a.zip', 's3://b/what?.jpg')
    >>> without_secrets("zip://a.png::https://me:word@host/x"), without_secrets("https://[x/a.zip")
    ('zip://...', 'https://...')
    """
    if not is_url(url):
        return url
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    user, at, name = host.rpartition("@")
    if "::" in url or not _is_sound(url):
        return f"{scheme}://..."
    if is_web(url) or ":" in user:  # container@account is no secret
        user, at = "", ""
    path, mark, query = path.partition("#")[0].partition("?") if is_web(url) else _parted(path)
    kept = "&".join(
        part
        for part in re.split("[&;]", query)
        if part and unquote(part.partition("=")[0]).lower() in _HARMLESS
    )
    mark = mark if kept or not query else ""
    return f"{scheme}://{user}{at}{name}{slash}{path}{mark}{kept}"


def _is_sound(url: str) -> bool:
    """Say whether host and port can be told: a slash in a password would part it elsewhere."""
    if not is_web(url):
        return True
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and (parts.port is None or parts.port >= 0)
    except ValueError:
        return False


def _parted(path: str) -> tuple[str, str, str]:
    """Part a query from the key of an object, which may have a question mark of its own."""
    return path.partition("?") if re.search(r"\?[^/?]*=", path) else (path, "", "")


def sendable(url: str) -> str:
    """Escape what a URL of HTTP may not hold as it is, such as blanks; nothing twice.

    Examples
    --------
    >>> sendable("https://host/my birds.zip?sig=a%2Fb"), sendable("s3://bucket/my birds")
    ('https://host/my%20birds.zip?sig=a%2Fb', 's3://bucket/my birds')
    """
    return quote(url, safe="%/:?&=#@+,;~!$'()*[]") if is_web(url) else url


def key_of(url: str) -> str:
    """Write a URL so that it is told from others and lets nobody in.

    Examples
    --------
    >>> key_of("https://host/a.zip?sig=1") == key_of("https://host/a.zip?sig=2")
    False
    >>> key_of("s3://bucket/a.jpg")
    's3://bucket/a.jpg'
    """
    clean = without_secrets(url)
    if clean == url:
        return url
    return f"{clean}#{hashlib.sha256(url.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"


def name_of(url: str) -> str:
    """Give the last part of what a URL names.

    Examples
    --------
    >>> name_of("https://host/my%20birds.zip?sig=1"), name_of("s3://bucket/birds/")
    ('my birds.zip', 'birds')
    """
    if is_web(url):
        return unquote(urlsplit(url).path.rstrip("/").rpartition("/")[2])
    return url.rstrip("/").rpartition("/")[2]


def beside(url: str, place: str) -> str:
    """Give the URL of what a table at a URL lists: relative to the table, or a URL of its own.

    Examples
    --------
    >>> beside("s3://bucket/set/table.csv", "birds/a.jpg")
    's3://bucket/set/birds/a.jpg'
    >>> beside("https://host/table.csv?sig=1", "my birds/a.jpg")
    'https://host/my%20birds/a.jpg'
    """
    if is_url(place):
        return place
    if is_web(url):
        parts = urlsplit(url)
        folder = parts.path.rpartition("/")[0]
        path = quote(place) if place.startswith("/") else f"{folder}/{quote(place)}"
        return urlunsplit(parts._replace(path=_plain(path), query="", fragment=""))
    scheme, _, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    path = place if place.startswith("/") else f"{key.rpartition('/')[0]}/{place}"
    return f"{scheme}://{bucket}{_plain('/' + path.lstrip('/'))}"


def _plain(path: str) -> str:
    """Take `.` and `..` out of a path, as a disk would."""
    kept: list[str] = []
    for part in path.split("/"):
        if part == ".." and len(kept) > 1:
            kept.pop()
        elif part not in (".", ".."):
            kept.append(part)
    return "/".join(kept)
