"""Settings that stand in files, one each, as orchestrators hand out secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic_settings import SecretsSettingsSource

from app.errors import SettingsError


class SecretFiles(SecretsSettingsSource):
    """The files of the directory that the setting `secrets_dir` names, each called as its variable is."""

    def __call__(self) -> dict[str, Any]:
        """What the files hold. Raises SettingsError where the directory cannot be read."""
        self.secrets_dir = self.current_state.get("secrets_dir")
        if self.secrets_dir is not None and not _readable(Path(str(self.secrets_dir))):
            raise SettingsError("GATEWAY_SECRETS_DIR: not a directory that can be read")
        return super().__call__()


def _readable(directory: Path) -> bool:
    try:
        next(directory.iterdir(), None)
    except OSError:
        return False
    return True
