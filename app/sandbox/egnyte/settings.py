"""How a domain behaves where the vendor has changed its mind, or where its documents disagree."""

from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

# Thirty days: the lifetime that Egnyte's current documents give.
_MONTH = timedelta(days=30).total_seconds()


class DomainSettings(BaseModel):
    """The switches of one Egnyte domain."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    token_mode: Literal["refresh", "legacy"] = Field(
        "refresh",
        description="refresh: tokens end and come with a refresh token. legacy: `expires_in` -1 and none.",
    )
    access_token_seconds: float = Field(_MONTH, gt=0)
    refresh_token_seconds: float | None = Field(None, gt=0, description="null never ends.")
    code_seconds: float = Field(60, gt=0)
    refresh_rotation: Literal["same", "rotate", "omit"] = Field(
        "same", description="What an answer to a refresh carries: the same token, a new one, or none."
    )
    qps: int | None = Field(None, ge=1, description="Calls per second and token; null is no limit.")
    daily_quota: int | None = Field(
        None, ge=1, description="Calls per day (UTC) and token; null is no limit."
    )
    throttle: Literal["mashery", "429"] = Field(
        "mashery", description="A throttled call is a 403 with the Mashery headers, or a plain 429."
    )
    stale_cursor: Literal["oldest", "404"] = Field(
        "oldest", description="A cursor that is too old gets the oldest events that are left, or a 404."
    )
    # The vendor wants 10 MB.
    smallest_chunk: int = Field(0, ge=0, description="Bytes in a chunk of a file, but for the last one.")
    # developers.egnyte.com, Events API: half a million events are kept.
    event_retention: int = Field(500_000, ge=0, description="Events that are kept.")
    event_form: Literal["full", "old"] = Field(
        "full", description="old: events carry paths and no ids, notes only their own id, pages no oldest_id."
    )
    webhook_quota: int = Field(10, ge=0, description="Webhooks that a domain may have.")
    webhook_seconds: float = Field(_MONTH, description="How long a webhook lasts if it is not renewed.")
    webhook_batch: int = Field(20, ge=1, description="Events in one call at most.")
    webhook_retries: int = Field(
        3, ge=0, description="Calls after the first, where that was not answered 200."
    )
    webhook_retry_seconds: float = Field(0.05, ge=0, description="Wait before the first retry; it doubles.")
    webhook_failures: int = Field(
        2, ge=1, description="Calls that failed for good, in a row, after which a webhook is disabled."
    )
    webhook_keys: Literal["camel", "snake"] = Field(
        "camel", description="How the keys of an event's data are spelled, which is documented nowhere."
    )
