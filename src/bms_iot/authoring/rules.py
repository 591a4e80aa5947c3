"""What a revision must not do: each rule yields what it finds in one."""

from collections.abc import Callable, Iterator

from bms_iot.authoring import rules_of_databases, rules_of_rows
from bms_iot.authoring.parsed import Found, Revision

Rule = Callable[[Revision], Iterator[Found]]

RULES: dict[str, Rule] = {
    "not-null": rules_of_rows.not_null,
    "rename": rules_of_rows.rename,
    "many-drops": rules_of_databases.many_drops,
    "batch": rules_of_databases.batch,
    "lossy-cast": rules_of_rows.lossy_cast,
    "transaction": rules_of_databases.transaction,
    "import": rules_of_databases.imported,
    "enum-check": rules_of_databases.enum_check,
    "unnamed": rules_of_databases.unnamed,
    "boolean-default": rules_of_databases.boolean_default,
    "contract": rules_of_rows.contract,
    "expression-index": rules_of_databases.expression_index,
    "downgrade": rules_of_rows.downgrade,
    "silent-loss": rules_of_rows.silent_loss,
}

"""By the code that findings and exceptions have."""
