#!/usr/bin/env python3
"""HTTP conformance, end to end: starts `braid serve` on a database of its own and asks it everything that docs/api.md promises and much that
it refuses. Usage: test/http_api.py [BRAID]"""
import http.client, json, os, socket, sys, threading, time
from urllib.parse import quote

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from serving import PATIENCE_S, Claims, Serving, equal, read_all, status_of, true

JSON_BYTES, BODY_BYTES = 1 << 20, 24 << 20
claim = Claims()
NDJSON = {"Content-Type": "application/x-ndjson"}
MEMBERS = {"type", "title", "status", "code", "detail", "store"}


def problem(answer, status, code=None, says=""):
    """The answer is a problem of that status, complete, and says what it should."""
    got, headers, body = answer
    equal(got, status, f"status ({body[:200]!r})")
    equal(headers["Content-Type"], "application/problem+json", "content type")
    p = json.loads(body)
    true(MEMBERS <= set(p), f"members {sorted(p)}")
    equal(p["status"], status, "member status")
    if code:
        equal(p["code"], code, "code")
    true(says in p["detail"], f"{p['detail']!r} does not say {says!r}")
    return p


def item(i, **more):
    return {"id": f"film {i}/é", "title": f"Titre {i}", "kind": "film", "year": 1900 + i % 120, "genres": ["drame" if i % 2 else "comédie"], "themes": ["exil"]} | more


def until(what, check, seconds=PATIENCE_S):
    """Asks again until the derived stores have caught up with the last write."""
    end = time.monotonic() + seconds
    while not check():
        true(time.monotonic() < end, f"not within {seconds} s: {what}")
        time.sleep(0.02)


# ---- every route

@claim("items are written by object, array and NDJSON, and the bad lines are named")
def _(s):
    equal(s.json("POST", "/v1/items", item(1))[1]["accepted"], 1)
    equal(s.json("POST", "/v1/items", [item(2), item(3), {"id": 7}])[1]["rejected"][0]["line"], 3)
    lines = "\n".join([json.dumps(item(4)), "{broken", "", json.dumps(item(5)), json.dumps({"id": "x", "title": "x", "colour": "red"})])
    for headers in ({}, NDJSON, {"Content-Type": "application/json"}, {"Content-Type": "Application/X-NDJSON; charset=utf-8"}):
        status, report = s.json("POST", "/v1/items", lines, headers)
        equal((status, report["accepted"], [r["line"] for r in report["rejected"]]), (200, 2, [2, 5]), str(headers))
        true(report["lsn"] and {"line", "code", "error"} <= set(report["rejected"][0]), "shape of the report")
    status, report = s.json("POST", "/v1/items", json.dumps([item(4), {}], indent=1), NDJSON)
    equal((status, report["accepted"], report["rejected"][0]["line"]), (200, 1, 2), "an array under the name of NDJSON")


@claim("an item is read, replaced, listed, found by title and removed by its escaped id")
def _(s):
    path = "/v1/items/" + quote("film 1/é", safe="")
    equal(s.json("GET", path)[1]["title"], "Titre 1")
    equal(s.json("PUT", path, {"title": "Éléonore"})[0], 200)
    equal(s.json("GET", path)[1], {"id": "film 1/é", "title": "Éléonore"})
    until("found with accents folded", lambda: [i["id"] for i in s.json("GET", "/v1/items?q=eleonore")[1]["items"]] == ["film 1/é"])
    page = s.json("GET", "/v1/items?limit=2")[1]
    rest = s.json("GET", "/v1/items?limit=1000&after=" + quote(page["next"], safe=""))[1]
    ids = [i["id"] for i in page["items"] + rest["items"]]
    equal((len(page["items"]), rest["next"], ids), (2, None, sorted(set(ids))), "two pages")
    equal(s.json("DELETE", path)[1]["accepted"], 1)
    problem(s.call("GET", path), 404, "NOT_FOUND")
    problem(s.call("DELETE", path), 404, "NOT_FOUND")


@claim("a PUT that contradicts its address or itself is refused")
def _(s):
    problem(s.call("PUT", "/v1/items/a", json.dumps({"id": "b", "title": "x"})), 400, "INVALID", "address")
    problem(s.call("PUT", "/v1/items/a", "[]"), 400)
    problem(s.call("PUT", "/v1/items/a", ""), 400)
    problem(s.call("PUT", "/v1/items/a", json.dumps({"title": "x", "colour": 1})), 400, "UNKNOWN_FIELD", "colour")
    problem(s.call("PUT", "/v1/items/a", json.dumps({"title": "x", "vectors": {"default": [1, 2]}})), 400, "DIMENSION")
    problem(s.call("PUT", "/v1/items/" + "a" * 256, json.dumps({"title": "x"})), 413, "TOO_LARGE", "255")
    equal(s.call("GET", "/v1/items/a")[0], 404)


