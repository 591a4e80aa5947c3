"""`bms-iot run` and `run-main`: the gateway itself."""

import typer


def run() -> None:
    """Read the controllers and deliver their readings, until stopped. The database must be at head."""
    import asyncio

    from bms_iot.cli.log import configure
    from bms_iot.cli.stopping import until_stopped
    from bms_iot.settings import load_settings

    settings = load_settings()
    configure(settings.log)
    asyncio.run(until_stopped(_run_gateway(settings)))


def run_main() -> None:
    """Upgrade the database, wait for provisioning, then run: what a container does."""
    import asyncio

    from bms_iot.cli.log import configure
    from bms_iot.cli.stopping import until_stopped
    from bms_iot.provisioning import missing_provisioning
    from bms_iot.schema import commands
    from bms_iot.settings import database_url, load_settings

    settings = load_settings()
    configure(settings.log)
    url, is_named = database_url()
    commands.upgrade(url, is_named=is_named)

    async def wait_and_run() -> None:
        current, said = settings, ""
        while missing := await missing_provisioning(current):
            if said != (said := ", ".join(missing)):
                typer.echo(f"waiting for provisioning; missing: {said}", err=True)
            await asyncio.sleep(2.0)
            current = load_settings()
        await _run_gateway(current)

    asyncio.run(until_stopped(wait_and_run()))


async def _run_gateway(settings: object) -> None:
    from bms_iot.bootstrap import open_gateway
    from bms_iot.cli.stopping import on_hangup
    from bms_iot.errors import RestartRequested
    from bms_iot.gateway.host import restart
    from bms_iot.settings import Settings, load_settings

    assert isinstance(settings, Settings)
    async with open_gateway(settings, reload=load_settings) as gateway:
        with on_hangup(gateway.broker.renew):
            await gateway.run()
    if gateway.state.restart:
        if settings.reboot.host_command is not None:
            restart(settings.reboot.host_command)
        raise RestartRequested("restarting, as the command reboot asked")
