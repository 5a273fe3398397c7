#!/usr/bin/env python3
"""The command line, end to end: every claim runs the real program. Usage: test/cli.py [path/to/braid] [--only=WORD]"""
import contextlib, fcntl, json, os, pty, re, select, shutil, signal, socket, ssl, struct, subprocess, sys, tempfile, termios, threading, time, unicodedata

from serving import PATIENCE_S, catches

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WORDS = [a for a in sys.argv[1:] if not a.startswith("--")]
BRAID = os.path.abspath(WORDS[0]) if WORDS else os.path.join(ROOT, "build/release/braid")
ONLY = next((a.split("=", 1)[1] for a in sys.argv[1:] if a.startswith("--only=")), "")
ENV = {k: v for k, v in os.environ.items() if not k.startswith("BRAID")}
ENV["NO_COLOR"] = ""
claims = []


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def json(self):
        return json.loads(self.out)

    def __repr__(self):
        return f"exit {self.code}\nstdout: {self.out[:900]}\nstderr: {self.err[:900]}"


def braid(*words, stdin="", env=None, cwd=None, limit=4 * PATIENCE_S):
    p = subprocess.run([BRAID, *map(str, words)], input=stdin if isinstance(stdin, bytes) else stdin.encode(), capture_output=True, timeout=limit,
                       env=dict(ENV, **(env or {})), cwd=cwd or HERE)
    return Result(p.returncode, p.stdout.decode("utf-8", "replace"), p.stderr.decode("utf-8", "replace"))


def claim(f):
    claims.append(f)
    return f


def check(ok, *shown):
    if not ok:
        raise AssertionError(" | ".join(str(s) for s in shown) or "the claim does not hold")


def ok(result):
    check(result.code == 0, result)
    return result


def path(name):
    return os.path.join(HERE, name)


def write(name, text):
    with open(path(name), "wb") as f:
        f.write(text if isinstance(text, bytes) else text.encode())
    return path(name)


def lines(*objects):
    return "".join(json.dumps(o, ensure_ascii=False) + "\n" for o in objects)


def film(i, **more):
    return dict({"id": f"f{i}", "title": f"Film {i}", "kind": "film", "year": 1950 + i, "genres": [["drame", "comédie", "policier"][i % 3]],
                 "themes": [["mer", "ville"][i % 2]], "duration_s": 5400, "language": "fr"}, **more)


FILMS = [film(i) for i in range(40)] + [film(90, title="東京物語 日本", people=[{"name": "小津", "role": "director"}])]
RELATIONS = [{"relation": {"from": f"f{i}", "to": f"f{i + 1}", "type": "RELATED_TO", "strength": 0.5}} for i in range(20)]
ANA = {"user": {"id": "ana", "name": "Ana", "preferences": {"genres": {"drame": 0.9}}}}


def filled(name="filled.db"):
    """A small database, made once and copied for whoever wants to change it."""
    if not os.path.exists(path(name)):
        ok(braid("load", "--db", name, write("films.ndjson", lines(*FILMS, *RELATIONS, ANA))))
    return name


