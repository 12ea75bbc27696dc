"""What can be done to the run under the cursor of the browser."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from textual import work

from pixeltui.errors import UserError, printable
from pixeltui.session.worker import TrainRequest
from pixeltui.store.rundir import RunDir, check_name, check_tag
from pixeltui.store.summary import RunSummary
from pixeltui.store.view import RunState
from pixeltui.ui.run_list import RUNNING
from pixeltui.ui.screens.dialogs import Ask, Choice, Prompt
from pixeltui.ui.screens.new_run import NewRun
from pixeltui.ui.screens.sized import SizedScreen

if TYPE_CHECKING:
    from pixeltui.ui.app import Console


class RunActions(SizedScreen):
    """To inherit from: who does knows which run is under the cursor."""

    app: "Console"

    @property
    def current(self) -> RunSummary | None:
        raise NotImplementedError

    def action_reload(self) -> None:
        """Reads the runs again."""
        raise NotImplementedError

    @property
    def nothing_here(self) -> str:
        """Why there is no run under the cursor, and what to do."""
        raise NotImplementedError

    def _under_cursor(self) -> RunSummary | None:
        """The run under the cursor; where there is none, that is said."""
        run = self.current
        if run is None:
            self.notify(printable(self.nothing_here), timeout=4, markup=False)
        return run

    def _run(self) -> RunDir | None:
        """The run under the cursor, where it can be opened."""
        run = self._under_cursor()
        if run is None:
            return None
        try:
            return RunDir.open(Path(run.path))
        except UserError as error:
            self._sorry(error)
            return None

    def _sorry(self, error: UserError) -> None:
        self.notify(printable(error), severity="warning", timeout=8, markup=False)

    def action_open(self) -> None:
        if run := self._run():
            self.app.open_run(run)

    def action_draw(self) -> None:
        if run := self._run():
            self.app.open_sampling(run)

    def action_inspect(self) -> None:
        if run := self._run():
            self.app.open_inspection(run)

    def action_new(self) -> None:
        if self.app.may_train():
            self.app.push_screen(NewRun(self.app.runs_dir), self._train)

    def _train(self, request: TrainRequest | None) -> None:
        if request is not None:
            self.app.train(request)

    def action_resume(self) -> None:
        run, summary = self._run(), self.current
        if run is not None and summary is not None:
            resume(self.app, run, summary.state)

    def action_rename(self) -> None:
        if run := self._run():

            def rename(name: str | None) -> None:
                if name and name != run.name:
                    self._change(lambda: run.rename(name))

            self.app.push_screen(Prompt(f"Rename {run.name}", run.name, check=_wrong_name), rename)

    def action_tags(self) -> None:
        if run := self._run():
            old = " ".join(str(tag) for tag in run.meta().get("tags", []))

            def tag(text: str | None) -> None:
                if text is not None:
                    self._change(lambda: run.update_meta(tags=list(dict.fromkeys(text.split()))))

            hint = "words, separated by spaces"
            self.app.push_screen(
                Prompt(f"Tags of {run.name}", f"{old} " if old else "", hint=hint, check=_wrong_tags, goes_on=True), tag
            )

    def action_note(self) -> None:
        if run := self._run():

            def write(text: str | None) -> None:
                if text is not None:
                    self._change(lambda: run.update_meta(note=text))

            self.app.push_screen(Prompt(f"Note to {run.name}", str(run.meta().get("note", "")), goes_on=True), write)

    def action_delete(self) -> None:
        summary = self._under_cursor()
        if summary is None:
            return
        if summary.state in RUNNING:
            self.notify("this run is training: stop it before you delete it", severity="warning")
            return

        def delete(answer: str | None) -> None:
            if answer == "delete":
                self._change(lambda: RunDir(Path(summary.path)).delete())
                self.app.marked.discard(summary.path)

        body = f"{summary.name} goes to the trash folder .trash beside it."
        self.app.push_screen(Ask("Delete this run?", body, [Choice("y", "delete it", "delete")]), delete)

    def _change(self, change: Callable[[], object]) -> None:
        try:
            change()
        except UserError as error:
            self._sorry(error)
        self.action_reload()

    def action_copy_path(self) -> None:
        if run := self._under_cursor():
            self.app.copy_to_clipboard(run.path)
            self.notify(printable(run.path), title="copied", markup=False, timeout=3)

    def action_export(self) -> None:
        if run := self._run():
            out = f"{run.name}.safetensors"

            def export(path: str | None) -> None:
                if path:
                    self._export(run, Path(path).expanduser())

            hint = "the best weights, averaged, with a model card beside them"
            self.app.push_screen(Prompt("Export", out, hint=hint, check=_wrong_export), export)

    @work(thread=True, group="export")
    def _export(self, run: RunDir, out: Path) -> None:
        from pixeltui.session.export import export_run

        try:
            card = export_run(run, out, lambda text: self.app.call_from_thread(self._sorry, UserError(text)))
        except UserError as error:
            self.app.call_from_thread(self._sorry, error)
        else:
            said = printable(f"{out} and {card}")
            self.app.call_from_thread(self.notify, said, title="exported", markup=False)


def _wrong_name(name: str) -> str:
    try:
        check_name(name)
    except UserError:
        return "letters, digits, '.', '_' and '-' only, up to 100, not beginning with '.' or '-'"
    return ""


def _wrong_tags(text: str) -> str:
    try:
        for tag in text.split():
            check_tag(tag)
    except UserError as error:
        return str(error)
    return ""


def _wrong_export(path: str) -> str:
    return "" if path.endswith(".safetensors") else "expected a name that ends in .safetensors"


def resume(app: "Console", run: RunDir, state: RunState) -> None:
    """Goes on with a run from its last checkpoint; shows one that trains, says of a finished one how it goes on."""
    if state in RUNNING:
        app.open_run(run)
    elif state == "finished":
        try:
            app.notify(printable(_how_to_train_longer(run)), timeout=8, markup=False)
        except UserError as error:
            app.notify(printable(error), severity="warning", timeout=8, markup=False)
    else:
        command = f"pixeltui train --resume {run.reference()}"
        app.train(TrainRequest(runs_dir=app.runs_dir, resume=str(run.path), command=command))


def _how_to_train_longer(run: RunDir) -> str:
    key = "train.steps" if run.config(resumed=True).train.steps else "train.epochs"
    return f"finished; to train longer: pixeltui train --resume {run.reference()} --set {key}=MORE"
