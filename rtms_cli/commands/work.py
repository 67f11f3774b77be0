"""`rtms work`: records streams that others take in."""

from typing import TYPE_CHECKING

from rtms_cli.commands.groups import HookOptions, LiveOptions, LoggedOptions, MediaOptions, WebOptions, option_groups
from rtms_cli.commands.options import (
    AllowHost,
    ClientId,
    ClientSecret,
    Drain,
    HealthHost,
    HealthPort,
    Slots,
    WorkQueue,
    duration,
    given_credentials,
    tls_options,
)
from rtms_cli.errors import Problem

if TYPE_CHECKING:
    from rtms_cli.fleet.worker import Worker
    from rtms_cli.station.station import Station

LINE = "fd:"
"""How a queue begins that is a line to the process which started this one: `listen --workers` does."""


@option_groups
def work(
    queue: WorkQueue = None,
    slots: Slots = 200,
    drain: Drain = "0",
    health_port: HealthPort = None,
    health_host: HealthHost = "127.0.0.1",
    *,
    media: MediaOptions,
    allow_host: AllowHost = None,
    client_id: ClientId = None,
    client_secret: ClientSecret = None,
    live: LiveOptions,
    hooks: HookOptions,
    pages: WebOptions,
    recording: LoggedOptions,
) -> None:
    """Record the streams of a queue, on any number of machines.

    Ctrl-C or SIGTERM hands the streams over to other workers, which lose nothing; a second one ends at once.

    \b
    Example:
      rtms work --queue redis://queue.example.com --slots 200
    """
    from rtms_cli.commands.composing import shares_of, shown_station, working
    from rtms_cli.fleet.queues import open_dispatch, read_queue_url
    from rtms_cli.station import log_context
    from rtms_cli.station.notify_systemd import tell_systemd
    from rtms_cli.station.receiving import answering_probes
    from rtms_cli.station.running import run_loop
    from rtms_cli.wire.hosts import HostPolicy

    if queue is not None and queue.startswith(LINE):
        from rtms_cli.commands.crew import follow

        follow(queue.removeprefix(LINE))
        return
    if queue is None:
        raise Problem("No queue.", "Give --queue redis://HOST, or set RTMS_QUEUE.")
    wait_s = duration("--drain", drain)
    credentials = given_credentials(client_id=client_id, client_secret=client_secret)
    tls = tls_options(recording.ca_file, insecure=recording.insecure)
    request = media.request(separate=live.wants_each())
    workers: list[Worker] = []

    def stop(station: "Station", who: str) -> None:
        for worker in workers:
            worker.drain(who, wait_s=wait_s)
        if not workers:
            station.request_stop(who)

    async def run() -> None:
        shares = shares_of(request, max(1, slots), live, hooks, recording)
        async with (
            shown_station(
                f"work for {read_queue_url(queue).shown}",
                recording,
                live,
                hooks,
                request,
                credentials.sign,
                HostPolicy(tuple(allow_host or ())),
                trusted=True,
                tls=tls,
                max_streams=shares.streams,
                on_stop=stop,
                in_fleet=True,
                web=pages,
            ) as station,
            open_dispatch(queue, lambda text: station.notice(f"WARNING: {text}")) as dispatch,
        ):
            if shares.streams < slots:
                station.notice(f"WARNING: {shares.streams} slots, not {slots}: `ulimit -n` allows no more")
            worker = working(station, dispatch, min(slots, shares.streams), live, recording)
            workers.append(worker)
            log_context.worker.set(worker.name)
            station.notice(f"{worker.name} has {worker.claims.slots} slots")
            async with answering_probes(station, recording.out, health_host, health_port):
                tell_systemd("READY=1")
                await worker.run()

    run_loop(run())
