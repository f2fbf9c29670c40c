"""A tiny real model, photographs in every form, and a web server on this machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from visgen.task import MultiTaskModel, build_model

torch.set_num_threads(1)  # tiny tensors gain nothing from threads, and a busy machine loses much

THINGS, RELATIONS = ("person", "car", "dog"), ("on", "left of", "overlaps")
CAMVID, COCO = ("sky", "road", "car"), ("person", "cat", "dog", "chair")


@pytest.fixture(scope="session")
def model() -> MultiTaskModel:
    """A random mixture of experts with two label sets of segmentation."""
    torch.manual_seed(0)
    config = {
        "backbone": {
            "name": "vit_moe",
            "width": 32,
            "depth": 2,
            "heads": 2,
            "num_experts": 4,
            "top_k": 2,
            "attention_experts": 4,
        },
        "heads": {
            "classification": {"task": "classification", "classes": ("cat", "dog", "owl")},
            "segmentation.camvid": {"task": "segmentation", "classes": CAMVID},
            "segmentation.coco": {"task": "segmentation", "classes": COCO},
            "depth": {"task": "depth"},
        },
        "default_heads": {"segmentation": "segmentation.coco"},
        "max_side": 96,
    }
    return build_model(config).eval()


def photograph(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth colourful picture (H, W, 3) uint8 whose channels differ, so that a colour mix-up shows."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


@pytest.fixture
def picture() -> np.ndarray:
    return photograph(60, 80)


@pytest.fixture
def picture_path(tmp_path: Path, picture: np.ndarray) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(picture).save(path)
    return path


class Site:
    """A web server: `pages` maps a path to (status, headers, body) or to a function of the request handler."""

    def __init__(self) -> None:
        self.pages: dict[str, Any] = {}
        self.hits: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.hits.append(self.path)
                page = site.pages.get(self.path, (404, {}, b"no such page"))
                if callable(page):
                    page(self)
                    return
                status, headers, body = page
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"


@pytest.fixture
def site() -> Iterator[Site]:
    server = Site()
    thread = threading.Thread(target=server.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.server.shutdown()
    server.server.server_close()


@pytest.fixture(scope="session")
def finder() -> MultiTaskModel:
    """A random model that finds people (scores near 0.4), cars (0.6) and dogs (0.05), relates, maps and measures."""
    torch.manual_seed(0)
    config = {
        "backbone": {
            "name": "vit_moe",
            "width": 32,
            "depth": 2,
            "heads": 2,
            "num_experts": 4,
            "top_k": 2,
            "attention_experts": 4,
        },
        "heads": {
            "detection": {"task": "detection", "classes": THINGS},
            "segmentation.camvid": {"task": "segmentation", "classes": CAMVID},
            "segmentation.coco": {"task": "segmentation", "classes": COCO},
            "depth": {"task": "depth"},
            "scene_graph": {"task": "scene_graph", "classes": RELATIONS},
        },
        "default_heads": {"segmentation": "segmentation.coco"},
        "max_side": 96,
    }
    found = build_model(config).eval()
    with torch.no_grad():
        found.head("detection").classify.bias.copy_(torch.tensor([0.4, 0.6, 0.05]).logit())  # type: ignore[union-attr]
    return found
