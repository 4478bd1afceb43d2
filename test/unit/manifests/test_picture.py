"""The picture of the dashboard, drawn from a server that answers every query with one series."""

import http.server
import json
import subprocess
import sys
import threading
import urllib.parse
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
BOARD = json.loads((ROOT / "manifests/grafana/crisp.json").read_text())


class Prometheus(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        asked = dict(urllib.parse.parse_qsl(urllib.parse.urlparse(self.path).query))
        assert "$" not in asked["query"]
        start, end = float(asked["start"]), float(asked["end"])
        values = [[start, "1"], [(start + end) / 2, "NaN"], [end, "3"]]
        result = [{"metric": {"instance": "here", "method": "<Status>"}, "values": values}]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"data": {"result": result}}).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Prometheus) as httpd:
        threading.Thread(target=httpd.serve_forever).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def test_every_panel_is_drawn_with_its_title_and_its_lines(server, tmp_path):
    target = tmp_path / "picture.svg"
    subprocess.run([sys.executable, ROOT / "tools/dashboard.py", server, "5", target], check=True)
    drawn = ET.parse(target)
    texts = [one.text for one in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {panel["title"] for panel in BOARD["panels"]} <= set(texts)
    assert "<Status>" in texts
    assert "nothing to show" not in texts
