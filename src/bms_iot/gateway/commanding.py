"""The verbs of commands, wired together."""

from bms_iot.domain.ports import Broker, Clock, ControllerNetwork
from bms_iot.gateway.answer import Answer
from bms_iot.gateway.configure import Configure
from bms_iot.gateway.execute import Execute
from bms_iot.gateway.image import CurrentImage
from bms_iot.gateway.lanes import Lanes
from bms_iot.gateway.monitor import Monitor
from bms_iot.gateway.obey import Obey
from bms_iot.gateway.publish import Publish
from bms_iot.gateway.recover import Recover
from bms_iot.gateway.release import Release
from bms_iot.gateway.state import GatewayState
from bms_iot.gateway.write import Write
from bms_iot.mqtt.topics import Topics
from bms_iot.sections import WritesSettings
from bms_iot.storage.database import Database


def compose_execute(
    writes: WritesSettings,
    *,
    broker: Broker,
    topics: Topics,
    database: Database,
    network: ControllerNetwork,
    image: CurrentImage,
    monitor: Monitor,
    configure: Configure,
    publish: Publish,
    clock: Clock,
    state: GatewayState,
) -> Execute:
    """What takes commands and carries them out."""
    lanes = Lanes()
    release = Release(network=network, database=database, image=image, lanes=lanes, clock=clock, state=state)
    write = Write(
        network=network, database=database, monitor=monitor, release=release, clock=clock, state=state,
        rules=writes.rules, per_minute=writes.per_minute,
    )  # fmt: skip
    return Execute(
        broker=broker,
        topics=topics,
        database=database,
        clock=clock,
        state=state,
        answer=Answer(broker=broker, topics=topics, database=database, clock=clock),
        obey=Obey(
            database=database,
            monitor=monitor,
            configure=configure,
            write=write,
            publish=publish,
            broker=broker,
            lanes=lanes,
            clock=clock,
        ),
        recover=Recover(network=network, image=image, lanes=lanes, clock=clock, state=state),
        release=release,
    )
