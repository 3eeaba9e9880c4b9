"""The report in headless Chromium: by mouse and keyboard, on a phone's screen, in light and dark mode."""

import base64
import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait
from tests.browser import headless_chromium

from carvana.backend import keras
from carvana.competition import rle
from carvana.data import images
from carvana.data.dataset import train_samples
from carvana.evaluation import errors, mask_checks
from carvana.models.build import build, load
from carvana.recipe import read_recipe, write_recipe
from carvana.report import gallery, write_report
from carvana.report.experiments import compare_recipes, find_experiments, read_makes
from carvana.report.flagged import flagged_masks
from carvana.report.page import MAX_BYTES
from carvana.runs import RunDir, RunMetadata
from carvana.submission import comparison
from carvana.submission.csv_file import write_submission
from carvana.submission.ledger import COLUMNS, Ledger, LedgerRow
from carvana.tables import TEXT, read_csv, write_csv

CARD = "#gallery .card"
FIND_VISIBLE = (
    "return [...document.querySelectorAll(arguments[0])].filter(element => element.checkVisibility())"
)
SMALL = [
    "base_filters=2",
    "depth=1",
    "norm=none",
    "stages=[{size=[32, 48], epochs=1, batch_size=8, learning_rate=1e-2}]",
]
ROWS: list[LedgerRow] = [
    dict.fromkeys(COLUMNS, "")
    | {"submission": f"{recipe}-fold{fold}.csv.gz", "recipe": recipe, "folds": "data-2", "fold": str(fold)}
    | {"cv_dice": f"0.9{fold}{place}000", "cv_low": "0.9", "cv_high": "0.99", "board": "local"}
    | {"public": f"0.8{fold}{place}111", "private": f"0.7{fold}{place}222", "sha256": 64 * "a"}
    for place, recipe in enumerate(("deep", "plain"))
    for fold in range(3)
]
METADATA = RunMetadata(
    table="data-2",
    folds=[0, 1],
    split="0a1b",
    backend="tensorflow",
    keras="3.0",
    machine="2 cores of a processor",
    train_photos=32,
    train_cars=2,
)


