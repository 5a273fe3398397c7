#!/usr/bin/env python3
"""The guard of the architecture: reads the sources as text and fails where they leave the plan.

It knows the levels of the rooms and which way their arrows may point, what is banned and what to write instead, and which
document must name which option, route, command and error. It compiles nothing; of the program it asks only its help.

Every rule is a claim with at least one bad example: it must find nothing in the tree, and must find the example when that is put
into a copy of the tree in memory. Standard library only.
Usage: test/tidy.py [BRAID]     check; BRAID is the program, asked for its commands and options (without it: the sources are)
       test/tidy.py --write     write again what is generated: docs/options.md, and the table of docs/errors.md
Prints a line for each failure, WARN lines that do not fail, and closes with "N passed, N failed".
"""
import fnmatch, functools, os, posixpath, re, subprocess, sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SKIPPED = {".git", "build", "node_modules", "__pycache__", "results"}

# A room of src/ and its level. Arrows point from a higher level to a lower one; rooms of one level meet in engine.
LEVELS = {"base": 0, "judge": 1, "model": 1, "wire": 1, "record": 2, "vector": 2, "graph": 2, "cache": 2, "embed": 2, "catalogue": 2, "learn": 2,
          "policy": 3, "query": 4, "engine": 5, "migrate": 5}
API, ERRORS = "include/braid.h", "include/braid_error.h"  # levels 6 and 0
SERVER_FOR_CLI = ("server/api.h", "server/server.h")      # `braid serve`, and the CLI on a file, use the server's own routes
IMPLEMENTS_API = ("engine",)                              # rooms that include braid.h because they are it

LONG, LONGEST = 120, 160   # columns: a warning above the first, a failure above the second
FILE_LINES_MAX = 800       # in src/, server/ and cli/
CODE = ("src/", "server/", "cli/")

BANNED = {
    "sprintf": "snprintf or buf_printf", "vsprintf": "vsnprintf or buf_vprintf", "strcpy": "memcpy with a known length, or buf_puts",
    "strcat": "buf_puts, or memcpy at a known end", "strncpy": "memcpy and a NUL", "gets": "fgets or getline",
    "atoi": "strtol with its end and errno checked", "atol": "strtol with its end and errno checked",
    "atoll": "strtoll with its end and errno checked", "atof": "strtod with its end and errno checked", "strtok": "strcspn, or strtok_r",
    "rand": "rng_next (base/rng.h)", "srand": "rng_seed (base/rng.h)", "random": "rng_next (base/rng.h)", "drand48": "base/rng.h",
    "system": "posix_spawn", "popen": "posix_spawn", "alloca": "an arena, or a bounded array", "localtime": "localtime_r",
    "gmtime": "gmtime_r", "ctime": "strftime", "asctime": "strftime", "tmpnam": "mkstemp", "tempnam": "mkstemp", "mktemp": "mkstemp",
    "setjmp": "an error code", "longjmp": "an error code", "vfork": "posix_spawn", "usleep": "nanosleep or a condition with a deadline",
}
CALLS_ALLOWED = {  # (file, call): the one way out of a parser that goes on without memory; the file says why
    ("src/model/parse_guard.c", "setjmp"), ("src/model/parse_guard.c", "longjmp"),
}
STATE_ALLOWED = {  # mutable state that is not in a handle, and why
    "src/model/parse_guard.c": "jansson's allocator is one a process, and jansson writes out of bounds when it is refused memory",
    "cli/stop.c": "a signal handler can reach nothing else",
    "server/http_answer.c": "an empty body: libmicrohttpd wants it not const, and writes nothing",
}
LEFTOVERS = ("FIX" + "ME", "TO" + "DO", "XX" + "X", "HA" + "CK", "WI" + "P:")
REGISTRIES = ("pypi" + ".org", "npmjs" + ".", "crates" + ".io", "docs" + ".rs", "rubygems" + ".org", "proxy.golang" + ".org",
              "deb.debian" + ".org", "archive.ubuntu" + ".com", "files.pythonhosted" + ".org", "hub.docker" + ".com", "conan" + ".io")
PLACES = r"(?<![\w.~])/(?:home|root|work|Users|mnt|workspace)/[\w.-]"
TEXT = (".c", ".h", ".py", ".sh", ".md", ".js", ".mjs", ".css", ".html", ".json", ".ndjson", ".yaml", ".yml", ".sql", ".svg", ".txt", ".in")


