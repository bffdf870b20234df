"""What benign users do on the web: browse, post, upload, update, crawl; checks like clockwork."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import threading
import time
import urllib.parse
import zlib
from pathlib import Path

from actors import Actor
from hosts import HOME

AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) AppleWebKit/605.1.15 Version/17.5 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Chrome/125.0.0.0 Mobile Safari/537.36",
)
SITES = {"web": "www.{domain}", "cdn": "www.{site}", "update": "updates.{site}"}


def _pick(actor: Actor, what: str, choices: int) -> int:
    """A choice that stays the same for a host all through a run."""
    return zlib.crc32(f"{actor.plan['seed']} {actor.host} {what}".encode()) % choices


def _context(actor: Actor) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if actor.rng.random() < 0.3:
        context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    return context


def _where(actor: Actor, name: str, secure: bool) -> tuple[str, int]:
    host = SITES[name].format(domain=actor.plan["domain"], site=actor.plan["site"])
    if name == "web":
        return host, actor.port("https" if secure else "http")
    return host, 443 if secure else 80


def _connect(actor: Actor, name: str, secure: bool) -> http.client.HTTPConnection:
    host, port = _where(actor, name, secure)
    if secure:
        return http.client.HTTPSConnection(host, port, timeout=15, context=_context(actor))
    return http.client.HTTPConnection(host, port, timeout=15)


def _headers(actor: Actor) -> dict[str, str]:
    rng = actor.rng
    headers = {
        "User-Agent": AGENTS[_pick(actor, "agent", len(AGENTS))],
        "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
        "Accept-Language": rng.choice(("en-US,en;q=0.5", "de-DE,de;q=0.8,en;q=0.4", "fr-FR,fr;q=0.9")),
    }
    if rng.random() < 0.6:
        headers["Accept-Encoding"] = "gzip, deflate, br"
    if rng.random() < 0.7:
        headers["Cookie"] = "; ".join(f"k{n}={rng.randrange(16**12):012x}" for n in range(rng.randint(1, 30)))
    if rng.random() < 0.3:
        headers["If-Modified-Since"] = "Wed, 01 Jan 2098 00:00:00 GMT"
    return headers


def _site(name: str) -> dict:
    return json.loads((HOME / name / "www" / "site.json").read_text())


def _fetch(connection: http.client.HTTPConnection, paths: list[str], headers: dict[str, str]) -> None:
    for path in paths:
        connection.request("GET", path, headers=headers)
        connection.getresponse().read()


def browse(actor: Actor) -> None:
    """Read some pages of a site with their objects, by one of three kinds of client."""
    rng = actor.rng
    name = rng.choice(("web", "web", "cdn", "cdn", "update"))
    secure = rng.random() < 0.6
    pages = _site(name)["pages"]
    kind = rng.random()
    if kind < 0.2:
        host, port = _where(actor, name, secure)
        base = f"{'https' if secure else 'http'}://{host}:{port}"
        page = rng.choice(sorted(pages))
        urls = [f"{base}{path}" for path in (page, *pages[page])]
        outs = [part for url in urls for part in (url, "-o", "/dev/null")]
        actor.shell(["curl", "-sk", "-A", rng.choice(AGENTS), "--compressed", *outs], 30)
        return
    headers = _headers(actor)
    for _ in range(rng.randint(1, 4)):
        page = rng.choice(sorted(pages))
        objects = list(pages[page])
        if rng.random() < 0.12:
            objects.append("/missing/" + str(rng.randrange(10**6)))
        first = _connect(actor, name, secure)
        _fetch(first, [rng.choice((page, page, page, "/old"))], headers)
        lanes = rng.choice((1, 1, 2, 4, 6))
        threads = []
        for lane in range(lanes):
            mine = objects[lane::lanes]
            connection = first if lane == 0 else _connect(actor, name, secure)
            threads.append(threading.Thread(target=_lane, args=(connection, mine, headers), daemon=True))
            threads[-1].start()
        for thread in threads:
            thread.join(20)
        if rng.random() < 0.4:
            actor.wait(4)  # reads on, with the connection open
        first.close()
        if time.time() > actor.until:
            return
        actor.wait(3)


def _lane(connection: http.client.HTTPConnection, paths: list[str], headers: dict[str, str]) -> None:
    try:
        _fetch(connection, paths, headers)
    except (OSError, http.client.HTTPException):
        pass
    connection.close()


def post_form(actor: Actor) -> None:
    """Log in, search, look at goods: the application behind the site."""
    rng = actor.rng
    connection = _connect(actor, "web", rng.random() < 0.6)
    headers = _headers(actor)
    form = {**headers, "Content-Type": "application/x-www-form-urlencoded"}
    for _ in range(rng.randint(1, 6)):
        kind = rng.random()
        if kind < 0.3:
            connection.request("GET", f"/app/item?id={rng.randrange(220)}", headers=headers)
        elif kind < 0.5:
            connection.request("GET", "/app/list", headers=headers)
        elif kind < 0.8:
            connection.request("POST", "/app/search", body=f"q=item+{rng.randrange(99)}&page=1", headers=form)
        else:
            password = "right-horse" if rng.random() < 0.7 else "rihgt-horse"
            connection.request("POST", "/app/login", body=f"user={actor.user()[0]}&password={password}", headers=form)
        connection.getresponse().read()
        actor.wait(2)
    connection.close()


def _searches(actor: Actor) -> list[str]:
    """Filters, searches, links that carry links: requests full of signs that mean no harm."""
    rng = actor.rng
    word = rng.choice(
        ("caf\u00e9 & bar", "50% off", "O'Neill", "c++ [2nd ed.]", "a; b", "price > 10", "{size}", "\u00fcber")
    )
    token = base64.b64encode(rng.randbytes(rng.choice((12, 33, 90)))).decode()
    encoded, number = urllib.parse.quote(word), rng.randrange(10**6)
    return [
        "/app/page?file=" + rng.choice(("about", "terms.html", "contact", "help.html")),
        "/app/ping?host=" + rng.choice(("www.example", actor.address("mail"), "192.0.2.7")),
        "/app/list?" + urllib.parse.urlencode({"q": word, "page": rng.randrange(40)}),
        "/app/list?filter=" + urllib.parse.quote(json.dumps({"size": [1, 9], "name": word})),
        f"/app/list?next={urllib.parse.quote('https://www.example/a?b=c', safe='')}&token={urllib.parse.quote(token)}",
        f"/app/list?cat[]={number % 9}&cat[]={number % 7}&sort=-price&range={number % 5}:99",
        f"/app/search/{encoded}/;v={number % 9}?utm_source=mail&utm_id={number}",
    ]


def look_through(actor: Actor) -> None:
    """Search and filter what the application has."""
    connection = _connect(actor, "web", actor.rng.random() < 0.4)
    headers = _headers(actor)
    for _ in range(actor.rng.choice((1, 1, 2, 4))):
        connection.request("GET", actor.rng.choice(_searches(actor)), headers=headers)
        connection.getresponse().read()
        actor.wait(2)
    connection.close()


def upload(actor: Actor) -> None:
    """Photos, a video, a document: bulk that goes out, as an exfiltration does."""
    rng = actor.rng
    size = int(min(rng.lognormvariate(12.5, 1.4), 12_000_000))
    connection = _connect(actor, rng.choice(("cdn", "web")), rng.random() < 0.7)
    connection.request("POST", f"/app/upload/{rng.randrange(999)}", body=rng.randbytes(size), headers=_headers(actor))
    connection.getresponse().read()
    connection.close()


def download(actor: Actor) -> None:
    """One big file, at times in parts."""
    rng = actor.rng
    path = rng.choice(_site("update")["big"])
    host, port = _where(actor, "update", secure := rng.random() < 0.6)
    url = f"{'https' if secure else 'http'}://{host}:{port}{path}"
    if rng.random() < 0.5:
        part = ["-r", f"0-{rng.randrange(100_000, 2_000_000)}"] if rng.random() < 0.4 else []
        actor.shell(["curl", "-sk", "-o", "/dev/null", *part, url], 40)
    else:
        actor.shell(["wget", "-q", "--no-check-certificate", "-O", "/dev/null", url], 40)


def update(actor: Actor) -> None:
    """A package manager: is there anything new, then some packages over one connection."""
    rng = actor.rng
    connection = _connect(actor, "update", rng.random() < 0.3)
    headers = {"User-Agent": "Debian APT-HTTP/1.3 (2.6.1)", "Cache-Control": "max-age=0"}
    _fetch(connection, ["/robots.txt", "/favicon.ico", "/index.html"], headers)
    if rng.random() < 0.5:
        _fetch(connection, rng.sample(_site("update")["big"], rng.randint(1, 4)), headers)
    connection.close()


def crawl(actor: Actor) -> None:
    """A search engine's visit: many pages, politely."""
    host, port = _where(actor, actor.rng.choice(("web", "cdn")), False)
    command = ["wget", "-q", "-r", "-l", "2", "-Q", "3m", "--delete-after", "--wait", "0.3", "--random-wait"]
    command += ["-U", "Mozilla/5.0 (compatible; examplebot/2.1)", "-P", str(HOME / "tmp" / f"crawl-{actor.host}")]
    actor.shell([*command, f"http://{host}:{port}/"], 25)


