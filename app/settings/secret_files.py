"""Settings that stand in files, one each, as orchestrators hand out secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic_settings import SecretsSettingsSource

from app.errors import SettingsError


class SecretFiles(SecretsSettingsSource):
    """The files of the directory that the setting `secrets_dir` names, each called as its variable is."""

    def __call__(self) -> dict[str, Any]:
        """What the files hold. Raises SettingsError where the directory cannot be read, and where one of them
        would not count: what stands for it then, a new key or an empty database, is never what was meant."""
        self.secrets_dir = self.current_state.get("secrets_dir")
        if self.secrets_dir is not None:
            for path in _inside(Path(str(self.secrets_dir))):
                if path.name.lower().startswith(self.env_prefix.lower()):
                    self._check(path)
        return super().__call__()

    def _check(self, path: Path) -> None:
        if path.name.lower().removeprefix(self.env_prefix.lower()) not in self.settings_cls.model_fields:
            raise SettingsError(f"{path.name}: GATEWAY_SECRETS_DIR has it, and no setting is called so")
        if not path.is_file():
            raise SettingsError(
                f"{path.name}: not a file; Docker makes a directory where its source is missing"
            )
        if path.parent.resolve() not in path.resolve().parents:
            raise SettingsError(f"{path.name}: leads out of GATEWAY_SECRETS_DIR")


def _inside(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        raise SettingsError("GATEWAY_SECRETS_DIR: not a directory that can be read") from None