class Tree:
    """The repository as {path: text}, and what the program says of itself."""

    def __init__(self, files, said):
        self.files, self.said = files, said

    def with_file(self, path, text):
        return Tree({**self.files, path: text}, self.said)

    def without_file(self, path):
        return Tree({p: t for p, t in self.files.items() if p != path}, self.said)

    def changed(self, path, old, new):
        text = self.files[path]
        assert old in text, f"canary: {path} does not hold {old!r}"
        return self.with_file(path, text.replace(old, new, 1))

    def under(self, *prefixes, ends=("",)):
        return [(p, t) for p, t in sorted(self.files.items()) if p.startswith(prefixes) and p.endswith(tuple(ends))]

    def sources(self, *prefixes):
        return self.under(*(prefixes or ("",)), ends=(".c", ".h"))


def read_tree():
    files = {}
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(f for f in folders if f not in SKIPPED)
        for name in names:
            path = os.path.relpath(os.path.join(folder, name), ROOT)
            if name.endswith(TEXT) or name in ("Makefile", "run", ".gitignore", "tsan.supp"):
                try:
                    files[path] = open(os.path.join(ROOT, path), encoding="utf-8", newline="").read()
                except UnicodeDecodeError:
                    if not path.startswith("test/fuzz/corpus/"):
                        files[path] = "\ufffd"  # the rule on text says so
    return files


