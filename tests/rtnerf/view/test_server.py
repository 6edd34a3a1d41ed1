"""The served page: who is let in, what bad requests get, and what its questions are answered."""

import http.client
import json
import re
import socket
import struct
from threading import Thread
from urllib.parse import urlsplit

import numpy as np
import pytest

import rtnerf
from nerf.checkpoint import save_model
from nerf.contract.config import PRESETS
from nerf.golden.frame import SAMPLE_FIELDS
from rtnerf.asked import Asked
from rtnerf.base.errors import InputError
from rtnerf.served import Served
from rtnerf.view.server import MOST_FIELDS, Server
from tests.golden.models import small_model

SIZE = 8
UP = np.array([0.0, 0.0, 1.0])


def running(page, answers):
    """A server that serves, and what sends it a request: its status, headers and content."""
    server = Server(page, answers)
    Thread(target=server.serve_forever, daemon=True).start()

    def send(path, method="GET", **headers):
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        found = answer.status, answer.headers, answer.read().decode()
        connection.close()
        return found

    return server, send


@pytest.fixture(scope="module")
def simple():
    def double(asked):
        if "number" not in asked:
            raise InputError("number must be given, not missing")
        return {"double": 2 * int(asked["number"])}

    server, send = running(lambda asked: "<p>page</p>", {"double": double})
    yield server, send
    server.shutdown()
    server.server_close()


def test_a_page_and_answers_under_a_token(simple):
    server, send = simple
    base = urlsplit(server.url).path
    assert urlsplit(server.url).hostname == "127.0.0.1"
    assert server.server_address[0] == "127.0.0.1"
    status, headers, content = send(base)
    assert (status, content, headers["Content-Type"]) == (200, "<p>page</p>", "text/html; charset=utf-8")
    assert headers["Referrer-Policy"] == "no-referrer"
    assert send(f"{base}double?number=21")[::2] == (200, '{"double": 42}')
    assert send(f"{base}double?number=1", Origin=f"http://127.0.0.1:{server.server_port}")[0] == 200
    assert send(f"{base}double?number=1", Sec_Fetch_Site="same-origin")[0] == 200


@pytest.mark.parametrize(
    ("path", "headers", "status", "text"),
    [
        ("/", {}, 403, "token must be"),
        ("*", {}, 403, "token must be"),
        ("//[", {}, 403, "token must be"),
        ("/double?number=1", {}, 403, "token must be"),
        ("/wrong-token/double?number=1", {}, 403, "token must be"),
        ("TOKEN/double?number=1", {"Origin": "http://example.org"}, 403, "origin must be this page"),
        ("TOKEN/double?number=1", {"Origin": "null"}, 403, "origin must be this page"),
        ("TOKEN/double?number=1", {"Origin": "http://127.0.0.1:1"}, 403, "origin must be this page"),
        ("TOKEN/", {"Sec_Fetch_Site": "cross-site"}, 403, "origin must be this page"),
        ("TOKEN/", {"Host": "example.org"}, 403, "host must be 127.0.0.1"),
        ("TOKEN/double", {}, 400, "number must be given, not missing"),
        ("TOKEN/double?number", {}, 400, "query must be of at most"),
        ("TOKEN/double?" + "&".join(f"a{n}=1" for n in range(MOST_FIELDS + 1)), {}, 400, "query must be of at most"),
        ("TOKEN/other", {}, 404, "question must be one of double, not other"),
        ("TOKEN/../../etc/passwd", {}, 404, "question must be one of double"),
    ],
)
def test_a_bad_request_gets_one_line_and_nothing_else(simple, path, headers, status, text):
    server, send = simple
    token = urlsplit(server.url).path.rstrip("/")
    found, _, content = send(path.replace("TOKEN", token), **headers)
    assert found == status
    assert list(json.loads(content)) == ["error"]
    assert json.loads(content)["error"].startswith(text)


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"nonsense\r\n\r\n", b"Bad request syntax"),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"a%d: 1\r\n" % n for n in range(200)) + b"\r\n", b"431"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1000000000000\r\n\r\n", b"501"),
        (b"\0" * 100 + b"\r\n\r\n", b"error"),
    ],
)
def test_what_is_no_request_is_refused_while_another_client_says_nothing(simple, sent, told):
    server, send = simple
    with (
        socket.create_connection(server.server_address) as silent,
        socket.create_connection(server.server_address) as one,
    ):
        silent.sendall(b"GET ")
        one.settimeout(60)
        one.sendall(sent)
        with one.makefile("rb") as answer:
            assert told in answer.read()
        assert send(urlsplit(server.url).path)[0] == 200


