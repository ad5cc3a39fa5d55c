"""The report: packed columns are unpacked, names from files stay text, a browser draws the page and opens tracks."""

import base64
import gzip
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from helpers import run, walk
from jinja2 import UndefinedError
from markupsafe import Markup
from report_tables import INTERVAL, make_tables, segments_and_tracks, split_into, write_results

from main import infer
from main.tracks.kinetics import rates
from main.tracks.report import data, write
from main.tracks.report.data import ALPHA_STEP, LOG10_STEP, encode, pack_histograms, thin_points
from main.tracks.report.html import element, format_number, make_json_script, make_table
from main.tracks.report.write import group_segments, load_template, write_report
from main.utils.errors import InputError

HOSTILE = "a</script><img src=x onerror='window.hit=1'>&\"${x}.csv"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no Chromium or chromedriver")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1400,1000"
)
WAIT = 120  # seconds; the machine may be busy


def unpack(column):
    """Unpack a column as page/decode.js does."""
    raw = gzip.decompress(base64.b64decode(column["data"]))
    planes = np.frombuffer(raw, np.uint8).reshape(column["planes"], column["n"]).astype(np.int64)
    change = (planes << (8 * np.arange(column["planes"]))[:, None]).sum(0)
    code = np.cumsum(np.where(change % 2, -(change + 1) // 2, change // 2))
    return np.where(code == 0, np.nan, column["low"] + (code - 1) * column["step"])


@pytest.mark.parametrize("step", [1e-4, 0.01, 1])
def test_a_column_comes_back_within_half_a_step(step):
    rng = np.random.default_rng(0)
    values = 50 * rng.normal(size=1000)
    values[[0, 17, 18, 999]] = np.nan
    back = unpack(encode(values, step))
    assert (np.isnan(back) == np.isnan(values)).all()
    assert np.nanmax(np.abs(back - values)) <= 0.5001 * step


def test_columns_at_the_edges():
    for values in ([], [np.nan], [np.nan, np.inf], [3.0], [7, 7, 7], [0, 2**40], [-1e300, 1e300]):
        column = encode(values, 1)
        json.dumps(column, allow_nan=False)
        back = unpack(column)
        known = np.isfinite(values)
        assert (np.isfinite(back) == known).all()
        assert np.allclose(back[known], np.asarray(values, float)[known], rtol=1e-8)
    frames = [5, 6, 2_000_000_000]
    assert unpack(encode(frames, 1)).tolist() == frames


def test_points_keep_the_stated_precision():
    points, *_ = make_tables()
    packed = data.pack_points(points)
    moving = points["state"] > 0
    ratio = 10 ** unpack(packed["k"])[moving] / points["k"][moving]
    assert abs(np.log10(ratio)).max() <= LOG10_STEP / 2 + 1e-9 and ratio.max() < 1.012
    assert np.isnan(unpack(packed["k"])[~moving]).all() and np.isnan(unpack(packed["alpha_hi"])[~moving]).all()
    assert np.abs(unpack(packed["alpha"])[moving] - points["alpha"][moving]).max() <= ALPHA_STEP / 2 + 1e-9
    assert (unpack(packed["frame"]) == points["frame"]).all()
    extent = np.ptp(points[["x", "y"]].to_numpy(), axis=0).max()
    assert np.abs(unpack(packed["x"]) - points["x"]).max() <= extent / 2**17 + 1e-9


def test_many_points_are_thinned():
    points, *_ = make_tables()
    kept, every = thin_points(points, len(points) // 3)
    assert every in (3, 4) and abs(len(kept) - len(points) / every) <= points["track_id"].nunique()
    assert (kept.groupby("track_id")["frame"].first() == points.groupby("track_id")["frame"].first()).all()
    assert thin_points(points)[1] == 1


def test_text_stays_text():
    assert element("p", HOSTILE, title=HOSTILE).count("<") == 2
    assert "<img" not in make_table([HOSTILE], [[HOSTILE, HOSTILE]], HOSTILE)
    assert Markup("<b>") + "<i>" == "<b>&lt;i&gt;" and element("p", Markup("<b>")) == "<p><b></p>"
    script = make_json_script("data", {"name": HOSTILE})
    assert script.count("<") == 2 and json.loads(script[script.index(">") + 1 : -len("</script>")])["name"] == HOSTILE
    with pytest.raises(ValueError):
        make_json_script("data", [np.nan])


def test_the_template_escapes_and_misses_nothing():
    names = (
        "style notices summary k_note map_note groups_note fits labels label_limits comparison limits origin empty data"
    )
    values = dict.fromkeys(["title", *names.split(), "plotly", "scripts"], HOSTILE)
    values["units"] = {"k": HOSTILE, "msd_1": HOSTILE}
    text = load_template().render(values)
    assert "<img" not in text and "&lt;img" in text and "${x}" in text
    with pytest.raises(UndefinedError):
        load_template().render({name: value for name, value in values.items() if name != "origin"})


def test_numbers_have_three_digits():
    assert [format_number(v) for v in (0, 0.1234, 12.345, 1234567.0, np.nan, None, 1e-7, -0.5)] == [
        "0",
        "0.123",
        "12.3",
        "1.23×10⁶",
        "–",
        "–",
        "1.00×10⁻⁷",
        "−0.500",
    ]


def test_histograms_count_frames_or_tracks():
    _, segments, *_ = make_tables(40)
    group = segments["track_id"].to_numpy() % 2
    found = pack_histograms(segments, group, 2)
    for i, total in enumerate((segments["n_frames"].sum(), 40)):
        for name in ("msd_1", "k", "alpha"):
            per_group = np.array(found[name]["sums"])[i].sum((1, 2))
            whole = per_group / (1 - np.array(found["trapped"][i]))
            assert whole.sum() == pytest.approx(total, rel=1e-3)
        assert i == 0 or np.allclose(whole, 20, rtol=1e-3)


def test_groups_are_conditions_then_files_and_pooled_if_many():
    points, segments, tracks, record = make_tables(20)
    for column in ("file", "condition"):
        _, segments, tracks, record = split_into(["one", "two"], column, (points, segments, tracks), record)
        names, group, by = group_segments(segments, tracks)
        assert (names, by) == (["one", "two"], column) and (group == segments["track_id"] % 2).all()
    many = segments.assign(condition=segments["track_id"].astype(str))
    names, group, by = group_segments(many, tracks.drop(columns="condition"))
    assert names == ["all tracks"] and by == "" and not group.any()
    half = tracks.assign(condition=["one", None] * 10)
    assert group_segments(segments, half)[0] == ["one", "not given"]


class Elements(HTMLParser):
    """Lists the elements of a page, and the addresses that it would fetch."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.fetched = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.fetched += [v for k, v in attributes if k in ("src", "href") and not v.startswith("data:")]


def test_hostile_names_and_two_conditions(tmp_path):
    *tables, record = make_tables()
    *tables, record = split_into([HOSTILE, "b.csv"], "file", tables, record)
    *tables, record = split_into([HOSTILE, "control"], "condition", tables, record)
    record |= {"warnings": [HOSTILE], "command": HOSTILE}
    folder = write_results(tmp_path / "out", *tables, record)
    path = write_report(folder)
    text = path.read_text(encoding="utf-8")
    page = Elements(text)
    assert "img" not in page.tags and page.fetched == [] and page.tags.count("script") == 3
    data = json.loads(re.search(r'id="data">(.*?)</script>', text)[1])
    assert data["groups"] == [HOSTILE, "control"] and data["files"] == [HOSTILE, "b.csv"] and data["by"] == "condition"
    assert [len(group["states"]) for group in data["dwells"]] == [4, 4]
    assert text.count("<svg") == 2 and "error / step" in text and not list(folder.glob("*.part"))
    assert write_report(folder).read_text(encoding="utf-8") == text


def test_each_condition_is_estimated_once(tmp_path, monkeypatch):
    *tables, record = make_tables()
    record = record | {"inputs": [record["inputs"][0] | {"condition": "wild"}]}
    *tables, record = split_into(["wild", "mutant"], "condition", tables, record)
    estimated, estimate_kinetics = [], rates.estimate_kinetics

    def count(segments, *arguments, **options):
        estimated.append(segments["condition"].unique().tolist())
        return estimate_kinetics(segments, *arguments, **options)

    monkeypatch.setattr(rates, "estimate_kinetics", count)
    text = write_report(write_results(tmp_path / "out", *tables, record)).read_text(encoding="utf-8")
    assert estimated == [["wild"], ["mutant"]] and "Each condition compared with wild" in text


def test_units_are_frames_where_the_interval_is_unknown(tmp_path):
    *tables, record = make_tables()
    record["inputs"][0] |= {"frame_interval_s": None, "um_per_unit": None}
    record["units"] = record["units"] | {"k": "px^2/frame^alpha", "msd_1": "px^2", "d_cve": "px^2/frame"}
    text = write_report(write_results(tmp_path / "out", *tables, record)).read_text(encoding="utf-8")
    assert "mean dwell time (frames)" in text and "(1/frame)" in text and "px²/frame<sup>α</sup>" in text
    assert "µm" not in re.sub(r"<script.*?</script>", "", text, flags=re.S)


def test_without_intervals(tmp_path):
    points, *_, record = make_tables()
    for name in ("k_lo", "k_hi", "alpha_lo", "alpha_hi"):
        points[name] = np.nan
    folder = write_results(tmp_path / "out", points, *segments_and_tracks(points), record)
    text = write_report(folder).read_text(encoding="utf-8")
    data = json.loads(re.search(r'id="data">(.*?)</script>', text)[1])
    assert "k" in data["points"] and "k_lo" not in data["points"]


def test_5000_tracks_stay_under_15_mb(tmp_path, monkeypatch):
    monkeypatch.setattr(write, "fit_groups", lambda *_: ({}, ""))
    folder = write_results(tmp_path / "out", *make_tables(5000, (20, 400)))
    assert 1_000_000 < len(pd.read_parquet(folder / "points.parquet", columns=["frame"]))
    assert write_report(folder).stat().st_size < 15e6


def test_command_writes_it_and_overwrites_it(walks, weights, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    arguments = [str(walks), "--out", str(out), "--weights", str(weights), "--report"]
    monkeypatch.setattr("sys.argv", ["main/infer.py", *arguments])
    assert infer.main() == 0
    assert capsys.readouterr().out.strip().endswith(f"report in {out / 'report.html'}")
    record = json.loads((out / "run.json").read_text())
    assert record["command"].startswith("python main/infer.py") and record["command"].endswith("--report")
    text = (out / "report.html").read_text(encoding="utf-8")
    assert "trained on tracks of 20 to 200 frames" in text and record["command"] in text and "too_short" in text
    assert run(walks, out, weights, "--overwrite") == 0
    assert not (out / "report.html").exists() and "command" not in json.loads((out / "run.json").read_text())


def test_nothing_analysed(weights, tmp_path):
    path = tmp_path / "short.csv"
    walk(np.random.default_rng(0), 5).to_csv(path, index=False)
    assert run(path, tmp_path / "out", weights, "--report") == 0
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "none of them was long enough" in text and 'class="empty"' in text


def test_refusals(tmp_path):
    with pytest.raises(InputError, match=r"no run\.json"):
        write_report(tmp_path)
    folder = write_results(tmp_path / "out", *make_tables(3))
    (folder / ".tracewise").touch()  # the folder of files that are not complete cannot be made
    with pytest.raises(InputError, match="cannot be written"):
        write_report(folder)


@pytest.fixture
def browser(tmp_path):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*FLAGS.split(), f"--user-data-dir={tmp_path / 'profile'}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_script_timeout(WAIT)
    driver.set_page_load_timeout(WAIT)
    yield driver
    driver.quit()


def show(browser, path):
    """Open a report and wait until its figures are drawn."""
    browser.get(path.as_uri())
    wait(browser, "return document.body.dataset.ready || !document.getElementById('failure').hidden")
    severe = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert severe == [] and browser.execute_script("return document.body.dataset.ready") == "true"


def wait(browser, script, *arguments):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, WAIT).until(lambda driver: driver.execute_script(script, *arguments))


def title(browser):
    return browser.find_element("id", "track-title").text


PIXELS = """const c = document.getElementById('map');
const { data } = c.getContext('2d').getImageData(0, 0, c.width, c.height);
return data.reduce((hash, value) => (hash * 31 + value) | 0, 7)"""
OPENED = "return document.getElementById('track-title').textContent.startsWith(arguments[0])"
PLACE = """for (let track = 0; track < report.tracks.length; track++) {  // where a track is the nearest
  if (track === report.chosen) continue;
  for (let i = report.first[track]; i < report.first[track + 1]; i++) {
    const place = report.map.toScreen(report.points.x[i], report.points.y[i]).map(Math.round);
    if (report.map.trackAt(...place) === track) return [track, ...place];
  }
}"""


@needs_browser
def test_a_click_opens_a_track(browser, tmp_path):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    points, segments, tracks, record = make_tables()
    show(browser, write_report(write_results(tmp_path / "out", points, segments, tracks, record)))
    most = segments.groupby("track_id").size().idxmax()
    assert title(browser).startswith(f"Track {most}:")
    canvas = browser.find_element(By.ID, "map")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    before = browser.execute_script(PIXELS)
    track, left, top = browser.execute_script(PLACE)
    corner = [left - canvas.size["width"] // 2, top - canvas.size["height"] // 2]
    ActionChains(browser).move_to_element_with_offset(canvas, *corner).click().perform()
    wait(browser, OPENED, f"Track {track}:")
    shown = browser.execute_script("return document.getElementById('trace').data.map(t => Array.from(t.x))")
    seconds = INTERVAL * points.loc[points["track_id"] == track, "frame"].to_numpy()
    assert any(len(x) == len(seconds) and np.allclose(x, seconds) for x in shown if None not in x)
    assert browser.execute_script(PIXELS) != before
    rows = browser.find_elements(By.CSS_SELECTOR, "#track-segments tbody tr")
    assert len(rows) == (segments["track_id"] == track).sum()

    pictures = [browser.execute_script(PIXELS)]
    for colour in ("msd_1", "k", "alpha"):
        browser.find_element(By.CSS_SELECTOR, f"input[name=colour][value={colour}]").click()
        pictures.append(browser.execute_script(PIXELS))
    assert len(set(pictures)) == 4 and "trapped" in browser.find_element(By.ID, "map-legend").text

    field = browser.find_element(By.ID, "track-id")
    field.clear()
    field.send_keys("7", Keys.ENTER)
    wait(browser, OPENED, "Track 7:")
    browser.find_element(By.ID, "next").click()
    assert title(browser).startswith("Track 8:") and field.get_attribute("value") == "8"
    field.clear()
    field.send_keys("999", Keys.ENTER)
    assert "no analysed track 999" in title(browser)

    scale = browser.execute_script("return report.map.scale")
    ActionChains(browser).scroll_from_origin(ScrollOrigin.from_element(canvas), 0, -200).perform()
    wait(browser, "return report.map.scale > 1.2 * arguments[0]", scale)
    k = np.array(browser.execute_script("return Array.from(report.points.k, v => Number.isNaN(v) ? 99 : v)"))
    moving = points["state"] > 0
    assert np.allclose(k[moving], np.log10(points["k"][moving]), atol=LOG10_STEP / 2 + 1e-6)
    assert (k[~moving] == 99).all()
    assert [e for e in browser.get_log("browser") if e["level"] == "SEVERE"] == []


@needs_browser
def test_several_files_hostile_names_and_a_telephone(browser, tmp_path):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import Select

    *tables, record = make_tables()
    *tables, record = split_into([HOSTILE, "b.csv"], "file", tables, record)
    narrow = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", narrow)
    show(browser, write_report(write_results(tmp_path / "out", *tables, record)))
    assert browser.execute_script("return document.documentElement.scrollWidth") == 390
    assert browser.execute_script("return window.hit") is None
    files = Select(browser.find_element(By.ID, "file"))
    assert [option.text for option in files.options] == [HOSTILE, "b.csv"]
    for i, expected_tracks in enumerate((range(0, 12, 2), range(1, 12, 2))):
        files.select_by_index(i)
        assert browser.execute_script("return report.tracks") == list(expected_tracks)
        assert f"of {(HOSTILE, 'b.csv')[i]}" in title(browser)
    names = browser.execute_script("return document.getElementById('histogram-k').data.map(t => t.name)")
    assert names == [("…" + HOSTILE[-31:]).replace("&", "&amp;").replace(">", "&gt;"), "b.csv"]
    Select(browser.find_element(By.ID, "group")).select_by_index(1)
    shown = browser.find_elements(By.CSS_SELECTOR, ".group:not([hidden])")
    assert [part.get_attribute("data-group") for part in shown] == ["1"] * 3
    empty = [t.iloc[:0] for t in tables[:2]]
    show(browser, write_report(write_results(tmp_path / "none", *empty, tables[2].assign(n_segments=0), record)))
    assert "No track was analysed" in browser.find_element(By.ID, "tracks").text