def ask(program, *words):
    """What the program prints, away from any braid.yaml and variables of this machine."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("BRAID")}
    done = subprocess.run([os.path.abspath(program), *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                          cwd="/", env=clean, timeout=20)
    if done.returncode:
        raise SystemExit(f"braid {' '.join(words)}: exit {done.returncode}\n{done.stdout.decode()}\n0 passed, 1 failed")
    return done.stdout.decode()


def listen_to(program, files):
    """{"commands": {name: help text}, "options": {key, ...}}; from the sources where there is no program."""
    if program:
        names = re.findall(r"(?m)^  ([a-z]+) {2,}\S", ask(program, "help").split("Every command")[0])
        return {"commands": {n: ask(program, "help", n) for n in names},
                "options": set(re.findall(r"\((\w+\.\w+), default", ask(program, "help", "settings")))}
    commands = {}
    for path, text in files.items():
        name = re.search(r'\.name = "(\w+)"', text) if re.fullmatch(r"cli/cmd_\w+\.c", path) else None
        if name:
            flags = re.findall(r'(?m)^    \{"([a-z-]+)", (?:NULL|"[^"]*"), ', text)
            commands[name[1]] = "flags:\n" + "".join(f"  --{f}\n" for f in flags) + "\nflags of every command:\n"
    return {"commands": commands, "options": {f"{o['section']}.{o['name']}" for o in option_rows(files)}}


# ---- reading C ----

@functools.lru_cache(None)
def blank(text):
    """C without comments and strings, lines kept: what is left is code."""
    gap = lambda m: '""' if m[0][0] == '"' else "''" if m[0][0] == "'" else " " + "\n" * m[0].count("\n")
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', gap, text, flags=re.S)


@functools.lru_cache(None)
def without_comments(text):
    return re.sub(r'("(?:\\.|[^"\\\n])*")|/\*.*?\*/|//[^\n]*', lambda m: m[1] or "\n" * m[0].count("\n"), text, flags=re.S)


@functools.lru_cache(None)
def written_includes(text):
    """(line, as written) of every include of a file that may be ours."""
    found = re.finditer(r'(?m)^[ ]*#[ ]*include\s+(?:"([^"]+)"|<(braid[\w.]*\.h)>)', text)
    return [(text.count("\n", 0, m.start()) + 1, m[1] or m[2]) for m in found]


def includes(tree, path):
    """(line, as written, the file it is or None if it is none of ours)."""
    for number, written in written_includes(tree.files[path]):
        places = [posixpath.normpath(posixpath.join(posixpath.dirname(path), written)), written, "src/" + written, "include/" + written]
        yield number, written, next((p for p in places if p in tree.files), None)


WIRE_PARTS = {f"src/wire/{part}.h" for part in ("bolt", "packstream", "pg", "conn_pool", "stream", "milvus")}


def room(path):
    parts = path.split("/")
    return parts[1] if parts[0] == "src" and len(parts) > 2 else None


def arrow(source, target):
    """Why the file `source` may not include `target`, or None."""
    if source.startswith(("test/", "bench/")) or target == ERRORS or posixpath.dirname(source) == posixpath.dirname(target):
        return None
    top = source.split("/")[0]
    if room(source):
        me, it = room(source), room(target)
        if target == API:
            return None if me in IMPLEMENTS_API else "braid.h (level 6) lies above the rooms; only engine, which implements it, may include it"
        if it is None:
            return "a room includes nothing outside src/"
        if it == me:
            return None
        if LEVELS[it] >= LEVELS[me]:
            return f"{me} is of level {LEVELS[me]}, {it} of level {LEVELS[it]}: arrows point down only, and rooms of one level meet in engine"
        if it == "wire":  # a room of several parts, each with a header of its own
            return None if target in WIRE_PARTS else "a part of wire is entered through its one header only: " + ", ".join(sorted(WIRE_PARTS))
        return None if target == f"src/{it}/{it}.h" else f"a room is entered through {it}/{it}.h only"
    if top == "cli" and target in SERVER_FOR_CLI:
        return None
    if top in ("server", "cli", "examples"):
        return None if target == API else f"{top}/ sees nothing of the house but braid.h"
    return f"{top}/ includes only its own files"


# ---- the rules ----

RULES = []  # (claim, rule, bad examples)


def rule(claim, *bad_examples):
    """Registers a rule, a function from Tree to complaints, and functions from Tree to a tree in which it must complain."""
    assert bad_examples, "a rule that cannot be seen to fail is worth nothing"

    def register(function):
        RULES.append((claim, function, bad_examples))
        return function
    return register


def bad(path, text):
    return lambda tree: tree.with_file(path, text)


HEAD = "/* x */\n"  # what a bad example opens with, so that it breaks one rule and not two


# -- arrows

@rule("every room of src/ has a level", bad("src/attic/attic.c", HEAD), bad("src/loose.c", HEAD))
def rooms_known(tree):
    return sorted({p for p, _ in tree.under("src/") if room(p) not in LEVELS})


@rule("includes point down the levels, and into a room through its one header",
      bad("src/base/x.c", HEAD + '#include "model/model.h"\n'), bad("src/graph/x.c", HEAD + '#include "vector/vector.h"\n'),
      bad("src/query/x.c", HEAD + '#include "vector/hnsw.h"\n'), bad("src/query/x.c", HEAD + '#include "../engine/db.h"\n'),
      bad("src/query/x.c", HEAD + '#include "braid.h"\n'), bad("src/engine/x.c", HEAD + '#include "server/api.h"\n'),
      bad("include/x.h", HEAD + '#include "base/base.h"\n'))
def arrows_down(tree):
    return [f"{p}:{line}: \"{written}\": {arrow(p, target)}" for p, _ in tree.sources("src/", "include/")
            for line, written, target in includes(tree, p) if target and arrow(p, target)]


@rule("server/, cli/ and examples/ see braid.h and nothing else of the house",
      bad("server/x.c", HEAD + '#include "base/base.h"\n'), bad("cli/x.c", HEAD + '#include "engine/options_table.h"\n'),
      bad("cli/x.c", HEAD + '#include "../server/api_private.h"\n'), bad("server/x.c", HEAD + '#include "cli/cli.h"\n'),
      bad("examples/x.c", HEAD + '#include "base/buf.h"\n'), bad("tools/x.c", HEAD + '#include "braid.h"\n'))
def faces(tree):
    return [f"{p}:{line}: \"{written}\": {arrow(p, target)}" for p, _ in tree.sources("server/", "cli/", "examples/", "tools/")
            for line, written, target in includes(tree, p) if target and arrow(p, target)]


@rule("an include in quotes finds its file", bad("src/base/x.c", HEAD + '#include "bufs.h"\n'))
def includes_found(tree):
    return [f"{p}:{line}: \"{written}\"" for p, _ in tree.sources() for line, written, target in includes(tree, p)
            if target is None and not written.startswith("braid_") and not written.endswith(".pb-c.h")]  # made at build time


# -- dead files

def made_by_make(tree):
    """The patterns of $(wildcard ...) in the Makefile, with $(1) as every room, and the files it names."""
    make = tree.files["Makefile"]
    rooms = (re.search(r"(?m)^ROOMS \?= (.*)", make) or ["", ""])[1].split()
    patterns = set()
    for words in re.findall(r"\$\(wildcard ([^()]*(?:\$\(1\)[^()]*)?)\)", make):
        for word in words.split():
            patterns |= {word.replace("$(1)", r) for r in rooms} if "$(1)" in word else {word}
    return patterns | set(re.findall(r"[\w/.-]+\.(?:c|sh|py)\b", make))


def reached(tree):
    """Every file of code that something which is run builds, runs or names; scripts pass on what they name."""
    make = made_by_make(tree)
    code = [p for p in tree.files if p.endswith((".c", ".py", ".sh", ".js", ".mjs", ".sql"))]
    alive = {p for p in code if any(fnmatch.fnmatchcase(p, m) and p.count("/") == m.count("/") for m in make)}
    texts = ["Makefile", ".ci/run", "test/run.py"]
    alive |= {"test/run.py", "test/tidy.py"}
    seen = {"test/tidy.py"}  # it names what is bad
    while texts:
        now = texts.pop()
        if now in seen or now not in tree.files:
            continue
        seen.add(now)
        for p in code:
            if p not in alive and names(tree.files[now], now, p):
                alive.add(p)
        texts += [p for p in alive if not p.endswith(".c") and p not in seen]
    return alive


@functools.lru_cache(None)
def patterns_in(text, folder):
    """What a script globs or puts together: fuzz_*.c, test/fuzz/fuzz_{name}.c, "$name.c" - but not those that fit everything."""
    found = set()
    for token in re.findall(r"[\w./*${}-]*[*}$][\w./*${}-]*\.(?:c|py|js|mjs|sh|sql)\b", text):
        pattern = re.sub(r"\$?\{[^}]*\}|\$\w+", "*", token)
        if len(re.sub(r"\W", "", posixpath.basename(pattern).rsplit(".", 1)[0])) >= 3 or "/" in pattern.strip("*/"):
            found |= {pattern.lstrip("*/"), posixpath.normpath(posixpath.join(folder, pattern))}
    return found


@functools.lru_cache(None)
def names(text, where, path):
    """Does the text of the file `where` name `path`, by its path, its name, or (in Python and JavaScript) as a module?"""
    base, stem = posixpath.basename(path), posixpath.basename(path).rsplit(".", 1)[0]
    if re.search(rf"(?<![\w-]){re.escape(base)}(?!\w)", text):
        return True
    near = posixpath.dirname(path) == posixpath.dirname(where) or path.startswith("test/")
    if any(fnmatch.fnmatchcase(path, p) and p.count("/") == path.count("/") for p in patterns_in(text, posixpath.dirname(where))):
        return True
    if path.endswith(".py"):
        return near and re.search(rf"(?m)^\s*(?:import|from)\s[^\n#]*\b{re.escape(stem)}\b", text) is not None
    return path.endswith(".c") and near and re.search(rf"[\"'/ ]{re.escape(stem)}[\"' ]", text) is not None


@rule("no dead source: the Makefile or a suite of test/run.py reaches every .c, script and schema",
      bad("src/attic.c", HEAD), bad("test/fault/forgotten.py", '"""x"""\n'), bad("bench/forgotten_bench.c", HEAD),
      bad("scripts/forgotten.sh", "# x\n"), bad("test/orphan.c", HEAD), bad("test/fuzz/orphan_of_none.c", HEAD))
def no_dead_source(tree):
    alive = reached(tree)
    where = ("src/", "server/", "cli/", "test/", "bench/", "examples/", "tools/", "scripts/", "sql/")
    built_in = "".join(text for p, text in tree.under("src/", ends=(".c",)) if p.endswith("_schema.c"))  # it carries sql/ with it
    alive |= {p for p, _ in tree.under("sql/", ends=(".sql",)) if f'"{p}"' in built_in}
    return [p for p, _ in tree.under(*where, ends=(".c", ".py", ".sh", ".mjs", ".sql")) if p not in alive and not p.startswith(("test/fixtures/", "scripts/engines/"))]  # a C test reads the first; engines.sh reads its folder


@rule("no dead header: somebody includes every .h", bad("src/base/forgotten.h", HEAD))
def no_dead_header(tree):
    used = {target for p, _ in tree.sources() for _, _, target in includes(tree, p) if target and target != p}
    return [p for p, _ in tree.under("", ends=(".h",)) if p not in used]


@rule("no dead file of the page: index.html leads to every file of web/", bad("web/forgotten.js", "// x\n"))
def no_dead_page(tree):
    web = dict(tree.under("web/"))
    alive, open_ends = set(), ["web/index.html"]
    while open_ends:
        now = open_ends.pop()
        if now not in alive and now in web:
            alive.add(now)
            open_ends += [p for p in web if re.search(rf"(?<![\w-]){re.escape(posixpath.basename(p))}(?!\w)", web[now])]
    return sorted(set(web) - alive)


@rule("every suite of test/run.py is there", lambda t: t.without_file("test/data.py"))
def suites_there(tree):
    return [s for s in re.findall(r'"(test/[\w/-]+\.py)"', tree.files["test/run.py"]) if s not in tree.files]


# -- documents

OPTION_ROW = re.compile(r'X\("(?P<section>\w+)", "(?P<name>\w+)", (?P<type>\w+), "(?P<value>[^"]*)", (?P<min>[^,]+), (?P<max>[^,]+), '
                        r'(?:NULL|"(?P<choices>[^"]+)"), "(?P<flag>[^"]*)",(?: |\s*\\\n\s*)"(?P<help>(?:[^"\\]|\\.)*)"\)')


def option_rows(files):
    return [m.groupdict() for m in OPTION_ROW.finditer(files["src/engine/options_table.h"])]


def option_values(o):
    if o["type"] == "BOOL":
        return "`true`, `false`"
    if o["type"] == "ENUM":
        return ", ".join(f"`{c}`" for c in o["choices"].split("|"))
    if o["type"] in ("STRING", "SECRET"):
        return "text"
    number = (lambda s: f"{int(float(s)):,}") if o["type"] == "INT" else (lambda s: f"{float(s):g}")
    return f"{number(o['min'])} to {number(o['max'])}"


def options_document(files):
    """docs/options.md, all of it."""
    lines = ["# Settings", "",
             "Every setting of Braid, from the one table in `src/engine/options_table.h` (this page is written by `test/tidy.py --write`).", "",
             "A setting can be given in four places; a later one wins:", "",
             "1. its default;",
             "2. `braid.yaml` in the working folder, or the file of `--config FILE`: `section:` and below it `name: value`;",
             "3. the environment: `BRAID__SECTION__NAME`, as `BRAID__VECTOR__EF_SEARCH=128`;",
             "4. the flag on the command line: `--ef-search 128`; a boolean is `--read-only` or `--no-read-only`.", "",
             "`braid info --sample-config` prints a commented `braid.yaml` with the values of this run, `braid info --options` a table of",
             "them. An unknown name or a value out of range is an error that says what is allowed."]
    section = None
    for o in option_rows(files):
        if o["section"] != section:
            section = o["section"]
            lines += ["", f"## {section}", "", "| setting | flag | values | default | meaning |", "|---|---|---|---|---|"]
        value = f"`{o['value']}`" if o["value"] else "empty"
        flag = f"`--{o['flag']}`" if o["flag"] else "none: file or environment"
        text = o["help"].replace('\\"', '"').replace("|", "\\|").replace("->", "→")
        lines.append(f"| `{o['section']}.{o['name']}` | {flag} | {option_values(o)} | {value} | {text} |")
    return "\n".join(lines) + "\n"


@rule("the table of options is read whole", lambda t: t.changed("src/engine/options_table.h", 'X("record",', 'X(RECORD,'))
def options_read(tree):
    rows, written = len(option_rows(tree.files)), len(re.findall(r"(?m)^\s*X\(", tree.files["src/engine/options_table.h"]))
    return [] if rows == written and rows > 0 else [f"{rows} rows understood, {written} written"]


@rule("docs/options.md is the table of options", lambda t: t.changed("docs/options.md", "`--ef-search`", "`--ef`"),
      lambda t: t.changed("src/engine/options_table.h", '"ef_search", INT, "64"', '"ef_search", INT, "65"'),
      lambda t: t.without_file("docs/options.md"))
def options_documented(tree):
    wanted, there = options_document(tree.files).split("\n"), tree.files.get("docs/options.md", "").split("\n")
    return [f"line {i + 1}: {(w or t)[:90]} (test/tidy.py --write)" for i, (w, t) in
            enumerate(zip(wanted + [""] * len(there), there + [""] * len(wanted))) if w != t][:5]


@rule("the program has the options of the table", lambda t: Tree(t.files, {**t.said, "options": t.said["options"] - {"vector.m"}}))
def options_of_program(tree):
    return sorted(tree.said["options"] ^ {f"{o['section']}.{o['name']}" for o in option_rows(tree.files)})


ERROR_ROW = re.compile(r'X\((\w+), (-\d+), (\d+), (\d+), "((?:[^"\\]|\\.)*)"\)')
ERROR_HEAD = "| name | code | HTTP | exit | sentence | what to do |"


def error_table(files):
    """{name: the cells of docs/errors.md but the last}."""
    return {name: [f"`{name}`", code, http, exit_code, text] for name, code, http, exit_code, text in ERROR_ROW.findall(files[ERRORS])}


def document_rows(files):
    rows = [[c.strip() for c in line.strip().strip("|").split("|")] for line in files.get("docs/errors.md", "").split("\n") if line.startswith("| `")]
    return {r[0].strip("`"): r for r in rows}


@rule("docs/errors.md has every error code with its status, exit code, sentence and what to do",
      lambda t: t.changed("docs/errors.md", "| 507 |", "| 500 |"), lambda t: t.changed("docs/errors.md", "| `LOCKED`", "| `LOKED`"),
      lambda t: t.changed(ERRORS, "X(INTERNAL,", 'X(NEW, -30799, 500, 1, "new")  X(INTERNAL,'),
      lambda t: t.with_file("docs/errors.md", re.sub(r"[^|]+\|\n", " |\n", t.files["docs/errors.md"])))
def errors_documented(tree):
    wanted, there = error_table(tree.files), document_rows(tree.files)
    wrong = [f"{n}: not as in {ERRORS} (test/tidy.py --write)" for n in wanted if there.get(n, [])[:5] != wanted[n]]
    wrong += [f"{n}: there is no such error" for n in there if n not in wanted]
    return wrong + [f"{n}: what to do?" for n, cells in there.items() if len(cells) != 6 or len(cells[5]) < 10]


def routes_of_table(tree):
    table = tree.files.get("server/api_table.c", "")
    return {(method, re.sub(r"\{\w+\}", "{}", path)) for method, path in re.findall(r'\{\{"([A-Z]+)", "(/[^"]*)"', table)}


def routes_of_document(tree):
    """From the first cells of the table "Routes": `GET/PUT /v1/x/{id}?q=`; a path without a method takes the method before it."""
    routes, text = set(), tree.files["docs/api.md"].split("## Routes")[1].split("\n## ")[0]
    for line in text.split("\n"):
        cell = re.split(r"(?<!\\)\|", line)[1] if line.startswith("| `") else ""
        methods = []
        for token in re.findall(r"`([^`]+)`", cell):
            m = re.fullmatch(r"(?:([A-Z/]+) )?(/\S*)", token)
            if m:
                methods = m[1].split("/") if m[1] else methods
                path = re.sub(r"\{\w+\}|…", "{}", m[2].split("?")[0])
                routes |= {(method, path) for method in methods}
    return routes


@rule("docs/api.md has every route of the server, and the server every route of docs/api.md",
      lambda t: t.changed("docs/api.md", "`POST /v1/verify", "`POST /v1/check"), lambda t: t.changed("docs/api.md", "`GET/PUT/DELETE /v1/users/{id}`", "`GET/PUT /v1/users/{id}`"),
      lambda t: t.changed("server/api_table.c", '{{"GET", "/healthz"', '{{"GET", "/new"'), lambda t: t.with_file("server/api_table.c", HEAD))
def routes_documented(tree):
    table, document = routes_of_table(tree), routes_of_document(tree)
    return [f"{m} {p} is not in docs/api.md" for m, p in sorted(table - document)] + \
           [f"{m} {p} is not in server/api_table.c" for m, p in sorted(document - table)]


@rule("docs/api.md names every parameter of a route's query",
      lambda t: t.changed("docs/api.md", "&q=", ""))
def parameters_documented(tree):
    table = tree.files.get("server/api_table.c", "")
    table = re.sub(r"\s+", " ", table)  # however it is laid out
    sets = {name: re.findall(r'\{"(\w+)", API_', body) for name, body in re.findall(r"(\w+_params)\[\] = \{(.*?)\};", table, re.S)}
    document = tree.files["docs/api.md"]
    wrong = []
    for path, used in re.findall(r'\{ ?\{"[A-Z]+", "(/[^"]*)"[^{}]*\}, \w+, (\w+_params)', table):
        asked = re.search(re.escape(path) + r"\?([^`]*)`", document)
        wrong += [f"{path}?{p}=" for p in sets.get(used, []) if not asked or p not in re.findall(r"(\w+)=", asked[1])]
    return wrong


def own_flags(page):
    """The flags that a command's help lists as its own, without the common ones and the settings."""
    part = re.search(r"(?s)\nflags:\n(.*?)(?:\nflags of every command:|\Z)", "\n" + page)
    return re.findall(r"(?m)^  --([a-z-]+)", part[1]) if part else []


