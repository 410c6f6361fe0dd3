"""How the fake Box behaves where tests want it shorter, stricter, or as one of two documents has it."""

from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

_HOUR = timedelta(hours=1).total_seconds()
_DAY = timedelta(days=1).total_seconds()


class BoxSettings(BaseModel):
    """The switches of the enterprise."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    code_seconds: float = Field(30, gt=0)
    access_token_seconds: float = Field(_HOUR, gt=0)
    refresh_token_seconds: float = Field(60 * _DAY, gt=0)
    refresh_tokens: Literal["single_use", "reuse"] = Field(
        "single_use", description="reuse: a refresh answers a new refresh token, but the old one stays valid."
    )
    rate_limit: int | None = Field(None, ge=1, description="Calls per window and user; null is no limit.")
    rate_window_seconds: float = Field(60, gt=0)
    space_amount: int = Field(10 * 1024**4, ge=0, description="Bytes that each user may own.")
    max_upload_size: int = Field(5 * 1024**3, ge=0, description="Bytes of one file.")
    upload_part_size: int = Field(8 * 1024**2, ge=1)
    upload_session_minimum: int = Field(20_000_000, ge=0, description="Smallest file of an upload session.")
    upload_session_seconds: float = Field(7 * _DAY, gt=0)
    first_commit_waits: bool = Field(False, description="The first commit of a session answers 202.")
    commit_retry_after: float = Field(1, ge=0)
    download_url_seconds: float = Field(900, gt=0)
    download_events: bool = Field(True, description="A download is an event, as it is at Box.")
    stream_position: Literal["string", "integer"] = Field(
        "string", description="The JSON type of `next_stream_position`."
    )
    short_pages: int | None = Field(
        None, ge=1, description="Events that a page has at most, below its limit."
    )
    stale_position: Literal["oldest", "400"] = Field(
        "oldest", description="A position that is too old gets the oldest events that are left, or a 400."
    )
    long_poll_seconds: float = Field(25, gt=0, le=900)
    long_poll_end: Literal["reconnect", "max_retries"] = Field(
        "reconnect", description="What a long poll says that saw no change."
    )
    webhook_retries: int = Field(2, ge=0, description="How often a call that has failed is made again.")
    webhook_retry_seconds: float = Field(0.2, ge=0, description="Between two tries of a call.")
    webhook_timeout_seconds: float = Field(30, gt=0, description="How long an answer may take.")
    long_poll_retry_seconds: int = Field(
        610, ge=1, description="Seconds after which a client gives a silent long poll up."
    )
    long_poll_url: str | None = Field(
        None, description="The realtime server that clients are sent to, if it is not the fake itself."
    )
    event_retention: int = Field(100_000, ge=0, description="Events that are kept.")