@claim("relations connect, similar walks them, graph draws them")
def _(s):
    one, two = "film 2/é", "film 3/é"
    equal(s.json("POST", "/v1/relations", {"from": one, "to": two, "type": "SEQUEL_OF", "strength": 0.9})[1]["accepted"], 1)
    path = "/v1/items/" + quote(one, safe="")
    until("similar", lambda: two in [h["id"] for h in s.json("GET", path + "/similar?k=50&depth=1")[1]["results"]])
    equal(set(s.json("GET", path + "/similar")[1]["results"][0]), {"id", "title", "score", "depth", "connections", "via"})
    equal(s.json("GET", path + "/similar")[1]["learned"], [])
    graph = s.json("GET", path + "/graph")[1]
    true(any(e["type"] == "SEQUEL_OF" for e in graph["edges"]) and graph["center"] == one, "graph")
    problem(s.call("GET", path + "/similar?depth=4"), 400, "INVALID", "1..3")
    problem(s.call("GET", path + "/similar?k=0"), 400, "INVALID", "1..1000")
    problem(s.call("GET", "/v1/items/none/graph"), 404)


@claim("people, interactions, policy and export answer; a repeated key changes nothing")
def _(s):
    equal(s.json("PUT", "/v1/users/ana", {"preferences": {"genres": {"drame": 0.5}}})[0], 200)
    equal(s.json("GET", "/v1/users/ana")[1]["id"], "ana")
    true("ana" in [u["id"] for u in s.json("GET", "/v1/users?limit=10")[1]["users"]], "listed")
    body = "\n".join(json.dumps({"user": "ana", "item": f"film {i}/é", "type": "like"}) for i in (2, 3))
    for headers in ({}, NDJSON):
        key = {"Idempotency-Key": "k" + str(len(headers))}
        for repeats in (0, 2):
            report = s.json("POST", "/v1/interactions", body, headers | key)[1]
            equal((report["accepted"], report["duplicates"]), (2, repeats), str(headers))
    problem(s.call("POST", "/v1/interactions", body, {"Idempotency-Key": ""}), 400)
    problem(s.call("POST", "/v1/interactions", body, {"Idempotency-Key": "x" * 256}), 400)
    unknown = s.json("POST", "/v1/interactions", {"user": "ana", "item": "none", "type": "like"})[1]
    equal(unknown["accepted"], 0)
    until("a policy", lambda: s.json("GET", "/v1/users/ana/policy")[1]["policies"])
    equal(len(s.json("GET", "/v1/users/ana/export")[1]["interactions"]), 4, "interactions kept")


@claim("episodes of one's own are kept once, named when they are wrong, exported with their person and deleted with them")
def _(s):
    step = {"user": "bot-1", "item": "film 2/é", "reward": 0.5, "state": "a=1", "state_vector": [1, 0.5], "at": "2026-01-02T03:04:05Z"}
    lines = [step, {"user": "bot-1", "item": "none", "reward": 1}, {"user": "bot-1", "item": "film 2/é"},
             {"episode": {"user": "bot-1", "item": "film 2/é", "reward": -2, "done": True}}]
    body = "\n".join(json.dumps(line) for line in lines)
    for repeats in (0, 2):
        report = s.json("POST", "/v1/episodes", body, NDJSON | {"Idempotency-Key": "e1"})[1]
        equal((report["accepted"], report["duplicates"]), (2, repeats), str(report))
        equal(sorted(r["line"] for r in report["rejected"]), [2, 3], str(report))
    problem(s.call("POST", "/v1/episodes", body, {"Idempotency-Key": ""}), 400)
    kept = s.json("GET", "/v1/users/bot-1/export")[1]["episodes"]
    equal(sorted((e["reward"], e["done"], e["state"]) for e in kept), [(-2, True, ""), (0.5, False, "a=1")], str(kept))
    listed = s.json("GET", "/v1/users/bot-1/episodes?limit=1")[1]
    equal((listed["user"], [e["reward"] for e in listed["episodes"]]), ("bot-1", [-2]), "the newest first")
    for wanted in ({"vector": [2, 1]}, {"vector": [2, 1], "agent": "default", "k": 1, "since": "2026-01-01T00:00:00Z"}):
        status, found = s.json("POST", "/v1/episodes/similar", wanted)
        equal((status, [(e["user"], e["state"], round(e["similarity"], 3)) for e in found["episodes"]], found["partial"]), (200, [("bot-1", "a=1", 1.0)], False))
    equal(s.json("POST", "/v1/episodes/similar", {"user": "bot-1"})[1]["episodes"], [], "not the very state that was asked about")
    problem(s.call("POST", "/v1/episodes/similar", json.dumps({"user": "no such"})), 404)
    problem(s.call("POST", "/v1/episodes/similar", json.dumps({"vector": []})), 400)
    problem(s.call("POST", "/v1/episodes/similar", json.dumps({"vector": [1], "n": 1})), 400)
    hours = s.json("GET", "/v1/metrics/hourly?agent=default&from=2026-01-01T00:00:00Z&until=2026-01-03T00:00:00Z")[1]["hours"]
    equal(hours, [{"hour": "2026-01-02T03:00:00Z", "agent": "default", "slates": 0, "episodes": 1, "finished": 0, "reward_sum": 0.5, "reward_mean": 0.5, "places": 0, "explored": 0, "explored_share": None}])
    problem(s.call("GET", "/v1/metrics/hourly?from=yesterday"), 400)
    equal(s.json("DELETE", "/v1/users/bot-1")[0], 200)
    problem(s.call("GET", "/v1/users/bot-1/export"), 404)


