"""psql itself: one process, statements with :'variables' as a script has them."""

import os
import re
import subprocess

from session import serve

END = "end of answer"
NULL = "\x1a"
psql = subprocess.Popen(
    [os.environ["PSQL"], "-qXAt", "-F", "\x1f", "-R", "\x1e", "-P", f"null={NULL}"],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    text=True,
)


def run(sql, parameters):
    for number, parameter in enumerate(parameters, 1):
        quoted = str(parameter).replace("'", "''")
        psql.stdin.write(f"\\set p{number} '{quoted}'\n")
    nulls = {str(number) for number, parameter in enumerate(parameters, 1) if parameter is None}
    sql = re.sub(r"\$(\d+)", lambda at: "NULL" if at[1] in nulls else f":'p{at[1]}'", sql)
    psql.stdin.write(f"{sql};\n\\echo '{END}' :SQLSTATE\n")
    psql.stdin.flush()
    said, sqlstate = answer()
    if sqlstate != "00000":
        return {"raises": sqlstate}
    rows = said.removesuffix("\n").split("\x1e") if said else []
    return {"rows": [[value(text) for text in row.split("\x1f")] for row in rows]}


def answer():
    said = ""
    for line in psql.stdout:
        if END in line:
            rest, sqlstate = line.split(END)
            return said + rest, sqlstate.strip()
        said += line


def value(text):
    return {NULL: None, "t": True, "f": False}.get(text, text)


serve(run)
