"""What the product would publish from an upgraded database: its own outbox, points and payloads."""

import json
from pathlib import Path
from typing import Any

from bms_iot.mqtt.payload import BulkPoint, encode_bulk
from bms_iot.storage.database import open_database
from bms_iot.storage.outbox import Outbox
from bms_iot.storage.points import load_points


async def published(path: Path) -> list[dict[str, Any]]:
    """The messages of `B/bulk`, in the order of (boot, seq), decoded; `octets` is their length."""
    async with open_database(f"sqlite+aiosqlite:///{path}") as database:
        points = {stored.point.id: stored for stored in await database.read(load_points)}
        outbox = Outbox(database, boot=1)
        messages, after = [], (-1, 0)
        while stored := await outbox.following(after, limit=100):
            for message in stored:
                payload = encode_bulk(
                    boot=message.boot,
                    seq=message.seq,
                    iot_device_id="gateway",
                    points=[
                        BulkPoint(
                            point=points[reading.reading.point_id].point,
                            reading=reading.reading,
                            optional=points[reading.reading.point_id].optional,
                            columns=reading.columns,
                        )
                        for reading in message.readings()
                    ],
                )
                messages.append({**json.loads(payload), "octets": len(payload)})
            after = stored[-1].key
    return messages
