"""unqualified.py FILE...: prints each type, collation, function and operator that a script writes without its schema.

pgspot does not look at types. Also those count that the grammar finds in pg_catalog by itself, as bigint. Of the body of a
DO the declarations, the casts and the lists of signatures are read. What a function does has a search_path of its own."""

import re
import sys

from pglast import ast, parse_plpgsql, parse_sql
from pglast.stream import RawStream
from pglast.visitors import Visitor

QUALIFIED = re.compile(r'(?:pg_catalog|once)\."?\w')


class Names(Visitor):
    def __init__(self, script):
        super().__init__()
        self.script = script.encode()
        self.found = {}

    def written(self, place):
        return self.script[place:].decode()

    def report(self, place, what):
        line = self.script.count(b"\n", 0, place) + 1
        self.found[place] = f"{line}: {what} {self.written(place).splitlines()[0]}"

    def visit_TypeName(self, _, node):
        written = self.written(node.location)
        # RETURNS TABLE is a type without a name.
        if not QUALIFIED.match(written) and not re.match(r"TABLE\s*\(", written):
            self.report(node.location, "type")

    def visit_CollateClause(self, _, node):
        if len(node.collname) < 2:
            self.report(node.location, "collation")

    def visit_FuncCall(self, _, node):
        if len(node.funcname) < 2:
            self.report(node.location, "function")

    def visit_A_Expr(self, _, node):
        if len(node.name) < 2:
            self.report(node.location, "operator")

    def visit_DoStmt(self, _, node):
        (body,) = (arg.arg.sval for arg in node.args if arg.defname == "as")
        start = self.script.index(body.encode())
        for offset, what in in_block(body, RawStream()(node)):
            self.report(start + len(body[:offset].encode()), what)


def in_block(body, statement):
    for signature in re.finditer(r"^\s*'[\w.%$]+\((.+)\)',?$", body, re.MULTILINE):
        if not all(QUALIFIED.match(argument) for argument in signature[1].split(", ")):
            yield signature.start(1), "signature"
    code = re.sub(r"/\*.*?\*/|'[^']*'", lambda quiet: "-" * len(quiet[0]), body, flags=re.DOTALL)
    for cast in re.finditer(r"::\s*", code):
        if not QUALIFIED.match(code[cast.end() :]):
            yield cast.end(), "cast to"
    for name in declared(parse_plpgsql(statement)):
        if not QUALIFIED.match(name):
            yield re.search(rf"(?<![\w.]){re.escape(name.strip())}", code).start(), "declared type"


def declared(node):
    if isinstance(node, dict):
        if "lineno" in node and "datatype" in node:
            yield node["datatype"]["PLpgSQL_type"]["typname"]
        node = list(node.values())
    if isinstance(node, list):
        for part in node:
            yield from declared(part)


def unqualified(path):
    with open(path, encoding="utf-8") as file:
        names = Names(file.read())
    names(parse_sql(names.script.decode()))
    return [f"{path}:{names.found[place]}" for place in sorted(names.found)]


found = [line for path in sys.argv[1:] for line in unqualified(path)]
print(*found, sep="\n")
sys.exit(1 if found else 0)