@rule("docs/cli.md has every command, with its flags and an example, and no other",
      lambda t: t.changed("docs/cli.md", "\n## verify", "\n## check"), lambda t: t.changed("docs/cli.md", "`--repair`", ""),
      lambda t: Tree(t.files, {**t.said, "commands": {**t.said["commands"], "dance": ""}}),
      lambda t: t.with_file("docs/cli.md", t.files["docs/cli.md"].replace("    braid similar", "    braid likes")))
def commands_documented(tree):
    sections = dict(re.findall(r"(?ms)^## (\w+)\n(.*?)(?=^## |\Z)", tree.files.get("docs/cli.md", "")))
    common = set(re.findall(r"--([a-z-]+)", sections.get("flags", "") + sections.get("questions", "")))
    wrong = [f"{c}: there is no such command" for c in sections if c not in tree.said["commands"] and c not in ("flags", "questions")]
    for name, page in tree.said["commands"].items():
        if name not in sections:
            wrong.append(f"{name}: no section")
            continue
        if not re.search(rf"(?m)^    (?:.*[|<(] ?)?braid {name}\b", sections[name]):
            wrong.append(f"{name}: no example")
        wrong += [f"{name}: --{f}" for f in own_flags(page) if f not in common and f"--{f}" not in re.findall(r"--[a-z-]+", sections[name])]
    return wrong