def test_a_client_that_goes_away_is_no_error(simple, capfd):
    server, send = simple
    request = f"GET {urlsplit(server.url).path} HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n\r\n"
    for _ in range(20):
        with socket.create_connection(server.server_address) as gone:
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            gone.sendall(request.encode())
    assert send(urlsplit(server.url).path)[0] == 200
    assert capfd.readouterr().err == ""


def test_other_methods_and_a_taken_port_are_refused(simple):
    server, send = simple
    for method in ("POST", "PUT", "DELETE"):
        status, _, content = send(urlsplit(server.url).path, method)
        assert status == 501
        assert "error" in json.loads(content)
    with pytest.raises(InputError, match=f"port must be a free one, not {server.server_port}"):
        Server(str, {}, server.server_port)


# ---- The questions ----


@pytest.fixture(scope="module")
def served(scene, tmp_path_factory):
    """The embedded model, and a folder with a model and two configurations, a link out of it and a file below it."""
    job, camera, _ = scene
    folder = tmp_path_factory.mktemp("given")
    save_model(small_model(), folder / "small.safetensors")
    outside = tmp_path_factory.mktemp("outside") / "secret.safetensors"
    save_model(small_model(), outside)
    (folder / "link.safetensors").symlink_to(outside)
    (folder / "below").mkdir()
    (folder / "below" / "deep.toml").write_text("tile = 16")
    (folder / "wide.toml").write_text("tile = 16")
    return Served("embedded", job, camera, UP, folders=[folder])


def test_a_page_is_served_before_anything_is_simulated(served, monkeypatch):
    monkeypatch.setattr("rtnerf.live.simulated", None)
    data = re.search(r'id="data">(.*?)</script>', served.page({"model": "small.safetensors"}))[1]
    assert [sorted(view) for view in json.loads(data)["views"]] == 8 * [["c2w"]]


def test_models_and_configurations_of_given_folders_are_served_and_nothing_else(served):
    assert served.page({}) == served.page({"model": "embedded"})
    assert "<title>small.safetensors, tiny</title>" in served.page({"model": "small.safetensors"})
    for model in ("link.safetensors", "../outside/secret.safetensors", "/etc/passwd"):
        with pytest.raises(InputError, match=r"^model must be one of embedded, small\.safetensors, not "):
            served.page({"model": model})
    with pytest.raises(InputError, match=r"^question must be made of model, not config$"):
        served.page({"config": "tiny"})
    camera = camera_text(rtnerf.load_cameras().camera(0, SIZE))
    for config in ("deep.toml", "below/deep.toml", "../wide.toml"):
        with pytest.raises(InputError, match=r"^config must be one of tiny, nano, edge, cloud, wide\.toml, not "):
            served.simulate({"camera": camera, "config": config})
    small = served.simulate({"camera": camera, "config": "wide.toml", "model": "small.safetensors"})
    assert small["result"]["config_parameters"]["tile"] == 16
    assert small["result"]["cycles"] < served.simulate({"camera": camera, "config": "wide.toml"})["result"]["cycles"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (None, "folder must be a folder, not "),
        ({"embedded.toml": "tile = 16", "bad.toml": "tile = -1"}, "tile must be"),
    ],
)
def test_folders_that_cannot_be_served_are_refused(scene, tmp_path, files, message):
    job, camera, _ = scene
    folder = tmp_path / "given"
    if files is not None:
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
    with pytest.raises(InputError, match=f"^{message}"):
        Served("embedded", job, camera, UP, folders=[folder])


@pytest.fixture(scope="module")
def scene():
    job, camera = rtnerf.prepare(rtnerf.load_model()), rtnerf.load_cameras().camera(0, SIZE)
    return job, camera, Asked(job, camera, PRESETS)


def camera_text(camera):
    return ",".join(map(str, [*camera.c2w[:3, 3], *camera.c2w[:3, :3].reshape(-1)]))


def test_a_view_is_simulated_with_what_is_chosen(scene):
    job, camera, asked = scene
    plain = asked.simulate({"camera": camera_text(camera)})
    assert plain["c2w"] == camera.c2w.tolist()
    assert plain["result"]["cycles"] == job.simulate(camera).cycles
    assert sum(plain["tiles"]["cycles"]) <= plain["result"]["cycles"]
    assert {"tiny", "edge", "cloud"} <= set(asked.choices["config"])
    other = asked.simulate({"camera": camera_text(camera), "termination": "0", "config": "tiny"})
    assert other["result"]["samples"] > plain["result"]["samples"]


