"""Where Alembic enters; everything is in `bms_iot.schema`."""

from bms_iot import models, settings
from bms_iot.authoring import autogenerate, printing
from bms_iot.schema.machine import run

run(
    metadata=models.metadata,
    database_url=settings.database_url,
    authoring=autogenerate.options(),
    print_script=printing.print_script,
)