@claim("search, recommend and explain answer in the documented shape")
def _(s):
    for path, body in (("/v1/search", {"text": "titre exil", "k": 3}), ("/v1/search", {"like": "film 2/é"}), ("/v1/search", {"vector": [1.0] * 32}), ("/v1/recommend", {"user": "ana", "k": 2})):
        status, a = s.json("POST", path, body)
        equal(status, 200, f"{path} {a}")
        true({"recommendation_id", "results", "strategy", "plan", "timing_us", "filled", "degraded", "notes", "lsn"} <= set(a), f"members {sorted(a)}")
        true(a["results"] and {"id", "title", "score", "strands", "because"} <= set(a["results"][0]), "a result")
    equal(set(s.json("POST", "/v1/explain", {"text": "x"})[1]), {"plan"})
    equal(set(s.json("POST", "/v1/explain", {"user": "ana"})[1]), {"plan"})


@claim("questions that cannot be meant are refused with a reason")
def _(s):
    for path, body, says in (
        ("/v1/search", "", ""), ("/v1/search", "{}", ""), ("/v1/search", "[]", ""), ("/v1/search", '{"text":"x","k":0}', "k"), ("/v1/search", '{"text":"x","k":2147483648}', "k"),
        ("/v1/search", '{"text":"x","k":1e999}', ""), ("/v1/search", '{"vector":[NaN]}', ""), ("/v1/search", '{"vector":[1]}', "32"), ("/v1/search", '{"text":"x","like":"y"}', ""),
        ("/v1/search", '{"text":"x","filter":{"colour":1}}', "colour"), ("/v1/search", '{"text":"x","deadline_ms":0}', "deadline_ms"), ("/v1/recommend", "{}", "user"),
        ("/v1/recommend", '{"user":"ana","colour":1}', "colour"), ("/v1/search", b'{"text":"\xff"}', ""), ("/v1/search", '{"text":"\\u0000"}', ""),
        ("/v1/search", '{"text":"x"', ""), ("/v1/explain", "nonsense", ""), ("/v1/search", "[" * 100000, ""), ("/v1/search", '{"a":' * 100000, ""),
    ):
        status, headers, text = s.call("POST", path, body)
        true(status in (400, 413), f"{path} {body[:60]!r} is {status}")
        problem((status, headers, text), status, says=says)


@claim("rules and experiments are written, listed, versioned, refused with a reason, in force at once, and gone when removed")
def _(s):
    asked = {"user": "visitor", "k": 5, "explore": False, "lang": "en"}
    last = s.json("POST", "/v1/recommend", asked)[1]["results"][-1]["id"]
    status, done = s.json("PUT", "/v1/rules/gala", {"pin": {"item": last, "position": 1}, "version": 0})
    equal(status, 200, str(done))
    problem(s.call("PUT", "/v1/rules/gala", json.dumps({"pin": {"item": "x"}, "version": 0})), 409, "CONFLICT")
    problem(s.call("PUT", "/v1/rules/gala", json.dumps({"pin": {"item": "x"}, "colour": 1})), 400, "UNKNOWN_FIELD", says="colour")
    problem(s.call("PUT", "/v1/rules/gala", "{"), 400)
    rule = s.json("GET", "/v1/rules/gala")[1]
    equal((rule["id"], rule["version"], rule["pin"]["position"]), ("gala", done["version"], 1))
    equal([r["id"] for r in s.json("GET", "/v1/rules?limit=1")[1]["rules"]], ["gala"])
    answer = s.json("POST", "/v1/recommend", asked)[1]
    equal((answer["results"][0]["id"], answer["results"][0]["because"][0]), (last, "pinned by the editors"))
    equal(s.json("DELETE", "/v1/rules/gala")[0], 200)
    problem(s.call("GET", "/v1/rules/gala"), 404)
    problem(s.call("DELETE", "/v1/rules/gala"), 404)
    true(s.json("POST", "/v1/recommend", asked)[1]["results"][0]["id"] != last, "the pin is gone")

    arms = [{"name": "as-is"}, {"name": "popular", "ranker": "popular"}]
    equal(s.json("PUT", "/v1/experiments/pop", {"status": "running", "arms": arms})[0], 200)
    problem(s.call("PUT", "/v1/experiments/pop", json.dumps({"status": "running", "arms": arms[::-1]})), 409, says="stop it")
    answer = s.json("POST", "/v1/recommend", {"user": "visitor", "k": 3})[1]
    equal(answer["experiment"]["id"], "pop")
    true(answer["experiment"]["arm"] in ("as-is", "popular"), str(answer["experiment"]))
    standing = s.json("GET", "/v1/experiments/pop/standing")[1]
    equal((standing["status"], standing["slates"], [a["arm"] for a in standing["arms"]]), ("running", 1, ["as-is", "popular"]))
    equal([e["id"] for e in s.json("GET", "/v1/experiments")[1]["experiments"]], ["pop"])
    equal(s.json("DELETE", "/v1/experiments/pop")[0], 200)
    problem(s.call("GET", "/v1/experiments/pop/standing"), 404)


