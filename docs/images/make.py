"""Pictures of the pages of docs/examples: `python -m docs.images.make`, from the root of the checkout, with Chromium installed.

Each page at the width of a desk and of a phone, light and dark; WebP, which is a quarter of the size of PNG and shown by every browser.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tests import browser

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ("run", "comparison", "sweep")
SIZES = {"desk": (1280, 2100), "phone": (390, 2100)}
QUALITY = 82


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, browser.chromium(Path(folder) / "profile") as chromium:
        for name in EXAMPLES:
            page = Path(folder) / f"{name}.html"
            example = ROOT / "docs" / "examples" / name
            command = [sys.executable, str(ROOT / "run_bench.py"), "report", str(example), "--format", "html", "--to", str(page)]
            subprocess.run(command, check=True)
            for size, (width, height) in SIZES.items():
                for dark in (False, True):
                    shown = chromium.open(page, width, dark=dark)
                    assert not shown.said, shown.said
                    file = ROOT / "docs" / "images" / f"{name}-{size}-{'dark' if dark else 'light'}.webp"
                    file.write_bytes(shown.picture(height, quality=QUALITY))
                    print(f"{file.relative_to(ROOT)}: {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
