"""How long does the page's map take for a redraw, and to find the picture under a pointer?

    python benchmarks/bench_map.py [--pictures 10000] [--classes 10]

A page of made predictions and features, in a headless Chromium without a GPU; beside each figure
what a frame of a screen has, 16.7 ms.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from made_study import made_rows, make_run, with_features

from tlfeat.report.page import write_page

FRAME = 16.7  # milliseconds
SCREENS = {"wide": (1440, 1), "wide, two pixels a point": (1440, 2), "phone": (390, 3)}
MEASURE = """async () => {
  const map = maps[0];
  const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
  const timed = (times, work) => median(Array.from({ length: times }, (_, i) => {
    const begun = performance.now();
    work(i);
    return performance.now() - begun;
  }));
  // A read of one pixel waits until all are drawn.
  const draw = timed(60, () => { map.draw(); map.pen.getImageData(0, 0, 1, 1); });
  const spots = [];
  for (let x = 0; x < map.wide; x += 11) for (let y = 0; y < map.high; y += 7) spots.push([x, y]);
  const look = timed(20, () => spots.forEach(([x, y]) => map.nearest(x, y))) / spots.length;
  map.show(0);
  const key = timed(20, () => map.towards(1, 0));
  const colour = timed(20, () => map.colour());
  map.zoom(2);
  let frames = 0;
  const end = performance.now() + 2000;
  await new Promise((done) => {
    const step = () => {
      frames += 1;
      map.move(3, 1);
      if (performance.now() < end) requestAnimationFrame(step);
      else done();
    };
    requestAnimationFrame(step);
  });
  return { draw, look, key, colour, frames: frames / 2 };
}"""


def main() -> None:
    """Make the page, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--classes", type=int, default=10)
    options = parser.parse_args()
    n = options.pictures
    classes = [f"class {i}" for i in range(options.classes)]
    rows = made_rows(classes, {"train": n * 6 // 10, "validation": n // 10, "test": n * 3 // 10})
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        study, cache = Path(folder) / "study", Path(folder) / "cache"
        run = make_run(study, "lda", classes, rows, recipes=[with_features(cache, rows)])
        page = write_page(study, [run], cache=cache)
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"))
        for name, (width, ratio) in SCREENS.items():
            context = browser.new_context(
                viewport={"width": width, "height": 900}, device_scale_factor=ratio
            )
            tab = context.new_page()
            tab.goto(page.as_uri())
            tab.locator(".map").scroll_into_view_if_needed()
            tab.locator(".map .key li").first.wait_for()
            found = tab.evaluate(MEASURE)
            print(
                f"{name}: redraw {found['draw']:.1f} ms ({found['draw'] / FRAME:.2f} of a frame), "
                f"picture under a pointer {1000 * found['look']:.1f} µs, next by a key "
                f"{found['key']:.2f} ms, other colours {found['colour']:.1f} ms; "
                f"{found['frames']:.0f} frames a second while it moves"
            )
            context.close()
        browser.close()


if __name__ == "__main__":
    main()