def test_a_pixel_is_made_of_the_samples_of_the_golden_model(scene):
    job, camera, asked = scene
    frame = job.frame(camera)
    mine = frame.samples[frame.samples[:, 0] == 4 * SIZE + 3]
    found = asked.pixel({"camera": camera_text(camera), "x": "3", "y": "4"})
    assert [sample["index"] for sample in found["samples"]] == mine[:, SAMPLE_FIELDS.index("index")].tolist()
    assert found["rgba"] == (frame.pixels[4, 3] / 65535).round(5).tolist()
    assert sum("visible" in sample["cycles"] for sample in found["samples"]) == found["shaded"] > 0
    for sample in found["samples"]:
        come = list(sample["cycles"].values())
        assert come == sorted(come)
        assert come[-1] < found["cycles"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "camera must be 12 finite numbers"),
        ({"camera": "1,2,3"}, "camera must be 12 finite numbers"),
        ({"camera": ",".join("0" * 12)}, "c2w must be"),
        ({"camera": ",".join(["nan"] * 12)}, "camera must be 12 finite numbers"),
        ({"config": "../../secret.toml"}, "config must be one of tiny, nano, edge"),
        ({"config": "edge-deferred"}, "config must be one of"),
        ({"termination": "much"}, "termination must be a number"),
        ({"termination": "2"}, "termination must be a number"),
        ({"ordering": "random"}, "ordering must be one of"),
        ({"encoding": "zip"}, "encoding must be one of"),
        ({"file": "/etc/passwd"}, "question must be made of"),
    ],
)
def test_bad_choices_are_refused_by_name(scene, given, message):
    _, camera, asked = scene
    good = {} if given in ({}, {"camera": "1,2,3"}) else {"camera": camera_text(camera)}
    with pytest.raises(InputError) as refused:
        asked.simulate({**good, **given})
    assert str(refused.value).startswith(message)


def test_a_pixel_beyond_the_picture_is_refused(scene):
    _, camera, asked = scene
    for x in ("8", "-1", "1e3", "", "99999999"):
        with pytest.raises(InputError, match=r"crop must be|x must be"):
            asked.pixel({"camera": camera_text(camera), "x": x, "y": "0"})


def test_the_served_page_simulates_compares_and_looks_into_a_pixel(served, browser):
    server, _ = running(served.page, served.answers)
    browser.open(server.url, width=400)
    columns = "document.querySelectorAll('#runs tr:first-child th').length"
    # The view on the screen is simulated without being asked for.
    browser.wait(f"{columns} === 2")
    browser.wait("!document.querySelector('.none').checkVisibility()")
    browser.evaluate("document.getElementById('choice-termination').value = '0'")
    browser.evaluate("document.getElementById('choice-config').value = 'wide.toml'")
    browser.evaluate("document.getElementById('simulate').click()")
    browser.wait(f"{columns} === 3")
    told = browser.evaluate("[...document.querySelectorAll('#runs tr')].map((row) => row.innerText)")
    assert told[0].split("\t")[1:] == ["wide.toml", "tiny"]
    assert told[1].split("\t")[1:] == ["termination 0", "all on"]
    assert any(line.startswith("mlp engine\t") and line.count("%") >= 2 for line in told)
    browser.wait("document.querySelectorAll('#timeline .strip').length > 10")
    place = browser.evaluate("(({x, y, width}) => [x + width / 2, y + width / 2])(canvas.getBoundingClientRect())")
    browser.drag(*map(int, place), 0, 0)
    assert "samples" in browser.wait("document.querySelector('#pixel p')?.textContent")
    assert browser.evaluate("document.documentElement.scrollWidth") <= 400
    browser.evaluate(
        "const choice = document.getElementById('choice-model'); choice.value = 'small.safetensors';"
        "choice.dispatchEvent(new Event('change'))"
    )
    browser.wait("document.title === 'small.safetensors, tiny' && document.getElementById('meaning')?.textContent")
    assert browser.problems == []
    asked_for = [url for url in browser.requests if not url.startswith(("data:", "blob:"))]
    assert [url for url in asked_for if not url.startswith(server.url)] == []
    server.shutdown()
    server.server_close()