def links(text):
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"(?s)```.*?```", "", text)) if not re.match(r"[a-z]+:|#", target)]


@rule("a link in a document finds its file, and its heading", bad("docs/x.md", "[x](nowhere.md)\n"), bad("docs/x.md", "[x](api.md#nowhere)\n"),
      lambda t: t.without_file("docs/api.md").with_file("docs/x.md", "[x](api.md)\n"))
def links_lead(tree):
    wrong = []
    for path, text in tree.under("", ends=(".md",)):
        for target in links(text):
            file, _, heading = target.partition("#")
            whole = posixpath.normpath(posixpath.join(posixpath.dirname(path), file))
            headings = {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in re.findall(r"(?m)^#+ (.*)$", tree.files.get(whole, ""))}
            pages = whole.startswith("docs/") and whole.endswith(".md")
            if whole not in tree.files and (pages or not os.path.exists(os.path.join(ROOT, whole))) \
                    or heading and heading not in headings:
                wrong.append(f"{path}: {target}")
    return wrong


# -- text and style

@rule("no banned call", *(bad("src/base/x.c", HEAD + f"void f(void) {{ {call}(0); }}\n") for call in BANNED),
      bad("server/x.c", HEAD + "int f(void) { return/**/atoi (a); }\n"))
def nothing_banned(tree):
    call = re.compile(r"(?<![\w.>])(?:" + "|".join(BANNED) + r")(?=\s*\()")
    return [f"{p}:{line}: {name}: use {BANNED[name]}" for p, t in tree.sources(*CODE) for line, name in found_in(blank(t), call)
            if (p, name) not in CALLS_ALLOWED]