@contextlib.contextmanager
def serving(db, *more):
    p = subprocess.Popen([BRAID, "serve", "--db", db, "--listen", "127.0.0.1:0", *more], cwd=HERE, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        first = p.stdout.readline().decode()
        found = re.search(r"http://[\d.:]+", first)
        check(found, "no address was printed", first, p.poll(), "" if p.poll() is None else p.stderr.read())
        yield found[0], p
    finally:
        if p.poll() is None:
            p.send_signal(signal.SIGINT)
        try:
            p.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            p.kill()
            p.communicate()


# ---------------------------------------------------------------------------------------------- help and flags

def commands():
    return re.findall(r"(?m)^  ([a-z-]+) {2,}\S", ok(braid("help")).out)


@claim
def every_command_teaches_with_usage_and_two_examples():
    wanted = set("serve load export import search recommend record similar item user explain info doctor verify rebuild learn agent policy rule experiment evaluate migrate-schema episode simulate bench eval version help".split())
    check(set(commands()) == wanted, commands())
    for name in commands():
        page = ok(braid(name, "--help")).out
        check(page.startswith(f"braid {name}: ") and "usage:\n" in page and "examples:\n" in page, name, page)
        check(len(page.split("examples:\n")[1].strip().splitlines()) >= 2, name, page)
        check(page == ok(braid("help", name)).out, name)


@claim
def no_line_of_help_is_wider_than_120_columns():
    for name in commands():
        for line in ok(braid(name, "--help")).out.splitlines():
            check(len(line) <= 150 if "(" in line and line.endswith(")") else len(line) <= 120, name, line)


@claim
def wrong_usage_exits_with_2_and_says_how_to_go_on():
    for words, said in ((["sarch"], 'did you mean "search"'), (["search", "--filtr", "x"], "did you mean --filter"), (["search"], "is missing"),
                        (["search", "a", "--like", "b"], "exclude each other"), (["search", "--k"], "a value is missing"), (["record", "a", "b"], "is missing"),
                        (["item", "gt", "x"], 'did you mean "get"'), (["info", "a", "b"], "one word too many"), (["search", "x", "--json=1"], "takes no value"),
                        (["search", "x", "--filter", "{"], "not valid JSON"), (["load", "--kind", "film", "x"], "--kind must be one of"),
                        (["search", "x", "--db", "a", "--url", "http://b"], "exclude each other"), (["bench", "--url", "http://b"], "works on a database file"),
                        (["search", "x", "--url", "http://b", "--ef-search", "9"], "a server has its own"), (["search", "x", "--url", "gopher://b"], "http://"),
                        (["eval", "netflix", "x"], "there is \"movielens\""), (["eval", "movielens", "x", "--protocol", "p5"], "none of p1, p2, p3, p4"),
                        (["eval", "movielens", "x", "--on", "train"], "--on must be test or validation"), (["eval", "movielens", "x", "--db", "y"], "--keep"),
                        (["eval", "movielens", "x", "--rankers", "a,,b"], "separated by commas"), (["eval", "movielens", "x", "--content", "y"], "needs --content-items"), (["eval", "movielens", "x", "--both"], "--both needs --content"),
                        (["eval", "movielens", "x", "--on", "validation", "--protocol", "p4"], "no validation part"), (["learn", "similar", "policy"], "one word too many"),
                        (["help", "serch"], 'did you mean "search"'), (["search", "-x"], "two dashes"), (["simulate", "--until", "soon"], "must be a date")):
        r = braid(*words)
        check(r.code == 2 and r.err.startswith("braid: ") and said in r.err and not r.out, words, said, r)
        check(r.err.count("\n") == 1, words, r)


@claim
def no_command_at_all_prints_the_overview_and_exits_with_2():
    r = braid()
    check(r.code == 2 and "usage: braid COMMAND" in r.err and not r.out, r)
    check(ok(braid("--help")).out == ok(braid("help")).out)
    check(ok(braid("--version")).out == ok(braid("version")).out and re.fullmatch(r"braid \d+\.\d+\.\d+\n", braid("version").out), braid("version"))


@claim
def settings_come_from_the_file_then_the_environment_then_the_flags():
    config = write("braid.test.yaml", "vector:\n  ef_search: 100\n  m: 8\nserver:\n  threads: 3\n")
    env = {"BRAID__VECTOR__M": "10", "BRAID__SERVER__THREADS": "5"}
    s = ok(braid("info", "--options", "--json", "--config", config, "--threads=7", "--no-create", env=env)).json
    check((s["vector.ef_search"], s["vector.m"], s["server.threads"], s["record.create"]) == ("100", "10", "7", "false"), s)
    folder = path("conf")
    os.makedirs(folder, exist_ok=True)
    write("conf/braid.yaml", "vector:\n  m: 9\n")
    check(ok(braid("info", "--options", "--json", cwd=folder)).json["vector.m"] == "9")


@claim
def a_wrong_setting_is_refused_wherever_it_stands():
    bad = write("bad.yaml", "vector:\n  mm: 3\n")
    for words, env, code in ((["--config", bad], {}, 2), (["--hnsw-m", "9999"], {}, 2), ([], {"BRAID__VECTOR__MM": "1"}, 2), (["--config", "none.yaml"], {}, 1)):
        r = braid("info", "--options", *words, env=env)
        check(r.code == code and r.err.startswith("braid: "), words, env, r)


@claim
def every_setting_is_a_flag_and_the_sample_configuration_reads_back():
    sample = ok(braid("info", "--sample-config")).out
    check(sample == ok(braid("serve", "--sample-config")).out)
    defaults = ok(braid("info", "--options", "--json")).json
    check(ok(braid("info", "--options", "--json", "--config", write("sample.yaml", sample))).json == defaults)
    page = ok(braid("help", "settings")).out
    secret = {key for key in defaults if key.endswith((".password", ".token"))}  # by file or environment only
    check(len(secret) == 5, secret)
    for key, value in defaults.items():
        check(f"({key}, default" in page, key)
    flags = re.findall(r"(?m)^  --([a-z0-9-]+)", page)
    check(len(flags) == len(defaults) - len(secret) and len(set(flags)) == len(flags), flags)


@claim
def the_completion_is_valid_bash():
    script = ok(braid("help", "completion")).out
    p = subprocess.run(["bash", "-c", script + '\nCOMP_WORDS=(braid search --str); COMP_CWORD=2; _braid braid --str; echo "${COMPREPLY[*]}"'], capture_output=True, text=True)
    check(p.stdout.strip() == "--strategy", p)


# ---------------------------------------------------------------------------------------------- load and export

@claim
def good_lines_are_loaded_and_bad_ones_named_by_file_and_line():
    text = lines(film(1)) + "\r\n" + '{"id":"","title":"x"}\n' + "not json\n" + lines(film(2)).rstrip("\n") + "\r\n" + lines({"id": "f3", "title": "x", "titel": "y"}) + lines(film(4)).rstrip("\n")
    r = braid("load", "--db", "bad.db", write("bad.ndjson", text))
    check(r.code == 1 and "3 accepted, 3 rejected" in r.out, r)
    for n in (3, 4, 6):
        check(f"bad.ndjson:{n}: " in r.err, n, r)
    check(len(r.err.splitlines()) == 3, r)
    check([i["id"] for i in ok(braid("item", "list", "--db", "bad.db", "--json")).json["items"]] == ["f1", "f2", "f4"])


@claim
def rejections_past_the_twentieth_are_counted_not_listed():
    r = braid("load", "--db", "many.db", "-", stdin="x\n" * 2500)
    check(r.code == 1 and "0 accepted, 2,500 rejected" in r.out and "stdin:20: " in r.err and "stdin:21: " not in r.err, r)
    j = braid("load", "--db", "many.db", "-", "--json", stdin="x\n" * 2500)
    check(j.code == 1 and j.json["rejected_total"] == 2500 and j.json["rejected"][999]["line"] == 1000 and not j.err, j.err)


@claim
def line_numbers_are_right_across_pieces():
    filler = film(1, synopsis="é" * 3000)
    good = [dict(filler, id=f"p{i}") for i in range(2100)]
    text = [json.dumps(g) for g in good]
    for n in (0, 1099, 2099):
        text[n] = "{"
    r = braid("load", "--db", "pieces.db", "-", "--json", stdin="\n".join(text))
    check(r.code == 1 and [x["line"] for x in r.json["rejected"]] == [1, 1100, 2100] and r.json["accepted"] == 2097, r)


@claim
def an_array_is_loaded_by_elements():
    r = braid("load", "--db", "array.db", "-", stdin="\n [" + json.dumps(film(1)) + ",\n" + json.dumps(film(2)) + ", 7]")
    check(r.code == 1 and "2 accepted, 1 rejected" in r.out and "stdin:3: " in r.err, r)
    r = braid("load", "--db", "array.db", "-", stdin="[{]")
    check(r.code == 1 and "stdin:1: not valid JSON" in r.err, r)


@claim
def bare_lines_of_every_kind_are_loaded():
    db = "kinds.db"
    ok(braid("load", "--db", db, "-", stdin=lines(film(1), film(2))))
    ok(braid("load", "--db", db, "--kind", "relation", "-", stdin=lines({"from": "f1", "to": "f2", "type": "SEQUEL_OF"})))
    ok(braid("load", "--db", db, "--kind", "user", "-", stdin=lines({"id": "u1"}, {"user": {"id": "u2"}})))
    ok(braid("load", "--db", db, "--kind=interaction", "-", stdin=lines({"user": "u1", "item": "f1", "type": "like"})))
    record = ok(braid("info", "record", "--db", db, "--json")).json["record"]
    check((record["items"], record["relations"], record["users"], record["interactions"]) == (2, 1, 2, 1), record)
    r = braid("load", "--db", db, "--kind", "user", "-", stdin=lines({"id": "u3"}) + "nonsense\n")
    check(r.code == 1 and "stdin:2: " in r.err and "1 accepted" in r.out, r)


@claim
def episodes_are_listed_and_found_by_the_likeness_of_their_states():
    db = "episodes.db"
    step = {"user": "u1", "item": "f1", "reward": 0.5, "agent": "bandit", "state": "a=1", "state_vector": [1, 0]}
    ok(braid("load", "--db", db, "-", stdin=lines(film(1), {"episode": step}, {"episode": step | {"user": "u2", "state_vector": [0.6, 0.8]}})))
    r = ok(braid("episode", "list", "u1", "--db", db))
    check("bandit" in r.out and "a=1" in r.out and "0.500" in r.out, r)
    r = ok(braid("episode", "similar", "u1", "--db", db))
    check("u2" in r.out and "0.6000" in r.out and "u1" not in r.out, r)
    r = ok(braid("episode", "similar", "--vector", "-", "--agent", "bandit", "-k", "1", "--db", db, "--json", stdin="[0, 1]"))
    check([e["user"] for e in r.json["episodes"]] == ["u2"], r)
    r = ok(braid("agent", "hours", "bandit", "--db", db))
    check("bandit" in r.out and "1.00" in r.out and "0.500" in r.out, r)
    check("nothing was counted" in ok(braid("agent", "hours", "nobody", "--db", db)).out)
    check(braid("agent", "hours", "--from", "then", "--db", db).code == 2)
    check("no episode is kept" in ok(braid("episode", "list", "u3", "--db", db)).out)
    for words in (("similar",), ("similar", "u1", "--vector", "-"), ("list",), ("list", "u1", "--limit", "0"), ("forget", "u1")):
        check(braid("episode", *words, "--db", db, stdin="[1]").code == 2, words)
    check(braid("episode", "similar", "--vector", "-", "--db", db, stdin="[1").code == 2)
    check(braid("episode", "similar", "u3", "--db", db).code == 1)


@claim
def a_line_that_is_too_long_harms_no_other():
    huge = b'{"id":"huge","title":"' + b"x" * (65 << 20) + b'"}\n'
    r = braid("load", "--db", "huge.db", "-", stdin=lines(film(1)).encode() + huge + lines(film(2)).encode())
    check(r.code == 1 and "2 accepted, 1 rejected" in r.out and "stdin:2: " in r.err and "64 MiB" in r.err, r)


@claim
def a_file_that_is_not_there_makes_no_database():
    r = braid("load", "--db", "never.db", "nothing.ndjson")
    check(r.code == 1 and "nothing.ndjson" in r.err and "No such file" in r.err and not os.path.exists(path("never.db")), r)
    r = braid("search", "x", "--db", "never.db")
    check(r.code == 1 and "braid load" in r.err and not os.path.exists(path("never.db")), r)


@claim
def the_database_comes_from_the_flag_the_environment_or_the_folder():
    folder = path("folder")
    os.makedirs(folder, exist_ok=True)
    ok(braid("load", "-", stdin=lines(film(1)), cwd=folder))
    check(os.path.exists(folder + "/braid.db"))
    ok(braid("load", "-", stdin=lines(film(1)), env={"BRAID_DB": path("env.db")}))
    check(os.path.exists(path("env.db")))


@claim
def an_export_loads_back_to_the_same_export():
    ok(braid("export", "--db", filled(), "one.ndjson"))
    ok(braid("load", "--db", "copy.db", "one.ndjson"))
    first, second = open(path("one.ndjson"), encoding="utf-8").read(), ok(braid("export", "--db", "copy.db")).out
    check(sorted(first.splitlines()) == sorted(second.splitlines()) and len(first.splitlines()) == len(FILMS) + len(RELATIONS) + 1, first)
    check(not [f for f in os.listdir(HERE) if ".part" in f], os.listdir(HERE))


@claim
def an_export_that_cannot_be_written_fails_and_leaves_nothing():
    r = braid("export", "--db", filled(), "no/such/folder.ndjson")
    check(r.code == 1 and "No such file" in r.err, r)
    with open("/dev/full", "wb") as full:
        p = subprocess.run([BRAID, "export", "--db", filled()], cwd=HERE, env=ENV, stdout=full, stderr=subprocess.PIPE, text=True)
    check(p.returncode == 1 and "No space left" in p.stderr, p)


@claim
def a_reader_that_leaves_early_is_no_error_worth_a_word():
    ok(braid("load", "--db", "wide.db", "-", stdin=lines(*(film(i, synopsis="x" * 2000) for i in range(400)))))
    p = subprocess.Popen([BRAID, "export", "--db", "wide.db"], cwd=HERE, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    p.stdout.read(10)
    p.stdout.close()
    said = p.stderr.read()
    check(p.wait(PATIENCE_S) == 1 and said == b"", said)


@claim
def ctrl_c_during_a_load_keeps_what_was_read_and_says_where_it_stopped():
    p = subprocess.Popen([BRAID, "load", "--db", "stop.db", "-"], cwd=HERE, env=ENV, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    p.stdin.write(lines(*(film(i) for i in range(1500))).encode())
    p.stdin.flush()
    wait_until(lambda: os.path.exists(path("stop.db")) and os.path.getsize(path("stop.db-wal")) > 100000)
    wait_until(lambda: fcntl.ioctl(p.stdin, termios.FIONREAD, b"    ") == b"\0\0\0\0")  # the program has taken all,
    seen = []
    while len(seen) < 20 or len(set(seen[-20:])) > 1:  # and has settled to wait for more
        seen.append((os.path.getsize(path("stop.db-wal")), open(f"/proc/{p.pid}/stat").read().rsplit(")")[1].split()[0]))
        time.sleep(0.03)
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=PATIENCE_S)
    check(p.returncode == 1 and b"stdin: stopped after line 1500" in err and b"1,500 accepted" in out, p.returncode, out, err)
    check(ok(braid("info", "record", "--db", "stop.db", "--json")).json["record"]["items"] == 1500)
    ok(braid("verify", "--db", "stop.db", "--deep"))


# ---------------------------------------------------------------------------------------------- asking

@claim
def search_prints_ranks_titles_strands_and_reasons():
    r = ok(braid("search", "Film", "7", "--db", filled(), "-k", "3", "--lang", "en", "--explain"))
    check(re.match(r'3 results for "Film 7"  \w+, [\d.]+ (µs|ms)', r.out), r)
    check(re.search(r"(?m)^  1  Film 7 \(1957\) .*  vector \d\.\d\d  graph \d\.\d\d  policy \d\.\d\d$", r.out), r)
    check(re.search(r"(?m)^     - \S", r.out) and "plan: " in r.out and re.search(r"(?m)^step +method +estimate +actual", r.out), r)
    check("\x1b" not in r.out + r.err and "█" not in r.out, r)


@claim
def flags_become_the_fields_of_the_question():
    r = ok(braid("search", "--like", "f3", "--db", filled(), "--json", "-k=4", "--filter", '{"genres":"drame"}', "--exclude", "f6", "--exclude", "f9", "--strategy",
                 "vector_only", "--diversity", "0", "--fusion", '{"method":"rrf"}', "--no-cache", "--seed", "3", "--region", "FR", "--device", "tv", "--daypart", "night",
                 "--deadline", "5000", "--user", "ana", "--include-seen")).json
    ids = [x["id"] for x in r["results"]]
    check(len(ids) == 4 and r["strategy"] == "vector_only" and not {"f3", "f6", "f9"} & set(ids) and all(int(i[1:]) % 3 == 0 for i in ids), r)
    vector = json.dumps([0.1] * 384)
    check(len(ok(braid("search", "--vector", vector, "--db", filled(), "--json")).json["results"]) == 10)
    check(len(ok(braid("search", "--vector", write("v.json", vector), "--db", filled(), "--json")).json["results"]) == 10)
    r = braid("search", "--vector", "[1,2]", "--db", filled())
    check(r.code == 2 and "384" in r.err, r)


@claim
def what_is_recorded_changes_the_next_answer():
    db = shutil_copy("learn.db")
    before = ok(braid("recommend", "bob", "--db", db, "--json", "--seed", "1")).json
    check(before["cold_start"] is True and "cold start" in ok(braid("recommend", "bob", "--db", db)).out)
    r = ok(braid("record", "bob", "f5", "complete", "--db", db, "--device", "tv", "--daypart", "evening", "--idempotency-key", "k1", "--recommendation-id", before["recommendation_id"]))
    check(r.out == "recorded: bob f5 complete\n", r)
    check("nothing changed" in ok(braid("record", "bob", "f5", "complete", "--db", db, "--idempotency-key", "k1")).out)
    after = ok(braid("recommend", "bob", "--db", db, "--json", "--seed", "1")).json
    check(after["cold_start"] is False and "f5" not in [x["id"] for x in after["results"]] and any("Film 5" in b for x in after["results"] for b in x["because"]), after)
    check("genres=" in ok(braid("user", "policy", "bob", "--db", db)).out)
    known = ok(braid("user", "export", "bob", "--db", db)).json
    check(len(known["interactions"]) == 1 and known["interactions"][0]["context"] == {"device": "tv", "daypart": "evening"}, known)


@claim
def a_refusal_tells_what_and_has_the_right_exit_code():
    db = filled()
    for words, code, said in ((["record", "ana", "nope", "like"], 1, "nope"), (["record", "ana", "f1", "lke"], 2, "must be one of"), (["record", "ana", "f1", "rate"], 2, "rating"),
                              (["item", "get", "nope"], 1, "nope"), (["recommend", "ana", "-k", "0"], 2, "1 to 1000"), (["recommend", "ana", "-k", "1000000000"], 2, "1 to 1000"),
                              (["search", "x", "--filter", '{"colour":"red"}'], 2, "colour"), (["similar", "nope"], 1, "nope"), (["user", "get", "nope"], 1, "nope"),
                              (["item", "delete", "nope"], 1, "nope"), (["search", "--like", "nope"], 1, "nope"), (["search", "x", "--strategy", "x"], 2, "one of"),
                              (["info", "nosuch"], None, "")):
        r = braid(*words, "--db", db)
        check((code is None and r.code) or (r.code == code and said in r.err), words, r)
        check(r.err.startswith("braid: ") and not r.out, words, r)


@claim
def items_and_users_can_be_put_read_listed_and_deleted():
    db = shutil_copy("things.db")
    ok(braid("item", "put", "-", "--db", db, stdin=json.dumps(film(70, id="a b/é", title="Un titre"))))
    ok(braid("item", "put", "other", "-", "--db", db, stdin=json.dumps({"item": {"title": "Autre"}})))
    check(ok(braid("item", "get", "a b/é", "--db", db, "--json")).json["title"] == "Un titre")
    check("Un titre" in ok(braid("item", "list", "TITRE", "--db", db)).out)
    check("deleted" in ok(braid("item", "delete", "a b/é", "--db", db)).out and braid("item", "get", "a b/é", "--db", db).code == 1)
    ok(braid("user", "put", "eva", "-", "--db", db, stdin='{"name":"Eva"}'))
    check(re.search(r"(?m)^eva +Eva", ok(braid("user", "list", "--db", db)).out))
    ok(braid("user", "delete", "eva", "--db", db))
    check(braid("user", "get", "eva", "--db", db).code == 1)
    for text, code in (("[]", 2), ("{", 2), ("{}", 2), ('{"id":"x","title":5}', 2)):
        check(braid("item", "put", "-", "--db", db, stdin=text).code == code, text)
    pages, after = [], []
    while True:
        page = ok(braid("item", "list", "--limit", "7", "--db", db, "--json", *after)).json
        pages += [i["id"] for i in page["items"]]
        if not page["next"]:
            break
        after = ["--after", page["next"]]
    check(len(pages) == 42 and pages == sorted(pages), pages)


@claim
def similar_graph_explain_info_doctor_verify_and_bench_answer():
    db = filled()
    r = ok(braid("similar", "f3", "--db", db, "-k", "5", "--depth", "2"))
    check(len(r.out.splitlines()) == 6, r)
    r = ok(braid("similar", "f3", "--db", db, "--depth", "1"))
    check(len(r.out.splitlines()) == 3 and r.out.count("RELATED_TO") == 2, r)
    check("f4" in ok(braid("item", "graph", "f3", "--db", db)).out)
    plan = ok(braid("explain", "recommend", "ana", "--db", db))
    check("plan: " in plan.out and "candidate" in plan.out and "recommendation_id" not in plan.err, plan)
    check("plan" in ok(braid("explain", "search", "la", "mer", "--db", db, "--json")).json)
    check(set("server options record feed vector graph catalogue cache policy memory".split()) <= set(ok(braid("info", "--db", db, "--json")).json))
    check(re.search(r"(?m)^  items +41$", ok(braid("info", "record", "--db", db)).out))
    check(re.search(r"(?m)^ok ", ok(braid("doctor", "--db", db)).out) and ok(braid("doctor", "--db", db, "--json")).json["findings"])
    verdict = ok(braid("verify", "--deep", "--db", db))
    check("every store agrees" in verdict.out and "0 wrong" in verdict.out, verdict)
    check(ok(braid("verify", "--repair", "--db", db, "--json")).json["ok"] is True)
    for store in ("vector", "graph", "cache"):
        check(f"{store}: made anew from 41 items" in ok(braid("rebuild", store, "--db", db)).out)
    check(ok(braid("rebuild", "graph", "--db", db, "--json")).json["items"] == 41 and ok(braid("verify", "--db", db)))
    check(ok(braid("learn", "--db", db)).out.startswith("learned from ") and isinstance(ok(braid("learn", "similar", "--db", db, "--json")).json["models"], list))
    r = braid("learn", "everything", "--db", db)
    check(r.code == 2 and "similar" in r.err and r.err.count("\n") == 1, r)
    r = ok(braid("learn", "--status", "--db", db))
    check("learned from " in r.out and "new since: 0 interactions" in r.out and "only when asked" in r.out, r)
    check(ok(braid("learn", "--status", "--db", db, "--json")).json["last"]["what"] == "similar", "the last of the two")
    r = ok(braid("learn", "patterns", "--db", db))
    check("seasonal_trend" in r.out and "found" in r.out, r)
    check(ok(braid("learn", "--status", "--db", db, "--json")).json["last"]["what"] == "similar", "patterns alone leave the models as they are")
    r = ok(braid("learn", "patterns", "--list", "--kind", "user_preference", "--limit", "3", "--db", db))
    check(" likings of " in r.out, r)
    check(ok(braid("learn", "patterns", "--list", "--db", db, "--json")).json["learned"]["method"], "and as JSON")
    for words, says in ((("patterns", "--list", "--kind", "weather"), "no kind of pattern"), (("--list",), "learn patterns --list"),
                        (("patterns", "--kind", "user_preference"), "go with --list"), (("patterns", "--list", "--limit", "0"), "limit")):
        r = braid("learn", *words, "--db", db)
        check(r.code == 2 and says in r.err, r)
    r = braid("learn", "patterns", "--list", "--user", "nobody-known", "--db", db)
    check(r.code == 1 and "nothing is known" in r.err, r)
    r = braid("rebuild", "catalogue", "--db", db)
    check(r.code == 2 and "there are vector, graph, cache" in r.err, r)
    bench = ok(braid("bench", "--db", db, "--queries", "60", "--threads", "2", "--json")).json
    check([row["failed"] for row in bench["rows"]] == [0, 0, 0] and all(0 < row["p50_us"] <= row["p99_us"] <= row["max_us"] for row in bench["rows"]), bench)
    check(re.search(r"(?m)^recommend +20 ", ok(braid("bench", "--db", db, "--queries", "20")).out))


@claim
def agents_are_described_and_what_they_believe_is_shown_compared_taken_out_and_put_back():
    db = shutil.copy(path(filled()), path("agents.db"))
    done = [{"interaction": {"user": "ana", "item": f"f{i}", "type": "like" if i % 2 else "skip"}} for i in range(1, 9)]
    ok(braid("load", "--db", db, write("done.ndjson", lines(*done))))
    check("no agents" in ok(braid("agent", "list", "--db", db)).out)
    check("0.1" in ok(braid("agent", "show", "home", "--db", db)).out, "the defaults, where nobody said")
    ok(braid("agent", "set", "home", "--db", db, "--learner", "thompson", "--budget", "0.25"))
    ok(braid("agent", "set", "home", "--db", db, "--personal", "off"))
    home = ok(braid("agent", "show", "home", "--db", db, "--json")).json
    check(home["learner"] == "thompson" and home["exploration"]["budget"] == 0.25 and home["personal"] is False, home)
    check("thompson" in ok(braid("agent", "list", "--db", db)).out)
    check("episodes_days" not in home, "as the option says, until somebody says otherwise")
    for days, kept in (("0", 0), ("30", 30), ("default", None)):
        ok(braid("agent", "set", "home", "--db", db, "--episodes-days", days))
        check(ok(braid("agent", "show", "home", "--db", db, "--json")).json.get("episodes_days") == kept, days)
    check(braid("agent", "set", "home", "--db", db, "--episodes-days", "soon").code == 2)
    r = braid("agent", "set", "home", "--db", db, "--learner", "magic")
    check(r.code == 2 and "softmax, linucb or thompson" in r.err, r)
    check(braid("agent", "set", "home", "--db", db, "--personal", "maybe").code == 2)
    ok(braid("agent", "remove", "home", "--db", db))
    check("no agents" in ok(braid("agent", "list", "--db", db)).out)

    shown = ok(braid("policy", "show", "default", "--user", "ana", "--db", db))
    check("learner softmax" in shown.out and "genres=" in shown.out and "slim" in shown.out, shown)
    kept = ok(braid("policy", "export", "default", "--user", "ana", "--db", db))
    write("ana.json", kept.out)
    same = ok(braid("policy", "diff", path("ana.json"), "default", "--user", "ana", "--db", db))
    check(same.out.startswith("0 differ, "), same)
    ok(braid("load", "--db", db, write("more.ndjson", lines({"interaction": {"user": "ana", "item": "f1", "type": "skip"}}))))
    ok(braid("policy", "show", "default", "--db", db))
    changed = ok(braid("policy", "diff", path("ana.json"), "default", "--user", "ana", "--db", db, "--json")).json
    check(changed and all(row["count_after"] > row["count_before"] for row in changed), changed)
    r = ok(braid("policy", "import", path("ana.json"), "--db", db))
    check("left as it is, since more is known here" in r.out, r)
    r = ok(braid("policy", "import", path("ana.json"), "--force", "--db", db, "--json"))
    check(r.json["written"] == len(kept.json["policies"]) and r.json["stale"] == [], r)
    check(braid("policy", "import", write("none.json", "{}"), "--db", db).code == 2)


@claim
def a_table_is_aligned_by_what_is_seen_not_by_bytes():
    db = shutil_copy("cjk.db")
    ok(braid("item", "put", "-", "--db", db, stdin=json.dumps(film(91, title="Œuvre e\u0301tude"))))
    rows = ok(braid("item", "list", "--db", db)).out.splitlines()
    wide = lambda s: sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in s)
    at = {wide(row[:re.search(r"\b(19|20)\d\d\b", row).start()]) for row in rows[1:]}
    check(len(at) == 1 and any("東京" in r for r in rows), at, rows)


# ---------------------------------------------------------------------------------------------- the server and --url

@claim
def a_file_and_a_server_give_the_same_answers():
    db = shutil_copy("both.db")
    questions = [["search", "--like", "f3", "--user", "ana", "--seed", "5", "--no-cache"], ["recommend", "ana", "--seed", "5", "--no-cache"], ["similar", "f3"], ["item", "get", "f3"],
                 ["item", "list", "film"], ["item", "graph", "f3"], ["user", "list"], ["user", "policy", "ana"], ["user", "export", "ana"], ["doctor"], ["verify"]]
    shape = lambda x: [(h["id"], h["strands"]) for h in x["results"]] if "recommendation_id" in x else [f["what"] for f in x["findings"]] if "findings" in x else x
    here = [shape(ok(braid(*q, "--db", db, "--json")).json) for q in questions]
    exported = ok(braid("export", "--db", db)).out
    with serving(db) as (url, _):
        for q, expected in zip(questions, here):
            check(shape(ok(braid(*q, "--url", url, "--json")).json) == expected, q)
        check(ok(braid("export", "--url", url)).out == exported)
        check(ok(braid("learn", "--url", url)).out.startswith("learned from ") and braid("learn", "everything", "--url", url).code == 2)
        for words, code in ((["item", "get", "nope"], 1), (["recommend", "ana", "-k", "0"], 2)):
            there, local = braid(*words, "--url", url), braid(*words, "--db", filled())
            check(there.code == code and there.err == local.err, there, local)


@claim
def loading_through_a_server_names_lines_too():
    db = shutil_copy("through.db")
    with serving(db) as (url, _):
        text = [json.dumps(film(i)) for i in range(100, 2600)]
        text[1233] = "nonsense"
        r = braid("load", "--url", url.replace("127.0.0.1", "localhost"), "-", stdin="\n".join(text))
        check(r.code == 1 and "2,499 accepted, 1 rejected" in r.out and "stdin:1234: " in r.err, r)
        ok(braid("record", "ana", "f105", "like", "--url", url))
        page = ok(braid("recommend", "ana", "-k", "3", "--url", url, "--json")).json
        more = ok(braid("recommend", "ana", "-k", "3", "--url", url, "--json", "--after", page["recommendation_id"])).json
        check(not {x["id"] for x in page["results"]} & {x["id"] for x in more["results"]} and len(more["results"]) == 3, more)
        check(ok(braid("info", "record", "--url", url + "/", "--json")).json["record"]["items"] == len(FILMS) + 2499)


@claim
def serve_stops_cleanly_on_both_signals_and_says_what_to_try():
    for number in (signal.SIGINT, signal.SIGTERM):
        p = subprocess.Popen([BRAID, "serve", "--db", filled(), "--listen", "127.0.0.1:0"], cwd=HERE, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        head = "".join(p.stdout.readline() for _ in range(6))
        url = re.search(r"http://\S+", head)[0]
        check(len(re.findall(r"(?m)^  (?:\S*braid|curl) .*" + re.escape(url), head)) == 3, head)
        check(ok(braid("info", "server", "--url", url)).out.startswith("server"))
        p.send_signal(number)
        p.communicate(timeout=PATIENCE_S)
        check(p.returncode == 0, number, p.returncode)
    quiet = subprocess.Popen([BRAID, "serve", "--db", filled(), "--listen", "127.0.0.1:0", "--quiet"], cwd=HERE, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until(lambda: catches(quiet.pid, signal.SIGTERM))
    quiet.terminate()
    check(quiet.communicate(timeout=PATIENCE_S)[0] == b"" and quiet.returncode == 0, quiet.returncode)


@claim
def serve_refuses_a_taken_port_and_a_second_process_on_the_file():
    with serving(filled()) as (url, _):
        r = braid("search", "x", "--db", filled())
        check(r.code == 1 and "--url" in r.err, r)
        r = braid("serve", "--db", "second.db", "--listen", url[7:])
        check(r.code == 1 and r.err.startswith("braid: ") and url[17:] in r.err, r)


@claim
def a_server_that_is_not_there_is_named():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        r = braid("info", "--url", f"http://127.0.0.1:{s.getsockname()[1]}")
        check(r.code == 1 and "Connection refused" in r.err and "braid serve" in r.err, r)
    r = braid("info", "--url", "http://no-such-host.invalid")
    check(r.code == 1 and "no-such-host.invalid" in r.err, r)


# ---------------------------------------------------------------------------------------------- the client against odd servers

@contextlib.contextmanager
def fake(answer, tls=None):
    """A server that answers each connection's first request with the pieces of `answer`, a pause of 50 ms between them."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(PATIENCE_S)
    stop = threading.Event()

    def work():
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            try:
                if tls:
                    connection = tls.wrap_socket(connection, server_side=True)
                connection.settimeout(PATIENCE_S)
                seen = b""
                while b"\r\n\r\n" not in seen:
                    got = connection.recv(65536)
                    if not got:
                        break
                    seen += got
                requests.append(seen)
                for piece in answer:
                    connection.sendall(piece)
                    if stop.wait(0.05):
                        break
            except OSError:
                pass
            finally:
                connection.close()

    requests = []
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}", requests
    finally:
        stop.set()
        listener.close()


ITEM = json.dumps({"id": "x", "title": "Évasion \u001b[31m rouge"}).encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@claim
def bodies_come_by_length_in_chunks_or_until_the_end():
    half = len(ITEM) // 2
    for pieces in ([HEAD + b"Content-Length: %d\r\n\r\n" % len(ITEM), ITEM[:half], ITEM[half:]],
                   [HEAD + b"transfer-encoding: Chunked\r\n\r\n%x;ext=1\r\n" % half, ITEM[:half], b"\r\n%X\r\n" % (len(ITEM) - half) + ITEM[half:], b"\r\n0\r\nTrailer: 1\r\n\r\n"],
                   [b"HTTP/1.0 200 OK\r\n\r\n" + ITEM], [b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"Connection: close\r\n\r\n" + ITEM],
                   [bytes([b]) for b in HEAD[:30]] + [HEAD[30:] + b"Content-Length: %d\r\n\r\n" % len(ITEM) + ITEM]):
        with fake(pieces) as (url, requests):
            r = ok(braid("item", "get", "a b/é", "--url", url + "/under/", "--json"))
            check(r.json["id"] == "x", r)
            check(requests[0].startswith(b"GET /under/v1/items/a%20b%2F%C3%A9 HTTP/1.1\r\nHost: 127.0.0.1:"), requests)
            shown = ok(braid("item", "get", "x", "--url", url))
            check("\x1b" not in shown.out and "Évasion ?[31m rouge" in shown.out, shown)


@claim
def an_answer_that_is_broken_is_refused_with_its_reason():
    for pieces, said in (([HEAD + b"Content-Length: 50\r\n\r\n{}"], "ended early"), ([HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"], "twice"),
                         ([HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n"], "two lengths"), ([HEAD + b"Content-Length: 99999999999999999999\r\n\r\n"], "over the limit"),
                         ([HEAD + b"Content-Length: -1\r\n\r\n"], "malformed"), ([HEAD + b"Transfer-Encoding: gzip\r\n\r\n"], "unknown transfer"), ([b"SSH-2.0-x\r\n"], "not HTTP"),
                         ([HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"], "chunk"), ([HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}x\r\n"], "chunk"), ([b""], "ended early"),
                         ([b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70000 + b"\r\n\r\n"], "too long"), ([HEAD + b"Content-Length: 3\r\n\r\n<p>"], "not JSON"),
                         ([b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\noops"], "status 502")):
        with fake(pieces) as (url, _):
            r = braid("item", "get", "x", "--url", url)
            check(r.code == 1 and said in r.err and r.err.count("\n") == 1, said, r)


@claim
def a_server_that_drips_does_not_hold_the_caller_for_ever():
    with fake([HEAD + b"Content-Length: 1000\r\n\r\n"] + [b" "] * 1000) as (url, _):
        begun = time.monotonic()
        r = braid("item", "get", "x", "--url", url, "--timeout", "1")
        took = time.monotonic() - begun
        check(r.code == 1 and "--timeout" in r.err and 0.8 < took < 40, took, r)  # all of it would take fifty


@claim
def https_is_spoken_and_the_certificate_checked():
    made = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", path("key.pem"), "-out", path("cert.pem"), "-days", "2",
                           "-subj", "/CN=braid test", "-addext", "subjectAltName=IP:127.0.0.1"], capture_output=True)
    check(made.returncode == 0, made.stderr)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path("cert.pem"), path("key.pem"))
    with fake([HEAD + b"Content-Length: %d\r\n\r\n" % len(ITEM) + ITEM], tls=context) as (url, _):
        trust = {"SSL_CERT_FILE": path("cert.pem")}
        check(ok(braid("item", "get", "x", "--url", url, "--json", env=trust)).json["id"] == "x")
        for words, env in (((url,), {}), ((url.replace("127.0.0.1", "localhost"),), trust)):
            r = braid("item", "get", "x", "--url", *words, env=env)
            check(r.code == 1 and ("certificate" in r.err or "mismatch" in r.err), r)


# ---------------------------------------------------------------------------------------------- import, simulate

@claim
def movielens_is_imported_and_bad_rows_are_named():
    folder = path("ml")
    os.makedirs(folder, exist_ok=True)
    write("ml/movies.csv", "\ufeffmovieId,title,genres\r\n1,Toy Story (1995),Animation|Comedy\r\n2,\"American President, The (1995)\",Romance\r\n3,\"Say \"\"Hi\"\"\n(1999)\",Sci-Fi\r\n"
          "x,Bad (2000),Drama\r\n4,No Year,(no genres listed)\r\n5,too,many,fields\r\n6,\"open \"x (2000),Drama\r\n")
    write("ml/tags.csv", "userId,movieId,tag,timestamp\n" + "".join(f"{u},1,{t},1\n" for u, t in ((1, "Pixar"), (2, "pixar"), (3, "fun"))) + "".join(f"9,1,t{i:02},1\n" for i in range(20)))
    write("ml/links.csv", "movieId,imdbId,tmdbId\n1,0114709,862\n2,0112346,\n")
    write("ml/ratings.csv", "userId,movieId,rating,timestamp\n1,1,4.0,964982703\n1,2,5,964982703\n2,1,0.5,964982703\n2,77,3,1\n2,1,9,1\n2,1,3,never\n")
    r = braid("import", "movielens", "ml", "--db", "ml.db")
    check(r.code == 1 and "9 accepted, 6 rejected" in r.out, r)
    for where in ("movies.csv:6: movieId", "movies.csv:8: the row", "movies.csv:9: something follows", "ratings.csv:5: ", "ratings.csv:6: the rating", "ratings.csv:7: the timestamp"):
        check("ml/" + where in r.err, where, r)
    items = {i["id"]: i for i in ok(braid("item", "list", "--db", "ml.db", "--json")).json["items"]}
    check(items["ml-1"]["title"] == "Toy Story" and items["ml-1"]["year"] == 1995 and items["ml-1"]["genres"] == ["animation", "comedy"], items["ml-1"])
    check(items["ml-1"]["themes"][0] == "pixar" and len(items["ml-1"]["themes"]) == 10, items["ml-1"]["themes"])
    check(items["ml-1"]["attributes"] == {"imdb_id": "0114709", "tmdb_id": "862"} and items["ml-2"]["attributes"] == {"imdb_id": "0112346"}, items)
    check(items["ml-2"]["title"] == "American President, The" and items["ml-3"]["title"].startswith('Say "Hi"') and items["ml-3"]["year"] == 1999, items)
    check("year" not in items["ml-4"] and not items["ml-4"].get("genres"), items["ml-4"])
    known = ok(braid("user", "export", "ml-user-1", "--db", "ml.db")).json["interactions"]
    known.sort(key=lambda i: i["idempotency_key"])
    check(known[0]["rating"] == 4 and known[0]["at"].startswith("2000-07-30T18:45:03") and known[0]["idempotency_key"] == "ml-1-1", known)
    again = braid("import", "movielens", "ml", "--db", "ml.db", "--json").json
    check(again["duplicates"] == 3 and ok(braid("info", "record", "--db", "ml.db", "--json")).json["record"]["interactions"] == 3, again)
    check(braid("import", "movielens", "nowhere", "--db", "no.db").code == 1 and not os.path.exists(path("no.db")))
    check(braid("import", "netflix", "ml").code == 2)


VIEWERS = [{"user": {"id": f"v{i}", "name": f"V{i}", "simulated": True, "preferences": {"genres": {"drame": 1.0, "comédie": -1.0}}, "constraints": {"region": "FR", "age": 12 if i == 0 else 40},
                     "attributes": {"devices": "mobile,tv", "dayparts": "night,evening"}}} for i in range(4)]


@claim
def simulated_histories_are_deterministic_marked_and_bound_by_taste_and_rights():
    films = [film(i, age_rating=16 if i % 4 == 0 else 0, regions=["BE"] if i % 5 == 0 else []) for i in range(200)]
    write("sim.ndjson", lines(*films))
    write("viewers.ndjson", lines(*VIEWERS))
    seen = []
    for db in ("sim1.db", "sim2.db"):
        ok(braid("load", "--db", db, "sim.ndjson", "viewers.ndjson" if db == "sim2.db" else "sim.ndjson"))
        r = ok(braid("simulate", "--db", db, "--seed", "7", *(["--viewers", "viewers.ndjson"] if db == "sim1.db" else [])))
        seen.append([json.loads(l)["interaction"] for l in ok(braid("export", "--db", db)).out.splitlines() if '"interaction"' in l])
        check(ok(braid("simulate", "--db", db, "--seed", "7", "--json")).json["duplicates"] == 100)
        check(ok(braid("info", "record", "--db", db, "--json")).json["record"]["interactions"] == 100)
    check(seen[0] == seen[1] and len(seen[0]) == 100)
    kept = {f["id"]: f for f in films}
    for i in seen[0]:
        check(i["context"]["simulated"] is True and i["idempotency_key"].startswith(f"sim-7-{i['user']}-"), i)
        check("2026-08-03" <= i["at"][:10] <= "2026-11-01" and i["context"]["device"] in ("mobile", "tv") and i["context"]["daypart"] in ("night", "evening"), i)
        check(kept[i["item"]]["regions"] == [] and (i["user"] != "v0" or kept[i["item"]]["age_rating"] <= 12), i)
        check(("rating" in i) == (i["type"] == "rate"), i)
    drama = sum(kept[i["item"]]["genres"] == ["drame"] for i in seen[0])
    check(drama > 60, f"only {drama} of 100 follow the taste, a third would be chance")
    check(len({i["type"] for i in seen[0]}) >= 5, {i["type"] for i in seen[0]})
    other = ok(braid("simulate", "--db", "sim1.db", "--seed", "8", "--per-viewer", "5", "--json")).json
    check(other["accepted"] == 20 and other["duplicates"] == 0, other)


@claim
def a_viewer_that_is_not_marked_as_simulated_is_refused():
    r = braid("simulate", "--db", filled(), "--viewers", write("real.ndjson", lines({"user": {"id": "real"}})))
    check(r.code == 1 and "real.ndjson:1: " in r.err and "simulated" in r.err, r)
    r = braid("simulate", "--db", filled())
    check(r.code == 1 and "no viewers" in r.err, r)


# ---------------------------------------------------------------------------------------------- terminals

def on_terminal(*words, env=None, columns=100):
    """Runs under a pseudo-terminal on stdout and stderr, with nothing on stdin: a question would hang."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    p = subprocess.Popen([BRAID, *words], cwd=HERE, env=dict(ENV, TERM="xterm", **(env or {})), stdin=subprocess.DEVNULL, stdout=slave, stderr=slave)
    os.close(slave)
    seen = b""
    while select.select([master], [], [], 30)[0]:
        try:
            got = os.read(master, 65536)
        except OSError:
            break
        if not got:
            break
        seen += got
    os.close(master)
    return p.wait(30), seen.decode("utf-8", "replace")


@claim
def colours_and_bars_are_for_terminals_without_no_color():
    words = ("search", "Film 7", "--db", filled(), "-k", "2")
    code, seen = on_terminal(*words)
    check(code == 0 and "\x1b[1m" in seen and "█" in seen, seen)
    code, seen = on_terminal(*words, env={"NO_COLOR": "1"})
    check(code == 0 and "\x1b[" not in seen and "█" in seen, seen)


@claim
def progress_is_drawn_on_a_terminal_and_only_there():
    write("long.ndjson", lines(*(film(i, synopsis="mer " * 100) for i in range(6000))))
    code, seen = on_terminal("load", "--db", "progress.db", "long.ndjson")
    check(code == 0 and "loading" in seen and "%" in seen and "lines" in seen and seen.rstrip().splitlines()[-1].replace("\x1b[K", "").strip().startswith("6,000 accepted"), seen[-400:])
    code, seen = on_terminal("load", "--db", "progress.db", "long.ndjson", "--quiet")
    check(code == 0 and "loading" not in seen, seen)
    check(ok(braid("load", "--db", "progress.db", "long.ndjson")).err == "")


@claim
def a_narrow_terminal_cuts_the_titles_not_the_table():
    ok(braid("load", "--db", "narrow.db", "-", stdin=lines(film(1, title="Un très long titre " * 8), film(2))))
    code, seen = on_terminal("item", "list", "--db", "narrow.db", env={"NO_COLOR": "1"}, columns=60)
    check(code == 0 and "…" in seen and all(len(row) <= 60 for row in seen.splitlines()), seen)


# ---------------------------------------------------------------------------------------------- running

def wait_until(true):
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            if true():
                return
        except OSError:
            pass
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


def shutil_copy(name):
    shutil.copy(path(filled()), path(name))
    return name


@claim
def a_file_and_a_record_server_exclude_each_other():
    r = braid("search", "x", "--db", "here.db", "--record-store", "postgres")
    check(r.code == 2 and "--db names a file" in r.err, r)
    r = braid("search", "x", "--record-store", "postgres", "--postgres-address", "127.0.0.1:1")
    check(r.code == 1 and "127.0.0.1:1" in r.err and "--db" not in r.err, r)


# ---------------------------------------------------------------------------------------------- the schema

@claim
def migrate_schema_makes_the_tables_once_and_says_so():
    r = ok(braid("migrate-schema", "--db", "schema.db"))
    check(r.out.startswith("sqlite at schema.db: schema ") and "steps made" in r.out and re.search(r"(?m)^ +1  tables$", r.out), r)
    check(os.path.exists(path("schema.db")) and not r.err, r)
    r = ok(braid("migrate-schema", "--db", "schema.db"))
    check("up to date" in r.out and len(r.out.splitlines()) == 1, r)
    answer = ok(braid("migrate-schema", "--db", "other.db", "--json")).json
    check(answer["store"] == "sqlite" and answer["where"] == "other.db" and answer["schema"] == len(answer["steps"]) > 1, answer)
    check([s["step"] for s in answer["steps"]] == list(range(1, answer["schema"] + 1)) and all(s["name"] for s in answer["steps"]), answer)
    check(ok(braid("migrate-schema", "--db", "other.db", "--json")).json["steps"] == [])
    r, verdict = ok(braid("load", "--db", "schema.db", write("schema.ndjson", lines(*FILMS)))), ok(braid("verify", "--db", "schema.db"))
    check("41 accepted" in r.out and "every store agrees" in verdict.out, r, verdict)


@claim
def migrate_schema_brings_an_older_file_up_to_date_and_leaves_a_newer_one_alone():
    import sqlite3
    ok(braid("migrate-schema", "--db", "newer.db"))
    with contextlib.closing(sqlite3.connect(path("newer.db"))) as file:
        file.execute("PRAGMA user_version=99")
    before = open(path("newer.db"), "rb").read()
    r = braid("migrate-schema", "--db", "newer.db")
    check(r.code == 1 and "99" in r.err and "newer Braid" in r.err and not r.out, r)
    check(open(path("newer.db"), "rb").read() == before)
    write("foreign.db", "this is no database of ours, but a text that is long enough to be looked at\n" * 10)
    r = braid("migrate-schema", "--db", "foreign.db")
    check(r.code == 1 and r.err.count("\n") == 1, r)
    for words, said in ((["more"], "no further word"), (["--url", "http://127.0.0.1:1"], "works on a database file"), (["--db", "a.db", "--record-store", "postgres"], "leave one of them out")):
        r = braid("migrate-schema", *words)
        check(r.code == 2 and said in r.err, words, r)
    r = braid("migrate-schema", "--record-store", "postgres", "--postgres-address", "127.0.0.1:1")
    check(r.code == 1 and "127.0.0.1:1" in r.err and "PostgreSQL" in r.err, r)


@claim
def editors_rules_and_experiments_are_kept_and_asked_for_by_name():
    db = "decide.db"
    shutil.copy(path(filled()), path(db))
    ok(braid("rule", "put", "--db", db, "gala", "-", stdin='{"pin":{"item":"f7","position":1}}'))
    ok(braid("rule", "put", "--db", db, "fr", "-", stdin='{"quota":{"filter":{"language":"fr"},"least":2,"within":5},"note":"law"}'))
    shown = ok(braid("rule", "list", "--db", db)).out
    check("pins f7 at 1" in shown and "at least 2 of 5" in shown and "law" in shown, shown)
    answer = ok(braid("recommend", "ana", "--db", db, "--json")).json
    check(answer["results"][0]["id"] == "f7", answer["results"][0])
    bad = braid("rule", "put", "--db", db, "bad", "-", stdin='{"pin":{"item":"f7"},"boost":{}}')
    check(bad.code == 2 and "one of" in bad.err, bad)
    ok(braid("experiment", "put", "--db", db, "e", "-", stdin='{"arms":[{"name":"a"},{"name":"b","ranker":"popular"}]}'))
    check("draft" in ok(braid("experiment", "list", "--db", db)).out)
    ok(braid("experiment", "start", "e", "--db", db))
    check(ok(braid("recommend", "ana", "--db", db, "--json")).json["experiment"]["id"] == "e")
    standing = ok(braid("experiment", "standing", "e", "--db", db)).out
    check("1 lists" in standing and "reward a list" in standing, standing)
    ok(braid("experiment", "stop", "e", "--db", db))
    check(ok(braid("experiment", "show", "e", "--db", db, "--json")).json["status"] == "stopped")


@claim
def a_policy_is_judged_by_name_by_file_and_refused_when_it_is_none():
    db = "judged.db"
    shutil.copy(path(filled()), path(db))
    weights = write("weights.json", '{"weights":{"popular":1},"explore":0.1}')
    for word in ("popular", "someagent", weights):
        page = ok(braid("evaluate", "--policy", word, "--db", db)).out
        check("doubly robust" in page and "warning:" in page, page)
    check(ok(braid("evaluate", "--policy", "taste", "--db", db, "--json")).json["slates"] == 0)
    for words in ((), ("--policy", "popular", "--places", "0"), ("--policy", "popular", "more")):
        check(braid("evaluate", *words, "--db", db).code == 2, words)
    refused = braid("evaluate", "--policy", write("wrong.json", '{"weights":{"luck":1}}'), "--db", db)
    check(refused.code == 2 and "luck" in refused.err, refused)


@claim
def migrate_schema_works_on_a_postgresql_server():
    address, file = os.environ.get("BRAID_TEST_POSTGRES"), os.environ.get("BRAID_TEST_POSTGRES_PASSWORD_FILE")
    if not address or not file:
        return print("     BRAID_TEST_POSTGRES is not set: not asked")
    where = f"{os.environ.get('BRAID_TEST_POSTGRES_DATABASE', 'braid')}/test_cli_{os.getpid()}"
    words = ["migrate-schema", "--record-store", "postgres", "--postgres-address", address, "--postgres-database", where,
             "--postgres-user", os.environ.get("BRAID_TEST_POSTGRES_USER", "braid"), "--postgres-password-file", os.path.join(ROOT, file)]
    try:
        r = ok(braid(*words))
        check(r.out.startswith(f"postgres at {address}, database {where}: schema ") and "001_items" in r.out, r)
        check(ok(braid(*words, "--json")).json["steps"] == [])
    finally:
        psql = ["psql", "-Xq", "-h", address.rpartition(":")[0], "-p", address.rpartition(":")[2], "-U", words[8], "-d", where.partition("/")[0]]
        if shutil.which("psql"):
            subprocess.run([*psql, "-c", f"SET client_min_messages = warning; DROP SCHEMA IF EXISTS {where.partition('/')[2]} CASCADE"], check=True,
                           env=dict(ENV, PGPASSWORD=open(os.path.join(ROOT, file)).readline().strip()))


def main():
    global HERE
    if not os.access(BRAID, os.X_OK):
        print(f"{BRAID}: there is no such program; build it with make\n0 passed, 1 failed")
        return 1
    HERE = tempfile.mkdtemp(prefix="braid-cli-")
    passed = failed = 0
    try:
        for f in claims:
            if ONLY not in f.__name__:
                continue
            begun = time.monotonic()
            try:
                f()
                passed += 1
                print(f"ok   {f.__name__.replace('_', ' ')} ({time.monotonic() - begun:.1f} s)", flush=True)
            except Exception as why:  # one claim that fails must not hide the others
                failed += 1
                print(f"FAIL {f.__name__.replace('_', ' ')}: {type(why).__name__}: {why}", flush=True)
    finally:
        shutil.rmtree(HERE, ignore_errors=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