@claim("another policy is judged by what was shown; a policy that is none is refused")
def _(s):
    status, e = s.json("POST", "/v1/evaluate", {"policy": "popular", "places": 3})
    equal(status, 200, str(e))
    true({"logged", "ips", "snips", "dr", "effective", "skipped", "warnings"} <= set(e), f"members {sorted(e)}")
    for body in ('{"policy":"magic"}', '{"policy":{"weights":{"luck":1}}}', "{}", "[]", '{"policy":"popular","places":99}', "", "[" * 100000):
        true(s.call("POST", "/v1/evaluate", body)[0] in (400, 413), body[:40])


@claim("what is queued is acknowledged at once, soon there, and counted")
def _(s):
    lines = "\n".join(json.dumps({"user": "queuer", "item": i, "type": "like"}) for i in ("film 2/é", "nowhere", "film 3/é"))
    status, report = s.json("POST", "/v1/interactions?ack=queued", lines, NDJSON)
    equal((status, report["accepted"], [(r["line"], r["code"]) for r in report["rejected"]]), (200, 2, [(2, "NOT_FOUND")]))
    until("two interactions of the queuer", lambda: len(s.json("GET", "/v1/users/queuer/export")[1].get("interactions", [])) == 2)
    until("nothing waits", lambda: b"\nbraid_interactions_waiting 0\n" in s.call("GET", "/metrics")[2])
    true(b"\nbraid_interactions_queued_total 2\n" in s.call("GET", "/metrics")[2], "two were queued")
    equal(s.json("POST", "/v1/interactions?ack=durable", {"user": "queuer", "item": "film 2/é", "type": "view"})[1]["accepted"], 1)
    problem(s.call("POST", "/v1/interactions?ack=maybe", "{}"), 400, says="queued")
    equal(s.call("DELETE", "/v1/users/queuer")[0], 200)


@claim("state, metrics, health, readiness and verification answer")
def _(s):
    for path in ("/v1/info", "/v1/info?section=vector", "/v1/doctor", "/healthz", "/readyz"):
        equal(s.json("GET", path)[0], 200, path)
    equal(s.json("POST", "/v1/verify")[1]["ok"], True)
    problem(s.call("POST", "/v1/verify?repair=yes"), 400, says="repair")
    problem(s.call("GET", "/v1/info?section=none"), 404)
    status, headers, text = s.call("GET", "/metrics")
    equal((status, headers["Content-Type"]), (200, "text/plain; version=0.0.4; charset=utf-8"))
    true(b'http_requests' in text and b'route="/v1/items/{id}"' in text, "requests are counted by route")
    true(b"film" not in text, "no id becomes a label")


@claim("what people did is learned from, whole or in parts; an unknown word or field is refused")
def _(s):
    for body in ({"what": "all"}, {"what": "similar"}, {}, b""):
        status, learned = s.json("POST", "/v1/learn", body)
        equal(status, 200, str(body))
        true(isinstance(learned["models"], list) and learned["interactions"] >= 0 and learned["seconds"] >= 0, str(learned))
    standing = s.json("GET", "/v1/learners")[1]
    equal((standing["running"], standing["phase"], standing["new_interactions"], standing["last"]["what"]), (False, None, 0, "all"))
    equal(s.json("GET", "/v1/info?section=learn")[1]["learn"]["last"], standing["last"])
    problem(s.call("POST", "/v1/learn", json.dumps({"what": "everything"})), 400, says="similar")
    for body in ('{"all":true}', '{"what":1}', "[]", "{", "[" * 100000, '{"what":"all","what":"all"}'):
        problem(s.call("POST", "/v1/learn", body), 400, says="the body")
    problem(s.call("POST", "/v1/learn?what=all", "{}"), 400, says="what")
    problem(s.call("GET", "/v1/learn"), 405, "METHOD")