@rule("no mutable state outside a handle", bad("src/base/x.c", HEAD + "static int calls;\n"), bad("cli/x.c", HEAD + "char buffer[64] = {0};\n"),
      bad("src/query/x.c", HEAD + "void f(void) {\n    static size_t calls = 0;\n}\n"), bad("server/x.c", HEAD + "static _Atomic(int) open_now;\n"))
def no_globals(tree):
    outer = re.compile(r"(?!.*\b(?:const|constexpr|typedef|enum|union|return|extern)\b)(?!struct \w+\s*[;{])[A-Za-z_][^(=#]*(?:_Atomic\([^)]*\)[^(=]*)?(?:=.*|;)$")
    inner = re.compile(r"\s+static (?!.*\bconst\b)(?!inline\b)[^(]*[;={]")
    wrong = []
    for path, text in tree.sources(*CODE):
        if path not in STATE_ALLOWED and path.endswith(".c"):
            wrong += [f"{path}:{i}: {line.strip()}" for i, line in enumerate(blank(text).split("\n"), 1)
                      if inner.match(line) or outer.match(line.rstrip()) and not line.rstrip().endswith(",")]
    return wrong


@rule("nothing is left over to be done", *(bad("cli/x.c", HEAD + f"/* {word} later */\n") for word in LEFTOVERS), bad("web/x.js", f"// {LEFTOVERS[1]}\n"))
def no_leftovers(tree):
    wanted = re.compile(r"(?<!\w)(?:" + "|".join(re.escape(w) for w in LEFTOVERS) + r")(?!\w)")
    return where(tree, wanted, lambda p: not p.startswith("data/"))


