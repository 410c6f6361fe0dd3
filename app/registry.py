"""The elements that this gateway knows: whatever modules lie in `app/providers`."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Mapping
from string import Formatter

from app import providers
from app.errors import NotFound, SettingsError
from app.hubs.documents import DocumentsProvider, Power

Provider = type[DocumentsProvider]


class Registry:
    """Finds a provider by its element's key or id, and its base URL for an account."""

    def __init__(self, found: list[Provider], base_urls: Mapping[str, str]) -> None:
        self.providers = sorted(found, key=lambda provider: provider.key)
        self._by_name = {name: item for item in found for name in (item.key, str(item.element_id))}
        if len(self._by_name) != 2 * len(found):
            raise SettingsError("two providers share an element key or id")
        known = {
            name for item in found for name in (item.key, *(f"{item.key}.{host}" for host in item.hosts))
        }
        unknown = base_urls.keys() - known
        if unknown:
            raise SettingsError(f"GATEWAY_PROVIDER_BASE_URLS names unknown elements: {', '.join(unknown)}")
        self._base_urls = base_urls

    def find(self, key_or_id: str) -> Provider:
        """Raises NotFound for an element that no provider offers."""
        provider = self._by_name.get(key_or_id.strip().lower())
        if provider is None:
            raise NotFound(f"No element with the key or id '{key_or_id[:100]}' found")
        return provider

    def place(self, provider: Provider) -> list[str]:
        """The configuration keys that say where at the vendor an account is: those in its URLs."""
        templates = [provider.base_url, *provider.hosts.values()]
        names = {name for template in templates for _, name, _, _ in Formatter().parse(template) if name}
        return sorted(names)

    def hosts(self, provider: Provider, configuration: Mapping[str, str | None]) -> dict[str, str]:
        """The vendor's other hosts by their names."""
        return {name: self.base_url(provider, configuration, name) for name in provider.hosts}

    def base_url(self, provider: Provider, configuration: Mapping[str, str | None], host: str = "") -> str:
        """The vendor's URL for this account, or that of one of its other hosts; where an operator has set
        the one, the others are there too unless they are set as well. A value that its field's pattern
        does not admit is left out, so that a configuration can never point the gateway to another host."""
        template = self._template(provider, host)
        patterns = {field.key: field.pattern or "" for field in provider.fields}
        names = [name for _, name, _, _ in Formatter().parse(template) if name]
        values = {name: configuration.get(name) or "" for name in names}
        return template.format(
            **{
                name: value if re.fullmatch(patterns.get(name, ""), value) else ""
                for name, value in values.items()
            }
        )

    def _template(self, provider: Provider, host: str) -> str:
        public = provider.hosts[host] if host else provider.base_url
        usual = self._base_urls.get(provider.key, public)
        return self._base_urls.get(f"{provider.key}.{host}", usual) if host else usual


def discover(base_urls: Mapping[str, str]) -> Registry:
    """Imports every module of `app/providers`; each offers one `provider` class."""
    names = [module.name for module in pkgutil.iter_modules(providers.__path__)]
    modules = [importlib.import_module(f"{providers.__name__}.{name}") for name in names]
    return Registry([module.provider for module in modules], base_urls)


def as_markdown(registry: Registry) -> str:
    """The page `docs/providers.md`: what each provider declares, as `GET /elements/{key}` shows it too."""
    providers = registry.providers
    head = [
        "# Providers",
        "",
        "What each element can do, as `GET /elements/{key}` lists it in `operations`. Asked for anything",
        "else, it answers 405 with the names of the element and the operation. `python -m app providers`",
        "writes this page from the declarations of the providers.",
        "",
        "| operation | " + " | ".join(provider.name for provider in providers) + " |",
        "|---|" + "---|" * len(providers),
    ]
    rows = [
        f"| {power} | " + " | ".join("yes" if power in item.powers else "" for item in providers) + " |"
        for power in Power
    ]
    notes = [line for provider in providers for line in _notes(provider)]
    return "\n".join([*head, *rows, *notes, ""])


def _notes(provider: Provider) -> list[str]:
    lines = ["", f"## {provider.name}", "", f"Element `{provider.key}`, id {provider.element_id}.", ""]
    return lines + [f"- {note}" for note in provider.notes]
