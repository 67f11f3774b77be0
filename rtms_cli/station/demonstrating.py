"""What `rtms demo` does: a station and the Zoom simulator in one process, over sockets of this machine."""

import asyncio
from collections.abc import Coroutine, Sequence

from rtms_cli.cloud.addresses import find_addresses
from rtms_cli.cloud.rest import Action, Order, Target
from rtms_cli.cloud.tokens import Token, TokenFlow, Tokens, TokenSource
from rtms_cli.errors import Exit
from rtms_cli.protocol.numbers import EVERY_MEDIA, Product
from rtms_cli.protocol.secrets import Secret
from rtms_cli.protocol.webhooks import Webhook
from rtms_cli.simulator.cloud_app import CloudApp, all_scopes
from rtms_cli.simulator.cloud_server import Cloud
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.schedule import Event, EventKind
from rtms_cli.simulator.server import App, Simulator
from rtms_cli.simulator.zoom import Finding
from rtms_cli.station.awaiting import Awaited
from rtms_cli.station.control import Control
from rtms_cli.station.station import Station
from rtms_cli.station.subscribing import subscribed
from rtms_cli.wire.dialer import Dialer
from rtms_cli.wire.hosts import HostPolicy
from rtms_cli.wire.listener import Listener

MORE_S = 3600
"""How much longer the meeting is than its recording, which ends because someone stops it."""


async def by_webhook(station: Station, app: App, seconds: float) -> Exit:
    """Have a webhook announce a meeting, and record it to its end.

    :param app: what the station signs with.
    :returns: what the command that does so exits with.
    """

    def take(body: bytes, webhook: Webhook) -> None:
        if not station.outcomes:  # the result is the last word, though the stop webhook may come after it
            station.take(body, webhook)

    async with Simulator(app) as simulator:
        listener = Listener("127.0.0.1", 0, "/webhook", app.secret_token, take, station.health, station.notice)
        url = f"http://127.0.0.1:{await listener.start()}/webhook"
        station.notice(f"the Zoom simulator is on port {simulator.port}; webhooks go to {url}")
        stream = simulator.announce(Product.MEETING, Scenario(seconds))
        await simulator.post(url, stream, "started")
        was_cut_short = await _or_stopped(station, stream.done())
        if was_cut_short:
            simulator.end()  # it would wait for a client to come back
        await simulator.post(url, stream, "stopped", await stream.done())
        await station.idle()
        await listener.stop()
    return _judged(station, stream.report().findings, was_cut_short=was_cut_short)


async def through_the_cloud(station: Station, app: App, seconds: float) -> Exit:
    """Have a meeting's stream started, record it, and have it stopped.

    :param app: what the station signs with.
    :param seconds: how long the recording is.
    :returns: what the command that does so exits with.
    :raises Problem: if a step fails.
    """
    async with (
        Simulator(app) as simulator,
        Cloud(simulator, _known(app), [(Product.MEETING, _meeting(seconds))]) as cloud,
    ):
        station.notice(f"the simulated Zoom cloud is at {cloud.url}, its streams at port {simulator.port}")
        addresses = find_addresses({}, cloud_url=cloud.url)
        source = TokenSource(TokenFlow.CLIENT, app.client_id, Secret(app.client_secret), origin="the demo")
        tokens = Tokens([source], addresses)

        async def ask() -> Token:
            token = await tokens.fresh()
            life = f"{token.expires_in_s} s, {len(token.scopes)} scopes"
            station.notice(f"token: requested by {token.flow}, and issued ({life})")
            return token

        dialer = Dialer(HostPolicy())
        async with subscribed(addresses.events_url(cloud.subscription), ask, dialer, station) as subscriber:
            target = Target(Product.MEETING, cloud.subjects[0].name)
            was_cut_short = await _or_stopped(station, subscriber.connected()) or await _record(
                station, Control(addresses, tokens), target, app, seconds
            )
            if was_cut_short:
                simulator.end()  # it would wait for a client to come back
            await station.idle()
        findings = [*cloud.report().mistakes, *(finding for each in cloud.reports() for finding in each.findings)]
    return _judged(station, findings, was_cut_short=was_cut_short)


async def _record(station: Station, control: Control, target: Target, app: App, seconds: float) -> bool:
    """Start, wait, and stop; whether someone asked for the end of it all before that."""
    awaited = Awaited(target)
    station.subscribe(awaited)
    for action in (Action.START, Action.STOP):
        if await _or_stopped(station, _give(station, control, Order(target, action, app.client_id))):
            return True
        if action is Action.START:
            if await _or_stopped(station, awaited.has_begun.wait()):
                return True
            await _or_stopped(station, awaited.has_ended.wait(), seconds)
    return await _or_stopped(station, awaited.has_ended.wait())


def _judged(station: Station, findings: Sequence[Finding], *, was_cut_short: bool) -> Exit:
    """What to exit with; what the simulator has found is told, unless someone ended it all."""
    was_cut_short = was_cut_short or station.is_stopping  # also while the stream was ending by itself
    if findings and not was_cut_short:
        for finding in findings:
            station.notice(f"the simulator found a mistake in rtms: {finding.channel}: {finding.what}")
        return Exit.MISMATCH
    nothing = Exit.INTERRUPTED if was_cut_short else Exit.FAULT
    return max((outcome.exit_code for outcome in station.outcomes), default=nothing)


async def _give(station: Station, control: Control, order: Order) -> None:
    accepted = await control.give(order)
    by = f"{accepted.told.status}, by {accepted.flow}"
    station.notice(f"REST: requested {order.action}: {order.target} ({by})")


async def _or_stopped(station: Station, work: Coroutine[None, None, object], timeout_s: float | None = None) -> bool:
    """Do something until it is done, or the time is over, or someone asks for the end of it all; whether they did."""
    doing = asyncio.create_task(work, name="a step of the demo")
    stopped = asyncio.create_task(station.stopped(), name="stopped")
    try:
        await asyncio.wait((doing, stopped), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            await doing
            return False
        return stopped.done()
    finally:
        doing.cancel()
        stopped.cancel()
        await asyncio.wait((doing, stopped))


def _known(app: App) -> CloudApp:
    return CloudApp(app.client_id, app.client_secret, "", scopes=all_scopes(EVERY_MEDIA))


def _meeting(seconds: float) -> Scenario:
    """A meeting that is not over when its recording is, with something of everything until then."""
    third_ms = round(seconds * 1000 / 3)
    return Scenario(seconds + MORE_S, events=(Event(third_ms, EventKind.SHARE, 0, third_ms),))