def where(tree, pattern, wanted):
    """path:line: match, for every match in the files that are wanted."""
    return [f"{p}:{line}: {words}" for p, t in sorted(tree.files.items()) if wanted(p) for line, words in found_in(t, pattern)]


@functools.lru_cache(None)
def found_in(text, pattern):
    return [(text.count("\n", 0, m.start()) + 1, m[0]) for m in pattern.finditer(text)]


def long_lines(tree, limit):
    return [f"{p}:{i}: {len(line)} columns" for p, t in tree.under("src/", "include/", "server/", "cli/", "web/", ends=(".c", ".h", ".js", ".css", ".html"))
            for i, line in enumerate(t.split("\n"), 1) if len(line) > limit]


@rule(f"no line is longer than {LONGEST} columns", bad("src/base/x.c", HEAD + "/* " + "x" * LONGEST + " */\n"))
def lines_short(tree):
    return long_lines(tree, LONGEST)


@rule("no tab, no trailing space, no carriage return, a newline at the end", bad("src/base/x.c", HEAD + "\tint x;\n"), bad("docs/x.md", "x \n"),
      bad("cli/x.c", HEAD + "int x;\r\n"), bad("web/x.js", "// x"), bad("server/x.h", HEAD + "\n\n"), bad("web/y.css", "\ufeffx\n"))
def white_space(tree):
    wrong = []
    for path, text in sorted(tree.files.items()):
        if path.startswith("test/fuzz/corpus/") or not text:
            continue
        ugly = re.compile(r"(?m)[ \t]+$|[\r\ufeff\ufffd]" if path == "Makefile" else r"(?m) +$|[\t\r\ufeff\ufffd]")
        wrong += [f"{path}:{line}" for line, _ in found_in(text, ugly)]
        if not text.endswith("\n") or text.endswith("\n\n"):
            wrong.append(f"{path}: its end")
    return wrong


