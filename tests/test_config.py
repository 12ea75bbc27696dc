"""Config: precedence, every problem at once, presets, the documented default."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixeltui.config import (
    ConfigError,
    documented,
    dump_config,
    load_config,
    load_saved_config,
    period_steps,
    preset_names,
    total_steps,
)
from pixeltui.reference import config_page
from pixeltui.ui.keys import BY_ID

ROOT = Path(__file__).parent.parent


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "my.toml"
    path.write_text(text)
    return path


def test_precedence_is_default_then_preset_then_file_then_set(tmp_path: Path) -> None:
    path = write(tmp_path, "[train]\nlr = 0.25\nbatch_size = 7\n")
    config = load_config(path, preset="baseline", overrides=["train.batch_size=9"])
    assert config.train.ema_decay == 0.997, "from the preset, over the default"
    assert config.train.lr == 0.25, "from the file, over the preset"
    assert config.train.batch_size == 9, "from --set, over the file"
    assert config.train.keep == load_config().train.keep, "untouched: the default"


def test_file_may_name_its_preset_and_the_command_line_wins(tmp_path: Path) -> None:
    path = write(tmp_path, 'preset = "quick"\n')
    assert load_config(path).data.name == "digits"
    assert load_config(path).preset == "quick"
    assert load_config(path, preset="baseline").data.name == "cifar10"
    config = load_config(path, preset="baseline", overrides=["train.lr=0.25", "preset=large"])
    assert (config.preset, config.model.blocks, config.train.lr) == ("large", 24, 0.25)


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ('"quik"', "no preset 'quik'; did you mean 'quick'?"),
        ('["quick"]', "preset: expected str, got ['quick']"),
        ("3", "preset: expected str, got 3"),
        ('""', "no preset ''; there are baseline, large, pixelcnn, quick"),
    ],
)
def test_a_wrong_preset_is_told_with_its_place(value: str, wrong: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"# mine\npreset = {value}\n[train]\nlr = 1\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value) == f"{path}:2: {wrong}"


def test_numbers_and_truths_may_be_written_as_python_writes_them() -> None:
    words = ["model.dropout=.25", "train.lr=1.", "train.betas=[.5,.75]", "train.deterministic=True", "data.name=./.5/x"]
    config = load_config(overrides=words)
    assert (config.model.dropout, config.train.lr, config.train.betas) == (0.25, 1.0, (0.5, 0.75))
    assert config.train.deterministic
    assert config.data.name == "./.5/x"
    assert load_config(overrides=['ui.keys={pause="1.,.5"}']).ui.keys == {"pause": "1.,.5"}


def test_a_string_for_overrides_is_one_of_them() -> None:
    assert load_config(overrides="train.steps=3") == load_config(overrides=["train.steps=3"])
    with pytest.raises(ConfigError, match=r"did you mean 'train\.steps'") as refused:
        load_config(overrides="train.stps=3")
    assert len(str(refused.value).splitlines()) == 1


def test_a_wrong_preset_among_overrides_is_told() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(preset="baselin", overrides=["preset=nonsense"])
    flag, override = str(caught.value).splitlines()
    assert flag == "--preset: no preset 'baselin'; did you mean 'baseline'?"
    assert override.startswith("--set preset=nonsense: no preset 'nonsense'")


def test_config_page_is_written_from_the_config() -> None:
    assert (ROOT / "docs" / "CONFIG.md").read_text() == config_page(), (
        "run: python -m pixeltui.reference > docs/CONFIG.md"
    )


def test_repository_config_is_the_documented_default() -> None:
    assert (ROOT / "config.toml").read_text() == documented(), "run: python -m pixeltui.config > config.toml"
    assert load_config(ROOT / "config.toml") == load_config() == load_config(preset="pixelcnn")


@pytest.mark.parametrize("preset", preset_names())
def test_resolved_config_runs_again(preset: str, tmp_path: Path) -> None:
    config = load_config(
        preset=preset, overrides=["train.betas=[0.5, 0.75]", "model.attention={after = [1], heads = 1}"]
    )
    path = write(tmp_path, dump_config(config))
    assert load_config(path) == config
    assert load_saved_config(path) == config


def test_the_four_presets_exist() -> None:
    assert {"baseline", "large", "pixelcnn", "quick"} <= set(preset_names())


def test_every_problem_is_told_at_once_with_its_place(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '[train]\nlrr = 1\nbatch_size = "many"\nprecision = "bf17"\n\n[modle]\nchannels = 3\n\n[model]\nkernel = 4\n',
    )
    with pytest.raises(ConfigError) as caught:
        load_config(path, preset="quik", overrides=["train.lr=-1", "data.name=cifar11", "nonsense", "train.epochs=nan"])
    lines = str(caught.value).splitlines()
    for expected in (
        f"{path}:2: unknown key train.lrr; did you mean 'train.lr'?",
        f"{path}:3: train.batch_size: expected int, got 'many'",
        f"{path}:4: train.precision: expected one of auto, fp32, bf16, fp16, got 'bf17'",
        f"{path}:7: unknown key modle.channels; did you mean 'model.channels'?",
        f"{path}:10: model.kernel: expected an odd number up to 63, got 4",
        "--preset: no preset 'quik'; did you mean 'quick'?",
        "--set train.lr=-1: train.lr: expected float > 0.0, got -1",
        "--set nonsense: expected KEY=VALUE, as in --set train.lr=5e-4",
    ):
        assert expected in lines, expected
    assert any("data.name" in line and "'cifar10'" in line for line in lines)
    assert any("train.epochs" in line for line in lines)
    assert len(lines) == 10


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("model.attention.after=[99]", "there is no block 99"),
        ("model.attention.after=[2, 1, 2]", "block 2 is named twice"),
        ("train.lr=1\nmodel.channels=3", "train.lr"),
        ("train.accumulate=3", "3 does not divide train.batch_size"),
        ("train.eval_every=2 moons", '"2 epochs"'),
        ("train.lr=inf", "finite"),
        ("train.lr=1e16", "at most 1000000000000000.0"),
        ("train.muon_lr=1e16", "at most 1000000000000000.0"),
        ("data.levels=1", "2 to 256"),
        ("train.betas=[0.9, 1.0]", "train.betas"),
        ("model=3", "expected a table"),
        ("train.seed.x=3", "train.seed is a value"),
        ("train.deterministic=1", "expected bool"),
        ("train.batch_size=1e3", "expected int"),
        ("model.head=softmax", "dmol"),
        ("model={architecture = 'single_stack', first_kernel = 1}", "sees nothing"),
        ("ui.keys.puase=space", "ui.keys.puase: there is no action 'puase'; did you mean 'pause'"),
        ("model.first_kernel=1", "of depthwise a first kernel of 1 sees nothing"),
        ("sample.top_p=0", "> 0"),
        ("train.seed=99999999999999999999", "at most 18446744073709551615"),
        ("model.channels=10000000", "at most 8192"),
        ("model.blocks=100000000000000000000", "at most 1000"),
        ("model.mixtures=1000000000000", "at most 1000"),
        ("model.linear_skip=100000000000", "at most 8192"),
        ("train.steps=1" + "0" * 23, "at most 1000000000000000"),
        ("train.eval_every=1" + "0" * 23, "at most 1000000000000000"),
        ("train.eval_every=1" + "0" * 23 + " epochs", '"2 epochs"'),
        ("data.name=", "no data set and no path ''; there are cifar10"),
        ("data.name=''", "no data set and no path ''"),
        ("data.name=" + "a" * 300, "no data set and no path"),
        ("train.device=gpu", "train.device: there is no 'gpu': expected auto, cpu, cuda or cuda:N"),
        ("train.device=", "train.device: there is no ''"),
        ("train.muon_lr=1e300", "at most 1000000000000000.0"),
        ("train.lr=1" + "0" * 400, "a finite number"),
        ("train.seed=1" + "0" * 5000, "expected int"),
        ("train.betas=" + "[" * 10_000, "train.betas"),
    ],
)
def test_impossible_values_are_refused(override: str, named: str) -> None:
    with pytest.raises(ConfigError, match="--set") as caught:
        load_config(overrides=[override])
    assert named in str(caught.value)


def test_every_action_of_the_console_can_have_other_keys() -> None:
    for name in BY_ID:
        assert load_config(overrides=[f"ui.keys.{name}=f9"]).ui.keys == {name: "f9"}


def test_what_is_large_and_meant_is_taken() -> None:
    large = ["model.channels=4096", "model.blocks=200", "model.mixtures=100", "train.batch_size=65536"]
    endless = ["train.steps=1000000000000", "train.eval_every=1000000000000", f"train.seed={2**64 - 1}"]
    config = load_config(overrides=large + endless)
    assert (config.model.channels, config.train.steps, config.train.seed) == (4096, 10**12, 2**64 - 1)


def test_overrides_take_strings_numbers_lists_and_tables() -> None:
    config = load_config(
        overrides=[
            "data.name=some/where.npz",
            "train.device=cuda:1",
            "train.lr=1",
            "train.eval_every=2 epochs",
            "train.checkpoint_every=100",
            "model.attention={after = [1, 2], heads = 2}",
        ]
    )
    assert config.data.name == "some/where.npz"
    assert config.train.device == "cuda:1"
    assert config.train.lr == 1.0
    assert config.model.attention.after == (1, 2)
    assert period_steps(config.train.eval_every, 7) == 14
    assert period_steps(config.train.checkpoint_every, 7) == 100
    assert total_steps(config.train, 7) == 350


@pytest.mark.parametrize("content", [b"[train\n", b"\xff\xfe", b"a = [1,", b"train = 3\n"])
def test_broken_files_are_config_errors(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"broken\.toml"):
        load_config(path)


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_bytes(b"\xef\xbb\xbf[train]\nlr = 0.25\n")
    assert load_config(path).train.lr == 0.25


def test_a_list_of_tables_is_told_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, "[train]\nlr = 0.25\n\n[[sample]]\nevery = 3\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value) == f"{path}:4: sample: expected a table, got [{{'every': 3}}]"


def test_missing_file_and_folder_are_config_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="directory"):
        load_config(tmp_path)


def test_saved_config_of_another_version_opens(tmp_path: Path) -> None:
    path = write(tmp_path, 'future = 1\n[train]\nlr = 0.5\nwarp = 9\nprecision = "fp2"\n[model]\nkernel = 4\n')
    config = load_saved_config(path)
    assert config.train.lr == 0.5
    assert config.model.kernel == 4
    assert config.train.precision == "auto"


@given(st.lists(st.text(max_size=40), max_size=3))
def test_no_override_crashes(overrides: list[str]) -> None:
    try:
        load_config(overrides=overrides)
    except ConfigError as error:
        assert "--set" in str(error)


def test_a_config_without_end_or_bottom_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    for load in (load_config, load_saved_config):
        with pytest.raises(ConfigError, match="larger than 1024 KiB"):
            load(path)
    path.write_text("[train]\nbetas = " + "[" * 100_000)
    for load in (load_config, load_saved_config):
        with pytest.raises(ConfigError, match="cannot be read as TOML"):
            load(path)


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("batchsize", "train.batch_size"),
        ("train.learning_rate", "train.lr"),
        ("train.wd", "train.weight_decay"),
        ("train.ema", "train.ema_decay"),
        ("train.dropout", "model.dropout"),
        ("model.attention.head", "model.attention.heads"),
        ("augmentations.cutout", "data.augmentations.cutout"),
    ],
)
def test_the_nearest_key_is_of_the_same_name_or_table(wrong: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown key {wrong}; did you mean '{meant}'"):
        load_config(overrides=[f"{wrong}=1"])


def test_problems_are_told_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, '[model]\nkernel = 4\nblocks = "many"\n\n[train]\nlrr = 1\naccumulate = 7\nlr = -1\n')
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides=["train.keep=0"])
    places = [line.removeprefix(f"{path}:").split(":")[0] for line in str(caught.value).splitlines()]
    assert places == ["2", "3", "6", "7", "8", "--set train.keep=0"]
