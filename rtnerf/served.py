"""What ``rtnerf view`` serves: the pages of some models, and the answers to what these pages ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtnerf.asked import Asked
from rtnerf.base.errors import InputError, require

if TYPE_CHECKING:
    import numpy as np

    from nerf.cameras import Camera
    from nerf.contract.config import AcceleratorConfig
    from rtnerf.api import Job

MODEL_ENDINGS = (".safetensors", ".th", ".rtn")


class Served:
    """A model, and those of folders that may be chosen in its place; each is read when it is first asked for.

    Parameters
    ----------
    name : str
        Of the model given.
    job : Job
    camera : Camera
        Size, focal lengths and background of all views; the circle of the first views goes through it.
    up : float64 array (3,)
        Unit vector along the upright axis.
    views : int
        On the circle.
    folders : sequence of Path
        Their models and configurations (``.toml``) may be asked for, nothing below or beside them.

    Raises
    ------
    InputError
        A folder is none, a name is in two, or a configuration breaks a rule.
    """

    def __init__(
        self,
        name: str,
        job: Job,
        camera: Camera,
        up: np.ndarray,
        views: int = 8,
        folders: Sequence[Path] = (),
    ) -> None:
        from nerf.contract.config import PRESETS, load_config

        self._camera, self._up, self._views = camera, up, views
        self._files = _files_of(folders, MODEL_ENDINGS)
        require(name not in self._files, "folder", "without a model of the name of the one given", name)
        self._configs: dict[str, AcceleratorConfig] = {job.config.name: job.config, **PRESETS}
        for file, path in _files_of(folders, (".toml",)).items():
            self._configs[file] = load_config(path)
        self._name = name
        self._models = {name: Asked(job, camera, self._configs, self._names(name))}
        self._pages = {name: self._page(name)}

    @property
    def answers(self) -> dict[str, Callable[[Mapping[str, str]], Any]]:
        """What may be asked, by name."""
        return {"simulate": self.simulate, "pixel": self.pixel}

    def page(self, asked: Mapping[str, str]) -> str:
        """Return the page of a ``model``, by default of the one given."""
        name, rest = self._model_of(asked)
        for field in rest:
            require(False, "question", "made of model", field)
        if name not in self._pages:
            self._pages[name] = self._page(name)
        return self._pages[name]

    def simulate(self, asked: Mapping[str, str]) -> dict[str, Any]:
        """Answer for a ``model`` what `Asked.simulate` does."""
        name, rest = self._model_of(asked)
        return self._asked(name).simulate(rest)

    def pixel(self, asked: Mapping[str, str]) -> dict[str, Any]:
        """Answer for a ``model`` what `Asked.pixel` does."""
        name, rest = self._model_of(asked)
        return self._asked(name).pixel(rest)

    def _names(self, first: str) -> list[str]:
        return list(dict.fromkeys([first, self._name, *self._files]))

    def _model_of(self, asked: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        name, rest = asked.get("model", self._name), {key: value for key, value in asked.items() if key != "model"}
        require(name in self._names(self._name), "model", f"one of {', '.join(self._names(self._name))}", name)
        return name, rest

    def _asked(self, name: str) -> Asked:
        from nerf.prepared import load_subject
        from rtnerf.api import prepare

        if name not in self._models:
            model = load_subject(self._files[name])
            self._models[name] = Asked(
                prepare(model, _fitting(model, self._configs)), self._camera, self._configs, self._names(name)
            )
        return self._models[name]

    def _page(self, name: str) -> str:
        from nerf.path import orbit
        from rtnerf.live import page_of

        asked = self._asked(name)
        cameras = orbit(self._camera, asked.job.centre, self._up, self._views)
        return page_of(asked.job, cameras, self._up, f"{name}, {asked.job.config.name}", choices=asked.choices)


def _files_of(folders: Sequence[Path], endings: tuple[str, ...]) -> dict[str, Path]:
    """The files in folders with one of some endings, by name; what a link leads out of its folder to is left out."""
    found: dict[str, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"folder must be a folder, not {folder}")
        for path in sorted(folder.iterdir()):
            if path.suffix in endings and path.is_file() and path.resolve().parent == folder.resolve():
                require(path.name not in found, "folder", "without a name that another has, too", path)
                found[path.name] = path
    return found


def _fitting(model: Any, configs: Mapping[str, AcceleratorConfig]) -> AcceleratorConfig:
    """The first configuration that a model may be shown on."""
    from nerf.contract.scene_image import Scene

    for config in configs.values():
        if isinstance(model, Scene):
            if model.config_digest == config.digest_word:
                return config
        elif model.shading == config.shading:
            return config
    raise InputError(f"model must be one for {', '.join(configs)}, not for another configuration")