@rule(f"no source is longer than {FILE_LINES_MAX} lines", bad("src/base/x.c", HEAD + "int x;\n" * FILE_LINES_MAX))
def files_short(tree):
    return [f"{p}: {t.count(chr(10))} lines" for p, t in tree.sources(*CODE) if t.count("\n") > FILE_LINES_MAX]


@rule("every .c and .h opens with a comment, every script too", bad("src/base/x.c", "#include <stdio.h>\n"), bad("cli/x.h", "\n/* late */\n"),
      bad("test/x.py", "import os\n"), bad("scripts/x.sh", "#!/bin/sh\nset -e\n"))
def opens_with_comment(tree):
    wrong = [p for p, t in tree.sources() if not t.startswith("/*")]
    for path, text in tree.under("", ends=(".py", ".sh")):
        body = re.sub(r"\A#![^\n]*\n", "", text)
        if not body.startswith('"""' if path.endswith(".py") else "#"):
            wrong.append(path)
    return wrong


@rule("every header has a guard of its own", bad("src/base/x.h", HEAD + "int f(void);\n"), bad("src/base/x.h", HEAD + "#ifndef MODEL_H\n#define MODEL_H\n#endif\n"))
def guards(tree):
    wrong, owner = [], {}
    for path, text in tree.under("", ends=(".h",)):
        m = re.match(r"\s*#ifndef (\w+)\n#define (\w+)\n", without_comments(text))
        if not m or m[1] != m[2] or not text.rstrip().endswith(("#endif", "*/")):
            wrong.append(path)
        elif m[1] in owner:
            wrong.append(f"{path}: {m[1]} is the guard of {owner[m[1]]}")
        else:
            owner[m[1]] = path
    return wrong


@rule("no path of somebody's machine", bad("docs/x.md", "see /ho" + "me/ana/braid\n"), bad("Makefile", "X := /wo" + "rk/main\n"), bad("cli/x.c", HEAD + '"/ro' + 'ot/x"\n'))
def no_places(tree):
    return where(tree, re.compile(PLACES), lambda p: not p.startswith("data/"))


@rule("no package registry is named", *(bad("scripts/x.sh", f"# https://{name}/x\n") for name in REGISTRIES))
def no_registries(tree):
    return where(tree, re.compile("|".join(map(re.escape, REGISTRIES)), re.I), lambda p: True)


@rule("the page loads nothing from elsewhere", bad("web/x.js", 'import x from "https://example.org/x.js";\n'), bad("web/x.css", "@import url(//example.org/x.css);\n"))
def page_offline(tree):
    return [f"{p}:{i}" for p, t in tree.under("web/") for i, line in enumerate(t.split("\n"), 1)
            if re.search(r"(?:https?:|[\"'(])//(?!www\.w3\.org/)\w", line)]


# ---- running ----

def write(files):
    with open(os.path.join(ROOT, "docs/options.md"), "w", encoding="utf-8") as f:
        f.write(options_document(files))
    there, lines, done = document_rows(files), [], False
    for line in files["docs/errors.md"].split("\n"):
        if not line.startswith("| `"):
            lines.append(line)
        elif not done:
            done = True
            lines += ["| " + " | ".join([*cells, there.get(n, [""] * 6)[5]]) + " |" for n, cells in error_table(files).items()]
    with open(os.path.join(ROOT, "docs/errors.md"), "w", encoding="utf-8") as f:
        f.write("\n".join(lines))


def finds(function, complaints, tree):
    """Does the rule say more of a bad tree than the complaints it had of the real one?"""
    return bool(set(function(tree)) - set(complaints))


def main():
    files = read_tree()
    if sys.argv[1:] == ["--write"]:
        write(files)
        return 0
    tree = Tree(files, listen_to(sys.argv[1] if len(sys.argv) > 1 else None, files))
    passed = failed = 0
    for claim, function, examples in RULES:
        complaints = function(tree)
        for c in complaints[:40]:
            print(f"FAIL {claim}: {c}")
        if len(complaints) > 40:
            print(f"FAIL {claim}: ... {len(complaints)} in all")
        try:
            blind = [i for i, example in enumerate(examples) if not finds(function, complaints, example(tree))]
        except AssertionError as e:
            blind = [str(e)]
        if blind:
            print(f"FAIL canary of \"{claim}\": bad example {blind} was not found")
        passed += (not complaints) + (not blind)
        failed += bool(complaints) + bool(blind)
    long = long_lines(tree, LONG)
    by_file = {}
    for c in long:
        by_file[c.split(":")[0]] = by_file.get(c.split(":")[0], 0) + 1
    if long:
        most = sorted(by_file, key=by_file.get, reverse=True)
        print(f"WARN {len(long)} lines over {LONG} columns in {len(by_file)} files, as " + ", ".join(f"{p} ({by_file[p]})" for p in most[:12]))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