def _check(actor: Actor, secure: bool) -> None:
    """Three kinds of checks at a fixed beat; each actor keeps to its own, as monitoring does."""
    style = _pick(actor, f"style {secure}", 3)
    name = "web" if style else "cdn"
    beat = 1.5 + _pick(actor, f"beat {secure}", 40) / 10
    end = min(actor.until, time.time() + 40)
    while time.time() < end:
        host, port = _where(actor, name, secure)
        if style == 1:
            scheme = "https" if secure else "http"
            actor.shell(["curl", "-sk", "-m", "5", "-o", "/dev/null", f"{scheme}://{host}:{port}/health"], 8)
        else:
            connection = _connect(actor, name, secure)
            connection.request("HEAD" if style else "GET", "/health", headers={"User-Agent": "check/3.1"})
            connection.getresponse().read()
            connection.close()
        actor.pause(beat + actor.rng.uniform(0, 0.1))


def health(actor: Actor) -> None:
    """Is the site up: a request every few seconds, always the same, as a beacon's."""
    _check(actor, secure=False)


def health_tls(actor: Actor) -> None:
    """The same over TLS."""
    _check(actor, secure=True)


def _report(actor: Actor, secure: bool) -> None:
    rng = actor.rng
    body = json.dumps({"id": actor.host, "v": [rng.random() for _ in range(rng.randint(1, 40))], "t": time.time()})
    connection = _connect(actor, "cdn", secure)
    headers = {"Content-Type": "application/json", "User-Agent": "agent/1.8 (telemetry)"}
    connection.request("POST", "/app/telemetry", body=body, headers=headers)
    connection.getresponse().read()
    connection.close()


def telemetry(actor: Actor) -> None:
    """A device or program that tells its maker how it does."""
    _report(actor, secure=False)


def telemetry_tls(actor: Actor) -> None:
    """The same over TLS."""
    _report(actor, secure=True)


def mistype_basic(actor: Actor) -> None:
    """The staff pages: a wrong password or two, then the right one."""
    user, password = actor.user()
    connection = _connect(actor, "web", actor.rng.random() < 0.5)
    headers = _headers(actor)
    tries = ["x" + password] * actor.rng.randint(0, 2) + [password]
    connection.request("GET", "/admin/", headers=headers)
    connection.getresponse().read()
    for word in tries:
        actor.wait(3)
        token = base64.b64encode(f"{user}:{word}".encode()).decode()
        connection.request("GET", "/admin/", headers={**headers, "Authorization": f"Basic {token}"})
        connection.getresponse().read()
    connection.close()


def tcp_touch(address: str, port: int) -> None:
    """Open a connection and close it."""
    with socket.create_connection((address, port), timeout=3):
        pass


def read_names() -> list[str]:
    """The names in the zone."""
    return Path(HOME / "names.txt").read_text().split()