def _invented_errors(photos: list[str], dice: np.ndarray, *, refined: bool) -> pd.DataFrame:
    """Invent the wrong pixels of photos; refinement helps and hurts them in turn, each a little more."""
    counts = np.array([60, 20, 10, 6, 3, 1])
    rows = [(img, "coarse", float(value), counts) for img, value in zip(photos, dice, strict=True)]
    if refined:
        changes = [(-1) ** place * 0.0001 * (place + 1) for place in range(len(photos))]
        rows += [
            (img, "refined", float(value) + change, counts // 2)
            for img, value, change in zip(photos, dice, changes, strict=True)
        ]
    return errors.error_table(rows)


@pytest.fixture(scope="module")
def runs(rendered: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recipes on two folds, with untrained networks and invented scores."""
    root = tmp_path_factory.mktemp("runs")
    photos = train_samples(rendered)
    cars = sorted({photo.car for photo in photos})
    random = np.random.default_rng(0)
    for place, name in enumerate(("deep", "plain")):
        recipe = read_recipe("miniature", [*SMALL, f"seed={place}"])
        model = build(recipe)
        for fold in range(2):
            run = RunDir(root / name / f"fold-{fold}")
            run.folder.mkdir(parents=True)
            keras.saving.save_model(model, run.model)
            write_recipe(recipe, run.recipe)
            held_out = [photo.name for photo in photos if cars.index(photo.car) % 2 == fold]
            dice = 0.9 + 0.05 * place + random.uniform(0, 0.04, len(held_out))
            pd.DataFrame({"img": held_out, "dice": dice}).to_csv(run.scores, index=False)
            write_csv(_invented_errors(held_out, dice, refined=name == "plain"), run.errors)
            epochs = {"epoch": [1, 2], "stage": [1, 2], "loss": [0.5, 0.2], "dice": [0.8, 0.9]}
            epochs |= dict.fromkeys(["height", "width", "learning_rate", "train_s", "validation_s"], 1)
            pd.DataFrame(epochs).to_csv(run.history, index=False)
            run.write_metadata(METADATA)
    return root


@pytest.fixture(scope="module")
def ledger(rendered: Path, tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """A ledger of all rows; beside it one submission that holds the true masks, with its list of suspects."""
    ledger = Ledger(tmp_path_factory.mktemp("submissions") / "ledger.csv")
    for row in ROWS:
        ledger.add(row)
    truth = read_csv(rendered / "test_masks.csv", {"img": TEXT, "rle_mask": TEXT})
    submission = ledger.path.with_name("plain-fold1.csv.gz")
    records = []
    with write_submission(submission) as write_row:
        for place, (img, mask) in enumerate(zip(truth["img"], truth["rle_mask"], strict=True)):
            write_row(img, mask)
            area = int(rle.parse_runs(mask)[1].sum())
            records.append((img, 64, 96, area, 1 + place % 3, 7 * (place % 3), place / 100))
    columns = ["img", "height", "width", "area", "n_components", "second_area", "disagreement"]
    photos = mask_checks.measure_masks(pd.DataFrame(records, columns=columns))
    mask_checks.write_suspects(photos, mask_checks.suspects_path(submission))
    return ledger


@pytest.fixture(scope="module")
def report(ledger: Ledger, runs: Path, rendered: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, ledger, runs, rendered, worst=3)
    return path


@pytest.fixture(scope="module")
def chromium() -> Iterator[webdriver.Chrome]:
    with headless_chromium() as browser:
        yield browser


@pytest.fixture
def page(chromium: webdriver.Chrome, report: Path) -> webdriver.Chrome:
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    chromium.set_window_size(1200, 1000)
    chromium.get(report.as_uri())
    return chromium


def _cells(page: webdriver.Chrome, table: str) -> list[list[str]]:
    script = "return [...document.querySelectorAll(`#${arguments[0]} tbody tr`)].map("
    return page.execute_script(script + "row => [...row.cells].map(cell => cell.textContent))", table)


def _cards(page: webdriver.Chrome, gallery: str = "gallery") -> list[dict[str, str]]:
    script = "return [...document.querySelectorAll(`#${arguments[0]} .card`)].filter(card => card.checkVisibility())"
    return page.execute_script(script + ".map(card => ({...card.dataset}))", gallery)


def _show_all(page: webdriver.Chrome, gallery: str) -> None:
    page.find_element(By.ID, f"{gallery}-rest").click()


def _choose(page: webdriver.Chrome, what: str, text: str) -> None:
    Select(page.find_element(By.ID, what)).select_by_visible_text(text)


def test_it_loads_without_errors_and_network(page: webdriver.Chrome, report: Path) -> None:
    assert page.get_log("browser") == []
    loaded = page.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [name for name in loaded if not name.startswith("data:")] == []
    assert re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', report.read_text()) == []
    broken = "return [...document.images].filter(image => !image.naturalWidth).length"
    assert page.execute_script(broken) == 0
    assert len(page.find_elements(By.CSS_SELECTOR, ".chart svg")) == 2 + 2 * 2 + 2 + 1


def test_the_tables_hold_the_ledger(page: webdriver.Chrome) -> None:
    assert _cells(page, "ledger") == comparison.table(ROWS)
    assert _cells(page, "agreement") == comparison.agreement_table(ROWS)


def test_recipes_have_their_paired_difference(page: webdriver.Chrome, runs: Path) -> None:
    plain, deep = compare_recipes(find_experiments(runs))
    assert (plain.name, plain.difference, deep.difference.photos) == ("plain", None, 64)
    best, second = _cells(page, "recipe-comparison")
    assert best[:3] == ["plain", "0 1", f"{plain.dice.dice:.6f}"]
    assert second[4] == f"{deep.difference.dice:+.6f}"
    assert deep.difference.dice == pytest.approx(deep.dice.dice - plain.dice.dice)


def test_dice_by_angle_and_make_are_means(page: webdriver.Chrome, runs: Path, rendered: Path) -> None:
    deep, _ = find_experiments(runs)
    rows = {row[0]: row[1:] for row in _cells(page, "angles")}
    of_angle = deep.scores[deep.scores["angle"] == 7]
    assert rows["7"][0] == f"{of_angle['dice'].mean():.6f}"
    makes = read_makes(rendered)
    rows = {row[0]: row[1:] for row in _cells(page, "makes")}
    for make, (dice, _, cars) in rows.items():
        own = deep.scores[deep.scores["car"].map(makes) == make]
        assert (dice, cars) == (f"{own['dice'].mean():.6f}", str(own["car"].nunique()))


def test_wrong_pixels_are_those_of_the_runs(page: webdriver.Chrome, runs: Path) -> None:
    rows = _cells(page, "error-distances")
    assert rows == comparison.error_rows(errors.errors_by_recipe(runs))
    assert [row[:2] for row in rows] == [["deep", "coarse"], ["plain", "coarse"], ["plain", "refined"]]
    assert rows[0][3:] == ["100", "60", "20", "10", "6", "3", "1"]
    figure = page.find_element(By.CSS_SELECTOR, "#errors .chart").text
    assert all(text in figure for text in ("deep, coarse", "plain, refined", "0-2", "16-32", ">32"))


def test_photos_that_refinement_changed_most_are_listed(page: webdriver.Chrome, runs: Path) -> None:
    rows = _cells(page, "most-changed")
    assert [row[:2] for row in rows] == [["plain", "helped"]] * 5 + [["plain", "hurt"]] * 5
    first_fold, second_fold = (
        errors.read_errors(runs / "plain" / f"fold-{fold}" / "errors.csv") for fold in (0, 1)
    )
    last_of_each_fold = {table["img"].iloc[-1] for table in (first_fold, second_fold)}
    assert {row[2] for row in rows[5:7]} == last_of_each_fold
    assert [row[5] for row in rows[5:7]] == ["-0.003200"] * 2
    assert [row[5] for row in rows[:2]] == ["+0.003100"] * 2


def test_runs_without_their_errors_have_no_such_section(tmp_path: Path, ledger: Ledger, runs: Path) -> None:
    own = shutil.copytree(runs, tmp_path / "runs", ignore=shutil.ignore_patterns("errors.csv"))
    write_report(tmp_path / "report.html", ledger, own, tmp_path, worst=0)
    text = (tmp_path / "report.html").read_text()
    assert "recipe-comparison" in text
    assert "#errors" not in text


def test_a_heading_sorts_its_table(page: webdriver.Chrome) -> None:
    heading = page.find_elements(By.CSS_SELECTOR, "#ledger th")[comparison.HEADINGS.index("public")]
    button = heading.find_element(By.TAG_NAME, "button")
    button.click()
    assert [row[4] for row in _cells(page, "ledger")] == sorted(row["public"] for row in ROWS)
    assert heading.get_attribute("aria-sort") == "ascending"
    button.send_keys(Keys.ENTER)
    assert [row[4] for row in _cells(page, "ledger")] == sorted((row["public"] for row in ROWS), reverse=True)


def test_the_gallery_holds_the_worst_photos_and_is_filtered(page: webdriver.Chrome, runs: Path) -> None:
    cards = _cards(page)
    assert len(cards) == 2 * 2 * 3
    dice = [float(card["dice"]) for card in cards]
    assert dice == sorted(dice)
    for experiment in find_experiments(runs):
        for fold, scores in experiment.scores.groupby("fold"):
            own = [card for card in cards if (card["recipe"], card["fold"]) == (experiment.name, str(fold))]
            assert [float(card["dice"]) for card in own] == sorted(scores["dice"])[:3]
    _choose(page, "gallery-recipe", "plain")
    _choose(page, "gallery-fold", "1")
    assert {(card["recipe"], card["fold"]) for card in _cards(page)} == {("plain", "1")}
    assert page.find_element(By.ID, "gallery-count").text == "3 of 12 photos"
    angle = _cards(page)[0]["angle"]
    _choose(page, "gallery-angle", angle)
    assert {card["angle"] for card in _cards(page)} == {angle}
    for what in ("gallery-recipe", "gallery-fold", "gallery-angle"):
        _choose(page, what, "all")
    assert len(_cards(page)) == 12


def test_the_gallery_is_sorted(page: webdriver.Chrome) -> None:
    _choose(page, "gallery-sort", "best first")
    dice = [float(card["dice"]) for card in _cards(page)]
    assert dice == sorted(dice, reverse=True)
    _choose(page, "gallery-sort", "by angle")
    places = [(int(card["angle"]), float(card["dice"])) for card in _cards(page)]
    assert places == sorted(places)


def test_flagged_photos_are_those_of_the_list(page: webdriver.Chrome, ledger: Ledger) -> None:
    listed = mask_checks.read_suspects(ledger.path.with_name("plain-fold1-checks.csv"))
    _show_all(page, "flagged")
    cards = _cards(page, "flagged")
    assert [card["reason"] for card in cards] == [suspect.reason for suspect in listed]
    names = [f"{card['car']}_{int(card['angle']):02d}.jpg" for card in cards]
    assert names == [suspect.img for suspect in listed]
    reason = listed[1].reason
    _choose(page, "flagged-reason", reason)
    if page.find_element(By.ID, "flagged-rest").is_displayed():
        _show_all(page, "flagged")
    assert len(_cards(page, "flagged")) == sum(suspect.reason == reason for suspect in listed) < len(listed)
    _choose(page, "flagged-sort", "by angle")
    angles = [int(card["angle"]) for card in _cards(page, "flagged")]
    assert angles == sorted(angles)
    assert len(_cards(page)) == 12  # the other gallery is unchanged
    card = page.find_element(By.CSS_SELECTOR, "#flagged .card:not([hidden])")
    overlay = card.find_element(By.CSS_SELECTOR, ".overlay.mask")
    card.find_element(By.CSS_SELECTOR, "input[type=range]").send_keys(Keys.END)
    assert overlay.value_of_css_property("clip-path") == "inset(0px 0px 0px 100%)"
    assert overlay.value_of_css_property("visibility") == "visible"


def test_flagged_masks_are_those_of_the_submission(ledger: Ledger, rendered: Path, tmp_path: Path) -> None:
    rows, makes = ledger.rows(), read_makes(rendered)
    flagged = flagged_masks(rows, ledger.path.parent, rendered, makes, max_bytes=10**7)
    first, *_ = flagged.drawn
    assert len(flagged.drawn) == flagged.listed
    truth = read_csv(rendered / "test_masks.csv", {"img": TEXT}).set_index("img")["rle_mask"]
    assert np.array_equal(_classes(first.mask) > 0, rle.decode(truth[first.img], (64, 96)))
    assert (first.submission, first.place, first.make) == ("plain-fold1.csv.gz", 1, makes[first.car])
    assert flagged_masks(rows, tmp_path, rendered, makes, max_bytes=10**7).drawn == []
    few = flagged_masks(rows, ledger.path.parent, rendered, makes, max_bytes=2 * first.n_bytes)
    assert 1 <= len(few.drawn) < 3
    assert few.listed == flagged.listed


def test_overlay_and_divider_are_set_by_keyboard(page: webdriver.Chrome) -> None:
    card = page.find_element(By.CLASS_NAME, "card")

    def visible() -> list[str]:
        overlays = card.find_elements(By.CSS_SELECTOR, ".stack .overlay")
        return [
            overlay.get_attribute("class").split()[1]
            for overlay in overlays
            if overlay.value_of_css_property("visibility") == "visible"
        ]

    assert visible() == ["difference"]
    page.find_element(By.CSS_SELECTOR, "input[value=difference]").send_keys(Keys.ARROW_RIGHT)
    assert visible() == ["mask"]
    overlay = card.find_element(By.CSS_SELECTOR, ".overlay.mask")
    assert overlay.value_of_css_property("clip-path") == "inset(0px 0px 0px 30%)"
    card.find_element(By.CSS_SELECTOR, "input[type=range]").send_keys(Keys.ARROW_RIGHT * 5)
    assert overlay.value_of_css_property("clip-path") == "inset(0px 0px 0px 35%)"
    page.find_element(By.ID, "gallery-divider").send_keys(Keys.HOME)
    find = "return [...document.querySelectorAll('#gallery .stack .overlay.mask')]"
    assert set(page.execute_script(find + ".map(overlay => getComputedStyle(overlay).clipPath)")) == {
        "inset(0px 0px 0px 0%)"
    }


def test_a_photo_is_enlarged_and_closed_by_keyboard(page: webdriver.Chrome) -> None:
    dialog = page.find_element(By.ID, "enlarged")
    page.find_element(By.CLASS_NAME, "stack").send_keys(Keys.ENTER)
    assert dialog.get_attribute("open")
    assert dialog.find_element(By.CLASS_NAME, "photo").size["width"] > 900
    dialog.find_element(By.CSS_SELECTOR, "input[type=range]").send_keys(Keys.END)
    overlay = dialog.find_element(By.CLASS_NAME, "difference")
    assert overlay.value_of_css_property("clip-path") == "inset(0px 0px 0px 100%)"
    page.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not dialog.get_attribute("open")
    assert page.get_log("browser") == []


def test_arrow_keys_lead_through_the_enlarged_photos_which_fit_the_window(page: webdriver.Chrome) -> None:
    _choose(page, "gallery-recipe", "plain")
    names = page.execute_script(FIND_VISIBLE + ".map(card => card.querySelector('code').textContent)", CARD)
    page.find_element(By.CSS_SELECTOR, f"{CARD}:not([hidden]) .stack").send_keys(Keys.ENTER)
    dialog = page.find_element(By.ID, "enlarged")
    shown = [dialog.find_element(By.TAG_NAME, "code").text]
    for _ in names:
        page.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
        shown.append(dialog.find_element(By.TAG_NAME, "code").text)
    assert shown == [*names, names[0]]
    page.switch_to.active_element.send_keys(Keys.ARROW_LEFT)
    assert dialog.find_element(By.TAG_NAME, "code").text == names[-1]
    assert dialog.find_element(By.TAG_NAME, "output").text == f"{len(names)} of {len(names)}"
    assert page.execute_script("return arguments[0].scrollHeight <= arguments[0].clientHeight", dialog)
    photo = dialog.find_element(By.CLASS_NAME, "photo").rect
    height = page.execute_script("return innerHeight")
    assert photo["height"] > 0.6 * height
    dialog.find_element(By.CSS_SELECTOR, "[data-step='-1']").click()
    assert dialog.find_element(By.TAG_NAME, "code").text == names[-2]
    page.switch_to.active_element.send_keys(Keys.ESCAPE)
    # The listener of `close`, which moves the focus, runs after the dialog has closed.
    focused = "return document.activeElement.parentElement?.querySelector('code')?.textContent"
    WebDriverWait(page, 20).until(lambda page: page.execute_script(focused) == names[-2])


def test_a_part_at_full_resolution_is_enlarged_in_four_panels(page: webdriver.Chrome) -> None:
    page.find_element(By.CSS_SELECTOR, f"{CARD} .crop").send_keys(Keys.ENTER)
    dialog = page.find_element(By.ID, "enlarged")
    titles = [title.text for title in dialog.find_elements(By.CSS_SELECTOR, ".panels figcaption")]
    assert titles == ["Photo", "True mask", "Mask and errors", "Probability of car"]
    sizes = "return [...arguments[0].querySelectorAll('.panels img')].map(image => image.naturalWidth)"
    assert set(page.execute_script(sizes, dialog)) == {96}
    assert "96x64 pixels at full resolution" in dialog.text
    assert page.execute_script("return arguments[0].scrollHeight <= arguments[0].clientHeight", dialog)
    page.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert dialog.find_element(By.TAG_NAME, "output").text.startswith("2 of ")
    page.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not dialog.get_attribute("open")
    assert page.get_log("browser") == []


def test_a_gallery_shows_twelve_photos_and_then_more(page: webdriver.Chrome, ledger: Ledger) -> None:
    listed = len(mask_checks.read_suspects(ledger.path.with_name("plain-fold1-checks.csv")))
    assert listed > 12
    assert len(_cards(page, "flagged")) == 12
    count = page.find_element(By.ID, "flagged-count")
    assert count.text == f"12 of {listed} photos shown"
    page.find_element(By.ID, "flagged-more").send_keys(Keys.ENTER)
    assert len(_cards(page, "flagged")) == min(24, listed)
    focused = "return [...document.querySelectorAll('#flagged .card .stack')].indexOf(document.activeElement)"
    assert page.execute_script(focused) == 12
    if listed > 24:
        _show_all(page, "flagged")
    assert count.text == f"{listed} of {listed} photos"
    assert not page.find_element(By.ID, "flagged-more").is_displayed()
    assert not page.find_element(By.ID, "gallery-more").is_displayed()


def test_the_address_restores_filters_order_and_overlay(page: webdriver.Chrome) -> None:
    _choose(page, "gallery-recipe", "plain")
    _choose(page, "gallery-sort", "by angle")
    page.find_element(By.CSS_SELECTOR, "input[name=gallery-view][value=probability]").click()
    _choose(page, "flagged-angle", _cards(page, "flagged")[0]["angle"])
    address, cards, flagged = page.current_url, _cards(page), _cards(page, "flagged")
    page.get("about:blank")
    page.get(address)
    assert (_cards(page), _cards(page, "flagged")) == (cards, flagged)
    assert page.find_element(By.CSS_SELECTOR, f"{CARD}:not([hidden]) .overlay.probability").is_displayed()
    page.get(address.split("?")[0] + "?gallery-recipe=unknown&gallery-view=none")
    assert len(_cards(page)) == 12


def test_the_navigation_stays_at_the_top_and_marks_the_section(page: webdriver.Chrome) -> None:
    for section in ("errors", "flagged"):
        page.find_element(By.CSS_SELECTOR, f"nav a[href='#{section}']").click()
        nav = page.execute_script("return document.querySelector('nav').getBoundingClientRect().top")
        assert nav == 0
        heading = f"return document.querySelector('#{section} h2').getBoundingClientRect().top"
        assert page.execute_script(heading) > 0
    current = "return [...document.querySelectorAll('nav [aria-current]')].map(link => link.hash)"
    WebDriverWait(page, 5).until(lambda _: page.execute_script(current) == ["#flagged"])


def test_runs_have_their_data_duration_and_machine(page: webdriver.Chrome) -> None:
    headings = [
        cell.text.removesuffix(" ↕") for cell in page.find_elements(By.CSS_SELECTOR, "#run-details th")
    ]
    rows = [dict(zip(headings, row, strict=True)) for row in _cells(page, "run-details")]
    assert [(row["recipe"], row["fold"]) for row in rows] == [
        (recipe, fold) for recipe in ("deep", "plain") for fold in ("0", "1")
    ]
    assert rows[0]["machine"] == "2 cores of a processor"
    assert (rows[0]["photos held out"], rows[0]["cars trained on"]) == ("32", "2")
    assert (rows[0]["epochs"], rows[0]["minutes"]) == ("2", "0.1")
    assert (
        "64 labelled photos of 4 cars, 96x64 pixels, and 32 test photos"
        in page.find_element(By.ID, "runs").text
    )


def test_settings_of_recipes_are_compared(page: webdriver.Chrome) -> None:
    assert _cells(page, "settings") == [["seed", "0", "1"]]
    settings = {key: values for key, *values in _cells(page, "all-settings")}
    assert settings["stages.0.size"] == ["[32, 48]", "[32, 48]"]
    assert settings["tta"] == ["flip", "flip"]


def test_a_single_recipe_has_no_empty_columns(tmp_path: Path, runs: Path, page: webdriver.Chrome) -> None:
    shutil.copytree(runs / "plain", tmp_path / "runs" / "plain")
    ledger = Ledger(tmp_path / "ledger.csv")
    ledger.add(ROWS[-1] | {"public": "", "private": "", "board": ""})
    write_report(tmp_path / "report.html", ledger, tmp_path / "runs", tmp_path, worst=0)
    page.get((tmp_path / "report.html").as_uri())
    tables = [table.get_attribute("id") for table in page.find_elements(By.TAG_NAME, "table")]
    assert {"ledger", "recipe-comparison", "settings", "run-details"} <= set(tables)
    for table in tables:
        assert all(any(column) for column in zip(*_cells(page, table), strict=True)), table
    settings = dict(_cells(page, "settings"))
    assert settings["base_filters"] == "2"
    assert "tta" not in settings  # at its default


def test_the_file_is_no_larger_than_its_limit(
    tmp_path: Path, ledger: Ledger, runs: Path, rendered: Path, report: Path
) -> None:
    path, full = tmp_path / "report.html", report.stat().st_size
    assert full < MAX_BYTES
    assert "This file contains 12 of the 12 photos that were requested" in report.read_text()
    photos = [report.read_text().count('<figure class="card"')]
    for limit in (full - 60_000, full - 150_000):
        write_report(path, ledger, runs, rendered, worst=3, max_bytes=limit)
        text = path.read_text()
        assert path.stat().st_size <= limit
        assert f"The others would make the file larger than {limit / 1e6:g} MB." in text
        photos.append(text.count('<figure class="card"'))
    assert photos == sorted(set(photos), reverse=True)


def test_it_fits_a_phone(page: webdriver.Chrome) -> None:
    phone = {"width": 360, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    assert page.execute_script("return document.documentElement.scrollWidth") == 360
    height = FIND_VISIBLE + ".map(element => element.getBoundingClientRect().height)"
    assert min(page.execute_script(height, ".chart svg text")) >= 9
    assert min(page.execute_script(height, "select, button, input[type=range]")) >= 30


def _luminance(colour: str) -> float:
    """Relative luminance: https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    channels = np.array([int(channel) for channel in re.findall(r"\d+", colour)[:3]]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_in_light_and_dark_mode(page: webdriver.Chrome, scheme: str) -> None:
    preferred = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", preferred)
    body = page.find_element(By.TAG_NAME, "body")
    background = _luminance(body.value_of_css_property("background-color"))
    assert (background < 0.05) == (scheme == "dark")
    texts = {
        "body": "color",
        "header p": "color",
        "nav a": "color",
        "td": "color",
        ".chart svg text": "fill",
        "figcaption code": "color",
        "#flagged figcaption span": "color",
    }
    for selector, colour_property in texts.items():
        colour = _luminance(
            page.find_element(By.CSS_SELECTOR, selector).value_of_css_property(colour_property)
        )
        contrast = (max(colour, background) + 0.05) / (min(colour, background) + 0.05)
        assert contrast >= 4.5, selector


def _classes(picture: str) -> np.ndarray:
    """Return the index of each pixel's colour in an overlay, 0 where it is transparent."""
    image = Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2])))
    assert image.convert("RGBA").getpixel((0, 0))[3] == 0
    return np.asarray(image)


