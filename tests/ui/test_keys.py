"""The table of keys is sound: nothing is bound twice in one place, nothing that terminals keep for themselves."""

import importlib

from pixeltui.ui.keys import BY_ID, KEYS, keys_page, pretty

FORBIDDEN = {"ctrl+s", "ctrl+q", "ctrl+a", "ctrl+b", "ctrl+i", "ctrl+m", "ctrl+h", "ctrl+j"}


def test_ids_are_unique_and_plain() -> None:
    assert len(BY_ID) == len(KEYS)
    assert all(name.replace("-", "").isalnum() and name.islower() for name in BY_ID), "TOML keys without quotes"


def test_no_key_means_two_things_in_one_place() -> None:
    for scopes in (
        ("everywhere", "training"),
        ("everywhere", "charts"),
        ("everywhere", "samples"),
        ("everywhere", "runs"),
        ("everywhere", "sampling"),
        ("everywhere", "inspect"),
    ):
        used = [name for key in KEYS if key.scope in scopes for name in key.keys.split(",")]
        assert len(used) == len(set(used)), [name for name in used if used.count(name) > 1]


def test_no_key_belongs_to_the_terminal() -> None:
    assert not FORBIDDEN & {name for key in KEYS for name in key.keys.split(",")}


def find(owner: str) -> object:
    module, _, name = owner.rpartition(".")
    return getattr(importlib.import_module(f"pixeltui.ui.{module}"), name)


def test_every_action_exists() -> None:
    places = {
        "everywhere": ["app.Console"],
        "training": ["screens.training.TrainingScreen"],
        "charts": ["screens.curves_pane.CurvesPane"],
        "samples": ["screens.samples_pane.SamplesPane"],
        "runs": ["screens.browser.BrowserScreen", "widgets.run_table.RunTable"],
        "compare": ["screens.compare.CompareScreen"],
        "sampling": ["screens.sampling.SamplingScreen"],
        "text": ["screens.text_panes.TextPane"],
        "inspect": ["screens.inspect.InspectScreen"],
    }
    for key in KEYS:
        space, _, action = key.action.partition("(")[0].rpartition(".")
        owners = ["app.Console"] if space == "app" else places[key.scope]
        classes = [
            getattr(importlib.import_module(f"pixeltui.ui.{o.rpartition('.')[0]}"), o.rpartition(".")[2])
            for o in owners
        ]
        assert any(hasattr(cls, f"action_{action}") for cls in classes), key


def test_the_table_for_people_names_every_key() -> None:
    table = keys_page()
    assert all(key.meaning in table for key in KEYS)
    assert (pretty("question_mark"), pretty("ctrl+p"), pretty("f1"), pretty("f")) == ("?", "^p", "F1", "f")
