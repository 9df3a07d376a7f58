"""What an error of PostgreSQL says: is the row refused, is it held by others, or is the database away? One table.

Rule 1: a pure function of the SQLSTATE. Source: PostgreSQL's documentation, appendix A, "PostgreSQL Error Codes".
Rule 2: the longest entry that the code begins with counts; what no entry knows fails its row alone, and the breaker
        judges with what it sees of other rows.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final


class Verdict(Enum):
    """What is to be done with a row whose statement raised an error."""

    REFUSED = "the database does not take this row, now or later"
    BUSY = "another session holds the row; it is tried again"
    ALONE = "this row fails, and may pass later; others are tried"
    AWAY = "the database does not serve: every row of the transaction fails"


#: SQLSTATE, or its beginning -> the verdict.
VERDICTS: Final = {
    "08": Verdict.AWAY,  # Connection exceptions.
    "09": Verdict.REFUSED,  # A triggered action failed.
    "21": Verdict.REFUSED,  # Cardinality: a trigger's query returned more rows than one.
    "22": Verdict.REFUSED,  # Data: too long, out of range, not of the type, NUL in JSON, not in the encoding.
    "23": Verdict.REFUSED,  # Constraints.
    "25": Verdict.AWAY,  # State of the transaction: 25006 is a read-only server, such as a former primary.
    "27": Verdict.REFUSED,  # A trigger has changed what the statement changes.
    "28": Verdict.AWAY,  # Login refused.
    "2F": Verdict.REFUSED,  # An SQL function of a trigger failed.
    "38": Verdict.REFUSED,  # An external routine of a trigger failed.
    "39": Verdict.REFUSED,
    "3D": Verdict.AWAY,  # No such database.
    "40": Verdict.BUSY,  # Serialisation failures and deadlocks: PostgreSQL asks to repeat the transaction.
    "40002": Verdict.REFUSED,  # A constraint that is checked at the transaction's end.
    "44": Verdict.REFUSED,  # The check option of a view.
    "45": Verdict.REFUSED,  # The SQL standard's class for exceptions that users raise.
    "53": Verdict.AWAY,  # Disk full, out of memory, too many connections.
    "54": Verdict.REFUSED,  # Too long for an index, too complex.
    "55P03": Verdict.BUSY,  # lock_timeout.
    "57": Verdict.AWAY,  # Shutdown, crash, start, the database was dropped.
    "57014": Verdict.BUSY,  # statement_timeout, or someone cancelled the statement.
    "58": Verdict.AWAY,  # Errors of the server's system.
    "F0": Verdict.AWAY,  # Its configuration file.
    "P0": Verdict.REFUSED,  # RAISE in a trigger, and what else PL/pgSQL raises.
    "XX": Verdict.AWAY,  # Internal: damaged data and index.
}


def verdict(sqlstate: str | None) -> Verdict:
    """Return what an error with this code says. None: no answer of the server, that is, the connection is lost."""
    if not sqlstate:
        return Verdict.AWAY
    for length in (5, 2):
        if found := VERDICTS.get(sqlstate[:length]):
            return found
    # Classes from 5 to 9 and from I to Z are left to implementations, so a trigger may raise them; PostgreSQL uses
    # those above, 55 and 72. Source: SQL standard, the table of SQLSTATE classes.
    if sqlstate[0] in "6789IJKLMNOQRSTUVWYZ" and not sqlstate.startswith("72"):
        return Verdict.REFUSED
    return Verdict.ALONE


#: What a failed connection says (in English, as libpq does) -> what a person can do about it.
_REMEDIES: Final = (
    (
        r"password authentication failed",
        "look at user name and password; `%` escapes what is special in a URL",
    ),
    (r"no password supplied", "the server asks for a password, and the URL has none"),
    (r'role ".*" does not exist', "create the user, or correct its name"),
    (r'database ".*" does not exist', "create the database (`createdb`), then run `fastproc init-db`"),
    (
        r"no pg_hba\.conf entry",
        "let the server's pg_hba.conf admit this host, or ask for TLS with sslmode=require",
    ),
    (
        r"permission denied for schema",
        "GRANT CREATE ON SCHEMA to this user, or let the owner run `fastproc init-db`",
    ),
    (r"permission denied for database", "GRANT CONNECT on the database to this user"),
    (r"too many (clients|connections)|remaining connection slots", "raise max_connections, or use PgBouncer"),
    (r"certificate|SSL", "look at sslmode and sslrootcert in the URL"),
    (r"not known|resolve|translate host|No address", "look at the host name"),
    (r"refused|No such file", "is the server running, and are host and port right?"),
    (r"timeout|timed out|unreachable|No route", "is a firewall in between, and are host and port right?"),
    (r"starting up|shutting down|recovery mode", "wait until the server has started"),
    (r"read-only|not read-write|hot standby|in recovery", "name the primary server"),
)


def remedy(text: str) -> str:
    """Return what a person can do about a connection that failed with this text; "" where nothing is known."""
    return next((advice for pattern, advice in _REMEDIES if re.search(pattern, text, re.IGNORECASE)), "")
