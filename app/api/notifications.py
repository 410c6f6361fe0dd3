"""/notifications: what was told of an account's events, whom it is sent to, and what is sent once more."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from app import ceql
from app.api.answers import done
from app.api.bodies import JsonRoute
from app.api.deps import CallerDep, RuntimeDep
from app.api.paging import (
    PAGE_SIZE,
    NextPageQuery,
    OnwardPagingDep,
    PageSizeQuery,
    PagingDep,
    UnknownPageQuery,
    refuse_number,
)
from app.api.problems import responses
from app.ceql import Condition
from app.delivery import notifications
from app.delivery.notifications import Place
from app.errors import BadRequest
from app.ids import LARGEST_ID
from app.wire import subscriptions as wire
from app.wire.subscriptions import (
    DELIVERY_FIELDS,
    SPELLINGS,
    DeliveryBody,
    NotificationBody,
    RedeliveredBody,
    SubscriptionBody,
    SubscriptionOrder,
)

router = APIRouter(
    route_class=JsonRoute, prefix="/notifications", tags=["notifications"], responses=responses(400, 401)
)

_TOKEN = re.compile(r"(\d{1,18})\.(\d{1,19})", re.ASCII)

NotificationId = Annotated[int, Path(alias="id", ge=1, le=LARGEST_ID, description="Id of the notification.")]
SubscriptionId = Annotated[int, Path(alias="id", ge=1, le=LARGEST_ID, description="Id of the subscription.")]
Where = Annotated[
    str,
    Query(
        description="CEQL, e.g. channel='webhook' and status='queued' and config.url='https://example.com'; "
        "also by instanceId, subscriptionId, notificationId, eventType and createdDate."
    ),
]


@router.get("", response_model_exclude_none=True)
async def list_notifications(
    runtime: RuntimeDep,
    caller: CallerDep,
    paging: OnwardPagingDep,
    topics: Annotated[
        list[str] | None, Query(alias="topics[]", description="`instance-<id>-<key>-events`; required.")
    ] = None,
) -> list[NotificationBody]:
    """Lists the notifications of topics, the newest first, as they were or will be sent. A topic that nobody
    knows has none."""
    if not topics:
        raise BadRequest("topics[]: is required")
    found, rest = await notifications.find(
        runtime, caller.account_id, topics, below=paging.after, limit=paging.size
    )
    if rest is not None:
        paging.go_on(rest)
    return [wire.notification(item) for item in paging.page(found, lambda item: item.id)]


@router.get("/subscriptions", response_model_exclude_none=True)
async def list_subscriptions(
    runtime: RuntimeDep, caller: CallerDep, paging: PagingDep
) -> list[SubscriptionBody]:
    """Lists where the notifications of the account's instances go."""
    if paging.wants_total:
        paging.total(await notifications.count_subscriptions(runtime, caller.account_id))
    found = await notifications.subscriptions(
        runtime, caller.account_id, after_id=paging.after, offset=paging.offset, limit=paging.limit
    )
    return [wire.subscription(item) for item in paging.page(found, lambda item: item.subscription.id)]


@router.post("/subscriptions", response_model_exclude_none=True, responses=responses(409))
async def create_subscription(
    runtime: RuntimeDep, caller: CallerDep, body: SubscriptionOrder
) -> SubscriptionBody:
    """Sends the notifications of an instance to one more callback from now on, beside the one that its
    configuration names. It ends with the instance, or with its own deletion. A URL that they go to already
    gets no second one: it is activated, and an added one is signed with a new `signatureKey`."""
    made = await notifications.subscribe(
        runtime,
        caller.account_id,
        topic=body.topics[0],
        url=body.config.url,
        signature_key=body.config.signatureKey,
    )
    return wire.subscription(made)


@router.get("/subscriptions/deliveries", response_model_exclude_none=True)
async def list_deliveries(
    runtime: RuntimeDep,
    caller: CallerDep,
    response: Response,
    where: Where = "",
    page: UnknownPageQuery = 1,
    page_size: PageSizeQuery = PAGE_SIZE,
    next_page: NextPageQuery = "",
) -> list[DeliveryBody]:
    """Lists deliveries by subscription, the oldest first. A page looks at 5,000 of them at most and may then
    hold fewer than `pageSize`; it is the last one only if it brings no token."""
    refuse_number(page, next_page)
    size = min(page_size, PAGE_SIZE)
    found, rest = await notifications.find_deliveries(
        runtime, caller.account_id, _condition(where), after=_place(next_page), limit=size
    )
    response.headers["Elements-Returned-Count"] = str(len(found))
    if page_size > size:
        response.headers["Elements-Error"] = f"pageSize was cut to {size}"
    if rest is not None:
        response.headers["Elements-Next-Page-Token"] = f"{rest.subscription_id}.{rest.notification_id}"
    return [wire.delivery(item) for item in found]


