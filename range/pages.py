"""Websites for the range: pages, styles, pictures and big files of varied sizes."""

from __future__ import annotations

import json
import random
from pathlib import Path

FOLDERS = ("", "news", "shop", "about", "docs", "blog")


def _body(rng: random.Random, size: int, compressible: bool) -> bytes:
    if not compressible:
        return rng.randbytes(size)
    words = [f"word{rng.randrange(5000)}" for _ in range(200)]
    text = " ".join(words)
    return (text * (size // len(text) + 1))[:size].encode()


def make_site(root: Path, rng: random.Random, big_files: bool = False) -> None:
    """Some forty pages, each with its objects, under `root`; `site.json` lists them for the users who browse."""
    root.mkdir(parents=True)
    objects = []
    for number in range(90):
        kind = rng.choice(("css", "js", "png", "jpg", "jpg", "woff2", "json"))
        size = int(min(rng.lognormvariate(9.2, 1.4), 900_000))
        path = root / "assets" / f"{rng.randrange(16**8):08x}-{number}.{kind}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(_body(rng, size, kind in ("css", "js", "json")))
        objects.append("/assets/" + path.name)
    site: dict[str, list[str]] = {}
    for number in range(40):
        folder = rng.choice(FOLDERS)
        name = "/index.html" if number == 0 else f"/{folder}/page{number}.html".replace("//", "/")
        mine = rng.sample(objects, rng.randint(1, 24))
        tags = "".join(f'<img src="{path}">' for path in mine)
        links = "".join(f'<a href="{path}">more</a>' for path in rng.sample(sorted(site), min(6, len(site))))
        text = _body(rng, int(min(rng.lognormvariate(9, 1), 120_000)), True).decode()
        path = root / name.lstrip("/")
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(f"<html><head><title>{name}</title></head><body>{links}{tags}<p>{text}</p></body></html>")
        site[name] = mine
    (root / "robots.txt").write_text("User-agent: *\nDisallow: /admin/\n")
    (root / "favicon.ico").write_bytes(rng.randbytes(1150))
    big = []
    if big_files:
        for number in range(12):
            path = root / "pool" / f"package_{number}.deb"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(rng.randbytes(int(min(rng.lognormvariate(13.3, 1.0), 6_000_000))))
            big.append("/pool/" + path.name)
    (root / "site.json").write_text(json.dumps({"pages": site, "big": big}))