@claim("patterns are looked for alone or with the rest, and listed by kind or of one person")
def _(s):
    status, learned = s.json("POST", "/v1/learn", {"what": "patterns"})
    equal((status, learned["models"], len(learned["patterns"]["kinds"])), (200, [], 4))
    equal(s.json("GET", "/v1/learners")[1]["last"]["what"], "all", "the models are as they were")
    status, listed = s.json("GET", "/v1/patterns")
    equal((status, listed["learned"]["sample"]), (200, 1))
    for kind in listed["learned"]["tested"]:
        equal(s.json("GET", f"/v1/patterns?kind={kind}&limit=5")[0], 200, kind)
    problem(s.call("GET", "/v1/patterns?kind=weather"), 400, says="seasonal_trend")
    problem(s.call("GET", "/v1/patterns?kind=seasonal_trend&user=x"), 400, says="user_preference")
    problem(s.call("GET", "/v1/patterns?limit=0"), 400, says="limit")
    problem(s.call("GET", "/v1/patterns?user=nobody-known"), 404)
    problem(s.call("POST", "/v1/patterns", "{}"), 405, "METHOD")


@claim("an export is followed by its header to the end and taken back whole")
def _(s):
    cursor, lines = "", b""
    for _ in range(1000):
        status, headers, text = s.call("GET", "/v1/export?limit=3" + ("&cursor=" + quote(cursor, safe="") if cursor else ""))
        equal((status, headers["Content-Type"]), (200, "application/x-ndjson"))
        lines += text
        cursor = headers["Braid-Next"]
        if not cursor:
            break
    true(lines.count(b"\n") >= 8 and not cursor, f"{lines.count(10)} lines")
    report = s.json("POST", "/v1/items", lines, NDJSON)[1]
    equal((report["accepted"], report["rejected"]), (lines.count(b"\n"), []))
    problem(s.call("GET", "/v1/export?cursor=nonsense"), 400)


@claim("the specification is valid and names every route of docs/api.md")
def _(s):
    spec = s.json("GET", "/openapi.json")[1]
    true(spec["openapi"].startswith("3."), "version")
    for path in ("/v1/items", "/v1/items/{id}", "/v1/items/{id}/similar", "/v1/search", "/v1/recommend", "/v1/interactions", "/v1/episodes", "/v1/users/{id}/policy", "/v1/export"):
        true(path in spec["paths"], path)
    ids = [op["operationId"] for p in spec["paths"].values() for op in p.values()]
    equal(len(ids), len(set(ids)), "operation ids are unique")
    try:
        from openapi_spec_validator import validate
    except ImportError:
        print("     (openapi_spec_validator is not installed: only the shape was checked)")
        return
    validate(spec)


# ---- addresses and methods

@claim("unknown addresses are 404, unknown methods 405 with Allow, OPTIONS lists, HEAD has no body")
def _(s):
    for path in ("/v1", "/v1/", "/v2/items", "/v1/items/", "/v1/items/a/b", "//v1/items", "/v1/items/a/similar/", "/" + "a/" * 50):
        problem(s.call("GET", path), 404, "NOT_FOUND")
    for method, path in (("PATCH", "/v1/items/a"), ("DELETE", "/v1/items"), ("GET", "/v1/search"), ("POST", "/healthz"), ("BREW", "/v1/items"), ("TRACE", "/v1/items")):
        answer = s.call(method, path)
        problem(answer, 405, "METHOD")
        true("OPTIONS" in answer[1]["Allow"] and method not in answer[1]["Allow"], answer[1]["Allow"])
    status, headers, body = s.call("OPTIONS", "/v1/items/a")
    equal((status, headers["Allow"], body), (204, "GET, HEAD, PUT, DELETE, OPTIONS", b""))
    status, headers, body = s.call("HEAD", "/v1/items")
    equal((status, body), (200, b""))
    equal(int(headers["Content-Length"]), len(s.call("GET", "/v1/items")[2]), "length as GET's")


@claim("parameters that are unknown, repeated, malformed or out of range are named with their range")
def _(s):
    for path, says in (("/v1/items?limit=0", "1..1000"), ("/v1/items?limit=1001", "1..1000"), ("/v1/items?limit=1e2", "limit"), ("/v1/items?limit=1&limit=2", "twice"),
                       ("/v1/items?page=1", "page"), ("/v1/items?q=%zz", "escape"), ("/v1/items?q=%00", "%00"), ("/healthz?x", "takes none"), ("/v1/export?limit=10001", "1..10000")):
        problem(s.call("GET", path), 400, "INVALID", says)
    equal(s.call("GET", "/v1/items?after=&limit=&q=")[0], 200, "empty is the same as absent")


