"""Elements Gateway: the Cloud Elements `instances` and `hubs/documents` API, self-hosted."""

__version__ = "0.1.0"