@router.put("/subscriptions/deliveries")
async def redeliver(runtime: RuntimeDep, caller: CallerDep, where: Where = "") -> RedeliveredBody:
    """Activates subscriptions and sends their deliveries once more, from the first attempt on: the queued
    ones, unless `where` names a `status`. With `status='delivered'` what has arrived is sent again, under
    the same ids."""
    if not where.strip():
        raise BadRequest("where: is required")
    if not _names_status(where):
        where = f"({where}) and status = 'queued'"
    sent = await notifications.redeliver(runtime, caller.account_id, _condition(where))
    return RedeliveredBody(redelivered=sent)


@router.get("/subscriptions/{id}", response_model_exclude_none=True, responses=responses(404))
async def get_subscription(
    runtime: RuntimeDep, caller: CallerDep, subscription_id: SubscriptionId
) -> SubscriptionBody:
    """Gets a subscription."""
    return wire.subscription(await notifications.subscription(runtime, caller.account_id, subscription_id))


@router.delete("/subscriptions/{id}", response_class=Response, responses=responses(404, 409))
async def delete_subscription(
    runtime: RuntimeDep, caller: CallerDep, subscription_id: SubscriptionId
) -> Response:
    """Deletes a subscription with everything that it has not delivered yet. The one that an instance's
    configuration asks for comes back with the next change of its `event.` keys; one that is going to be told
    of an async request cannot be deleted yet."""
    await notifications.unsubscribe(runtime, caller.account_id, subscription_id)
    return done()


@router.get("/{id}", response_model_exclude_none=True, responses=responses(404))
async def get_notification(
    runtime: RuntimeDep, caller: CallerDep, notification_id: NotificationId
) -> NotificationBody:
    """Gets a notification as it was or will be sent."""
    return wire.notification(await notifications.get(runtime, caller.account_id, notification_id))


@router.put("/{id}/acknowledge", response_model_exclude_none=True, responses=responses(404))
async def acknowledge_notification(
    runtime: RuntimeDep, caller: CallerDep, notification_id: NotificationId
) -> NotificationBody:
    """Says that its owner has a notification: what is not delivered of it is sent no more, and what waited
    for that may leave."""
    return wire.notification(await notifications.acknowledge(runtime, caller.account_id, notification_id))


@router.get(
    "/{id}/subscriptions/{subscriptionId}/deliveries",
    response_model_exclude_none=True,
    responses=responses(404),
)
async def list_deliveries_of_notification(
    runtime: RuntimeDep,
    caller: CallerDep,
    notification_id: NotificationId,
    subscription_id: Annotated[int, Path(alias="subscriptionId", ge=1, le=LARGEST_ID)],
    hydrate: Annotated[bool, Query(description="Add the notification and the subscription.")] = False,
) -> list[DeliveryBody]:
    """Lists how a notification has come to a subscription."""
    found, sent = await notifications.deliveries(runtime, caller.account_id, notification_id, subscription_id)
    if not hydrate:
        return [wire.delivery(item) for item in found]
    return [
        wire.delivery(item, wire.notification(sent), wire.subscription(item.subscribed)) for item in found
    ]


def _condition(where: str) -> Condition:
    if not where.strip():
        return Condition(lambda row: True)
    return ceql.compile_where(where, DELIVERY_FIELDS, SPELLINGS)


def _names_status(where: str) -> bool:
    """Whether the condition is one only if there is a field `status`; a URL may have that word in it, too."""
    with suppress(BadRequest):
        ceql.compile_where(where, DELIVERY_FIELDS - {"status"}, SPELLINGS)
        return False
    return True


def _place(token: str) -> Place:
    if not token:
        return Place()
    found = _TOKEN.fullmatch(token)
    if not found or int(found[2]) > LARGEST_ID:
        raise BadRequest("nextPage: is not a token that this gateway gave")
    return Place(int(found[1]), int(found[2]))