@claim("%00, broken escapes and broken UTF-8 in an address are refused")
def _(s):
    for path in ("/v1/items/a%00b", "/v1/items/%", "/v1/items/%f", "/v1/items/%ff", "/v1/items/%c0%af", "/v1/items/%ed%a0%80", "/%00"):
        problem(s.call("GET", path), 400, "INVALID")
    equal(status_of(s.raw(b"GET /v1/items/a\xff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")), 400, "a raw byte")
    true(status_of(s.raw(b"GET http://x/healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")) == 200, "the absolute form is taken")


@claim("every answer carries its headers; a page's file is revalidated by its tag")
def _(s):
    _, headers, _ = s.call("GET", "/v1/items")
    equal((headers["Content-Type"], headers["Cache-Control"], headers["X-Content-Type-Options"]), ("application/json", "no-store", "nosniff"))
    status, headers, page = s.call("GET", "/")
    if status == 404:
        raise AssertionError("the page is not built in")
    equal((status, headers["Content-Type"]), (200, "text/html; charset=utf-8"))
    true("default-src 'self'" in headers["Content-Security-Policy"], "policy")
    equal(s.call("GET", "/", headers={"If-None-Match": headers["ETag"]})[0::2], (304, b""))
    equal(s.call("GET", "/", headers={"If-None-Match": '"other"'})[0::2], (200, page))
    for path in ("/assets/../Makefile", "/assets/%2e%2e/Makefile", "/assets/%2Fetc%2Fpasswd", "/assets/none.js"):
        equal(s.call("GET", path)[0], 404, path)


# ---- framing

