"""What the page of a run of a million queries costs: time to render, size, and how soon a browser paints and has drawn it.

    python benchmarks/page.py [QUERIES]

The ledger is made, not measured: server traffic over two workers, in simulated time. Chromium, where it is installed, opens a copy of the
page in which a script of a few lines writes the times of painting into the document once all figures are drawn.
"""

from __future__ import annotations

import http.server
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness import stats, steady
from harness.core import Columns, Run, Status
from harness.validity import query_latency_ns
from reports import html
from tests import example_runs

BROWSERS = ("chromium", "chromium-browser", "google-chrome")

PROBE = """<script>
const timer = setInterval(() => {
  if (document.querySelectorAll(".plot-container").length < document.querySelectorAll(".figure").length) return;
  clearInterval(timer);
  const painted = Math.round(performance.getEntriesByName("first-contentful-paint")[0]?.startTime);
  fetch("/times", { method: "POST", body: `first paint ${painted}, all figures drawn ${Math.round(performance.now())}` });
}, 20);
</script></body>"""

PATIENCE_S = 60.0


def ledger(queries: int) -> Columns:
    """One query a call, in turn by two workers, at a rate of 10,000/s; latencies with a long tail."""
    generator = np.random.default_rng(1)
    due = np.cumsum(generator.exponential(1e5, queries)).astype(np.int64)
    waiting, computing = generator.exponential(2e6, queries).astype(np.int64), (1e6 * generator.lognormal(0, 0.7, queries)).astype(np.int64)
    whole = np.arange(queries)
    return Columns(
        query=whole.astype(np.int64),
        sample=(whole % 10_000).astype(np.int32),
        due_ns=due,
        taken_ns=due + waiting,
        done_ns=due + waiting + computing,
        batch=(whole // 2).astype(np.int32),
        worker=(whole // 2 % 2).astype(np.int16),
        status=np.full(queries, Status.DONE, np.int8),
        end_ns=int((due + waiting + computing).max()),
    )


def as_run(columns: Columns) -> Run:
    """A server run with everything that a page can show: 600 points of telemetry, padding by 48 lengths, the verdict on steadiness."""
    found = steady.look(columns, paced=True)
    at_s = np.linspace(0, columns.end_ns / 1e9, 600).tolist()
    names = ("cpu_mhz", "cpu_celsius", "gpu0_sm_mhz", "gpu0_watts", "cpu_busy_share", "gpu0_busy_share")
    telemetry = {"at_s": at_s, "columns": {name: {"unit": "1", "values": np.sin(at_s).tolist()} for name in names}}
    lengths = [{"length": 8 * n, "calls": n, "samples": n, "real_tokens": 7 * n, "padded_tokens": 8 * n} for n in range(1, 49)]
    count = len(columns.query)
    return example_runs.changed(
        example_runs.VALID,
        counts={"queries": count, "samples": count},
        steady=found.record() if found is not None else {},
        telemetry=telemetry,
        throughput={"by_length": lengths},
        latency_ns=stats.latency_summary(query_latency_ns(columns)),
    )


def opened(text: str) -> str:
    """Times that the browser tells of the page, served by this process."""
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        return "no Chromium here"
    told: queue.SimpleQueue[str] = queue.SimpleQueue()
    probed = (text[: text.rindex("</body>")] + PROBE + text[text.rindex("</body>") + len("</body>") :]).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(probed)

        def do_POST(self) -> None:
            told.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Silent."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server, tempfile.TemporaryDirectory() as profile:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        flags = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        command = [browser, *flags, "--remote-debugging-port=0", f"--user-data-dir={profile}", address]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            return told.get(timeout=PATIENCE_S)
        except queue.Empty:
            return f"not drawn within {PATIENCE_S:g} s"
        finally:
            process.terminate()
            process.wait()
            server.shutdown()


def main() -> None:
    queries = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    columns = ledger(queries)
    run = as_run(columns)
    start, busy = time.monotonic(), time.process_time()
    text = html.render(run, columns)
    print(f"{queries:,} queries: rendered in {time.monotonic() - start:.2f} s ({time.process_time() - busy:.2f} s of CPU time)")
    size, script = len(text.encode()) / 1e6, len(html.plotly_script().encode()) / 1e6
    print(f"page: {size:.2f} MB, {size - script:.2f} without plotly.js")
    for _ in range(3):
        print(f"browser, ms after it began to load: {opened(text)}")


if __name__ == "__main__":
    main()
