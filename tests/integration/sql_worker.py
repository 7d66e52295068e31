"""sql_worker - a handler in another language: its row, the end of its job and the result in one transaction, by the plain
SQL function weft_job_complete.

sql_worker.py ENDPOINT DATABASE_URL"""
import os
import pathlib
import signal
import sys

import msgpack
import psycopg2

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))
import worker as plain  # noqa: E402
from worker import Fail  # noqa: E402


def book(body, request):
    """Books an amount, once.  `dies`: after the commit, before the reply; `late`: only when that file exists."""
    while body.get("late") and not os.path.exists(body["late"]):
        yield None
    result = {"booked": body["amount"]}
    with psycopg2.connect(DATABASE) as connection, connection.cursor() as cursor:
        try:
            cursor.execute("INSERT INTO ledger (amount) VALUES (%s)", (body["amount"],))
            cursor.execute("SELECT weft_job_complete(%s, %s, %s, %s)", (
                int(request.meta["job.id"]), int(request.meta["job.fence"]), msgpack.packb(result), None))
            connection.commit()
        except psycopg2.Error as error:
            connection.rollback()
            if error.pgcode != "WF001":
                raise
            open(body["refused"], "w").close()
            raise Fail(10, "this attempt is over") from None
    if body.get("dies"):
        os._exit(9)
    return result


if __name__ == "__main__":
    DATABASE = sys.argv[2]
    worker = plain.Worker(sys.argv[1], "ledger", {"book": book})
    signal.signal(signal.SIGTERM, lambda *_: setattr(worker, "stopping", True))
    worker.run()