@claim("a request whose end could be read in two ways is refused and ends the connection")
def _(s):
    def ask(*lines, body=b""):  # what follows the body must not be taken for a request
        answer = s.raw("\r\n".join(("POST /v1/search HTTP/1.1",) + lines + ("", "")).encode() + body + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        true(b"HTTP/1.1 2" not in answer, f"nothing is answered beyond the refusal: {answer[:300]!r}")
        return status_of(answer)

    chunk = b"5\r\nhello\r\n0\r\n\r\n"
    equal(ask("Host: x", "Content-Length: 5", "Transfer-Encoding: chunked", body=chunk), 400, "both")
    equal(ask("Host: x", "Transfer-Encoding: chunked", "Content-Length: 5", body=chunk), 400, "both, turned")
    equal(ask("Host: x", "Content-Length: 5", "Content-Length: 6", body=b"hello!"), 400, "two lengths")
    equal(ask("Host: x", "Content-Length: 5", "Content-Length: 5", body=b"hello"), 400, "two equal lengths")
    equal(ask("Host: x", "Transfer-Encoding: gzip, chunked", body=chunk), 501, "another coding")
    equal(ask("Host: x", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body=chunk), 400, "two codings")
    for length in ("-5", "+5", "5 5", "0x5", "99999999999999999999"):
        true(ask("Host: x", "Content-Length: " + length, body=b"hello") in (400, 413), length)
    equal(ask("Content-Length: 5", body=b"hello"), 400, "no Host")
    equal(ask("Host: x", "Host: y", "Content-Length: 5", body=b"hello"), 400, "two Hosts")
    true(ask("Host: x", "Content-Length : 5", body=b"hello") == 400, "a space before the colon")
    equal(ask("Host: x", "Content-Encoding: gzip", "Content-Length: 5", body=b"hello"), 415, "compressed")
    equal(ask("Host: x", "Sec-Fetch-Site: cross-site", "Content-Length: 5", body=b"hello"), 403, "another site's page")


@claim("garbage instead of a request harms nobody")
def _(s):
    for data in (b"\r\n\r\n\r\n", b"\0" * 1000, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20, b"G" * 100000,
                 b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 40000 + b"\r\n\r\n", b"GET /" + b"a" * 40000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
                 b"POST /v1/items HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                 b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 5000 + b"\r\n"):
        answer = s.raw(data, timeout=3)  # some of it waits for more
        true(status_of(answer) in (0, 200, 400, 404, 413, 414, 431, 501, 505), f"{data[:40]!r}: {answer[:60]!r}")
        equal(s.call("GET", "/healthz")[0], 200)


@claim("keep-alive and pipelining serve one answer a request, in order")
def _(s):
    c = http.client.HTTPConnection(*s.address, timeout=PATIENCE_S)
    for i in range(50):
        c.request("POST", "/v1/search", json.dumps({"text": f"titre {i}"}))
        r = c.getresponse()
        equal((r.status, r.read()[:1]), (200, b"{"))
        c.request("GET", "/v1/none")
        equal(c.getresponse().read()[:1], b"{")
    c.close()
    one = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = s.raw(one * 9 + b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    equal(answer.count(b"HTTP/1.1 200"), 9)
    true(answer.index(b"HTTP/1.1 404") > answer.rindex(b"HTTP/1.1 200"), "order")


# ---- bodies

@claim("a body over a limit is refused with 413, whether its length was said or not")
def _(s):
    big = b'{"text":"' + b"a" * JSON_BYTES + b'"}'
    problem(s.call("POST", "/v1/search", big), 413, "TOO_LARGE", "limits.json_bytes")
    problem(s.call("POST", "/v1/items", big), 413, "TOO_LARGE", "application/x-ndjson")
    c = http.client.HTTPConnection(*s.address, timeout=PATIENCE_S)
    c.request("POST", "/v1/search", iter([big[i:i + 65536] for i in range(0, len(big), 65536)]))  # chunked
    r = c.getresponse()
    problem((r.status, r.headers, r.read()), 413, "TOO_LARGE")
    c.request("GET", "/healthz")
    equal(c.getresponse().status, 200, "the connection goes on after a body that was read to its end")
    c.close()
    with s.connect() as k:
        k.sendall(b"POST /v1/items HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n" % (BODY_BYTES + 1))
        equal(status_of(k.recv(4096)), 413, "refused before it is sent")
    with s.connect() as k:
        k.sendall(b"POST /v1/items HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000000000\r\n\r\n")
        equal(status_of(k.recv(4096)), 413, "absurd")


@claim("NDJSON over the limit keeps what was written and says how much")
def _(s):
    line = json.dumps(item(9)).encode() + b"\n"
    body = line * (BODY_BYTES // len(line) + 100)
    answer = s.call("POST", "/v1/items", iter([body[i:i + 262144] for i in range(0, len(body), 262144)]), NDJSON, timeout=2 * PATIENCE_S)
    p = problem(answer, 413, "TOO_LARGE", "limits.body_bytes")
    true(p["written"]["accepted"] > 1000 and p["written"]["lsn"], str(p["written"])[:200])


@claim("NDJSON of any length runs in constant memory and numbers its lines")
def _(s):
    def body():
        for i in range(20000):
            yield (b'{"id":"bulk %d","title":"Titre %d","synopsis":"%s"}\n' % (i % 500, i, b"mot " * 150)) if i % 1000 != 999 else b"{bad\n"

    before = s.rss_kb()
    peak = [before]
    done = threading.Event()

    def watch():
        while not done.wait(0.05):
            peak[0] = max(peak[0], s.rss_kb())

    w = threading.Thread(target=watch)
    w.start()
    try:
        def pieces():
            text = b""
            for line in body():
                text += line
                if len(text) > 50000:
                    yield text
                    text = b""
            yield text
        status, _, text = s.call("POST", "/v1/items", pieces(), NDJSON, timeout=2 * PATIENCE_S)
    finally:
        done.set()
        w.join()
    report = json.loads(text)
    equal((status, report["accepted"], len(report["rejected"])), (200, 19980, 20), text[:300].decode())
    equal([r["line"] for r in report["rejected"]], list(range(1000, 20001, 1000)), "line numbers")
    grown = (peak[0] - before) / 1024
    print(f"     (13 MB of NDJSON: resident memory grew by {grown:.0f} MB)")
    true(grown < (400 if "asan" in s.braid else 64), f"memory grew by {grown:.0f} MB")  # ASan keeps what was freed


@claim("a stream that breaks off keeps its whole pieces and nothing half")
def _(s):
    lines = b"".join(b'{"id":"broken %d","title":"Titre","synopsis":"%s"}\n' % (i, b"x" * 900) for i in range(800))
    with s.connect() as k:
        k.sendall(b"POST /v1/items HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: %d\r\n\r\n" % (len(lines) + 1000) + lines)
        until("a line of a written piece", lambda: s.call("GET", "/v1/items/broken%20500")[0] == 200)
    equal(s.call("GET", "/v1/items/broken%20799")[0], 404, "a line of the piece that never was complete")


@claim("thousands of rejections are listed up to a thousand and counted to the last")
def _(s):
    report = s.json("POST", "/v1/items", b"{bad\n" * 200000, NDJSON)[1]
    equal((len(report["rejected"]), report["rejected_total"], report["accepted"]), (1000, 200000, 0))


@claim("a line beyond the limit is named and the lines around it are kept")
def _(s):
    line = b'{"id":"long","title":"' + b"a" * (JSON_BYTES + 100000) + b'"}\n'
    report = s.json("POST", "/v1/items", json.dumps(item(10)).encode() + b"\n" + line + json.dumps(item(11)).encode(), NDJSON)[1]
    equal((report["accepted"], [(r["line"], r["code"]) for r in report["rejected"]]), (2, [(2, "TOO_LARGE")]))


@claim("held bodies have a ceiling together: beyond it the answer is 503 with Retry-After")
def _(_):
    with Serving(sys.argv[1] if len(sys.argv) > 1 else None, json_bytes=JSON_BYTES, body_bytes=BODY_BYTES, request_ms=10 * PATIENCE_S * 1000) as s:
        body = b"[" + b" " * (JSON_BYTES - 1000) + b"]"
        crowd = [s.connect() for _ in range(24)]
        for c in crowd:
            c.sendall(b"POST /v1/items HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:-1])
        until("all of it is in the server", lambda: s.unread() == 0)
        answers = []
        for c in crowd:
            c.sendall(body[-1:])
            answers.append(read_all(c))
            c.close()
        states = [status_of(a) for a in answers]
        equal(set(states), {200, 503}, str(states))
        true(states.count(200) >= 8, str(states))
        true(all((b"Retry-After: 1" in a) == (status_of(a) == 503) for a in answers), "Retry-After")
        equal(s.json("POST", "/v1/items", body)[0], 200, "and room again afterwards")


@claim("clients that write at once all get their own answer")
def _(s):
    wrong = []

    def one(n):
        c = http.client.HTTPConnection(*s.address, timeout=PATIENCE_S)
        for i in range(25):
            name = f"many {n} {i}"
            c.request("PUT", "/v1/items/" + quote(name), json.dumps({"title": name}))
            if json.loads(c.getresponse().read()).get("accepted") != 1:
                wrong.append(name)
            c.request("GET", "/v1/items/" + quote(name))
            if json.loads(c.getresponse().read()).get("title") != name:
                wrong.append(name)
        c.close()

    threads = [threading.Thread(target=one, args=(n,)) for n in range(12)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    equal(wrong, [])


@claim("slow questions on other connections hold up no cheap one")
def _(s):
    s.json("POST", "/v1/items", {"id": "beside", "title": "beside"})
    epoch, lsn = s.json("POST", "/v1/search", {"text": "beside"})[1]["lsn"].split("-")
    never = f"{epoch}-{int(lsn, 16) + (1 << 30):x}"  # a write that does not come: the question waits for half of its deadline

    def ask(method, path, body, times, done, sent):
        c = http.client.HTTPConnection(*s.address, timeout=PATIENCE_S)
        for _ in range(times):
            c.request(method, path, body)
            sent.append(True)
            c.getresponse().read()
            done.append(time.monotonic())
        c.close()

    # All cheap ones are answered before the first slow one is. A machine that needs longer for four hundred than that one waits gets another, longer one.
    for deadline_ms in (4000, 12000, 60000):
        slow, cheap, sent, question = [], [], [], json.dumps({"text": "beside", "min_lsn": never, "deadline_ms": deadline_ms})
        crowd = [threading.Thread(target=ask, args=("POST", "/v1/search", question, 1, slow, sent)) for _ in range(8)]
        asking = [threading.Thread(target=ask, args=("GET", "/v1/items/beside", None, 50, cheap, [])) for _ in range(8)]
        for t in crowd:
            t.start()
        until("the slow ones are in the server", lambda: len(sent) == 8 and s.unread() == 0)
        for t in asking:
            t.start()
        for t in asking + crowd:
            t.join()
        equal((len(cheap), len(slow)), (400, 8))
        if max(cheap) < min(slow):
            return
    raise AssertionError(f"the last cheap one came {max(cheap) - min(slow):.1f} s after the first slow one")


@claim("after all this the stores agree and the log holds no defect")
def _(s):
    equal(s.json("POST", "/v1/verify")[1]["ok"], True)
    equal(s.defects(), "")


# ---- a life of its own

def port_taken(s):
    other = Serving(s.braid, listen=f"{s.address[0]}:{s.address[1]}")
    try:
        with other:
            raise AssertionError("two servers on one port")
    except SystemExit as e:
        true("is taken" in str(e), str(e))


@claim("a taken port is told with the way out")
def _(s):
    port_taken(s)


@claim("a stop lets the request in hand end, and ends soon")
def _(s):
    with Serving(s.braid, request_ms=10 * PATIENCE_S * 1000) as other:
        idle = other.connect()
        busy = other.connect()
        body = b'{"id":"last","title":"x"}'
        busy.sendall(b"PUT /v1/items/last HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
        heard = b""
        while not heard.endswith(b"\r\n\r\n"):
            heard += busy.recv(1)
        true(b" 100 " in heard, heard.decode("latin1"))  # the request is in its hand
        other.process.terminate()
        equal(read_all(idle), b"")  # the stop has begun: whoever asks nothing is sent away
        busy.sendall(body)
        answer = read_all(busy)
        equal(status_of(answer), 200, answer[:200].decode("latin1"))
        true(b"Connection: close" in answer, "told that it is the last")
        equal(other.process.wait(PATIENCE_S), 0, "exit code (a leak would show here, under ASan)")
        try:
            socket.create_connection(other.address, timeout=1).close()
            raise AssertionError("still accepting")
        except ConnectionError:
            pass


if __name__ == "__main__":
    with Serving(sys.argv[1] if len(sys.argv) > 1 else None, json_bytes=JSON_BYTES, body_bytes=BODY_BYTES) as server:
        sys.exit(claim.run(server))