def test_the_overlays_are_truth_mask_and_their_difference(runs: Path, rendered: Path) -> None:
    experiments = find_experiments(runs)[:1]
    makes = read_makes(rendered)
    first, *_ = gallery.pictures(experiments, rendered, makes, worst=1, max_bytes=10**7).drawn
    photo = next(photo for photo in train_samples(rendered) if photo.name == first.img)
    run = experiments[0].runs[0]
    recipe = run.read_recipe()
    assert recipe.tta == "flip"
    pixels = images.read_photo(photo.path, recipe.size)
    plain, flipped = np.asarray(load(run.model)(np.stack([pixels, pixels[:, ::-1]])))[..., 0]
    probabilities = (plain + flipped[:, ::-1]) / 2
    mask = images.resize(probabilities, first.size) > recipe.threshold
    truth = images.read_mask(photo.mask)
    assert np.array_equal(_classes(first.truth) > 0, truth)
    assert np.array_equal(_classes(first.mask) > 0, mask)
    difference = _classes(first.difference)
    assert np.array_equal(difference == 1, truth & ~mask)
    assert np.array_equal(difference == 2, mask & ~truth)
    assert (first.car, first.make) == (photo.car, read_makes(rendered)[photo.car])


def test_missing_runs_and_photos_are_reported(tmp_path: Path, ledger: Ledger, runs: Path) -> None:
    path = tmp_path / "report.html"
    write_report(path, ledger, tmp_path / "none", tmp_path / "none", worst=3)
    assert "There is no finished run in" in path.read_text()
    write_report(path, Ledger(tmp_path / "ledger.csv"), runs, tmp_path / "none", worst=3)
    text = path.read_text()
    assert "There is no list of such photos beside the submissions" in text
    assert "The ledger holds no submission yet." in text
    assert "No photos: " in text
    assert text.count('<figure class="chart">') == 1 + 2 * 2 + 1 + 1


def test_an_unscored_submission_has_no_figure(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.csv")
    ledger.add(dict.fromkeys(COLUMNS, "") | {"submission": "blend.csv.gz", "sha256": 64 * "a"})
    write_report(tmp_path / "report.html", ledger, tmp_path, tmp_path, worst=0)
    text = (tmp_path / "report.html").read_text()
    assert ">blend.csv.gz</td>" in text
    assert '<figure class="chart">' not in text


def test_names_cannot_break_the_page(tmp_path: Path) -> None:
    row = ROWS[0] | {"recipe": "<script>alert(1)</script>"}
    ledger = Ledger(tmp_path / "ledger.csv")
    ledger.add(row)
    write_report(tmp_path / "report.html", ledger, tmp_path, tmp_path, worst=0)
    assert "<script>alert" not in (tmp_path / "report.html").read_text()
