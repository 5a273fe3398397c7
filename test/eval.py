#!/usr/bin/env python3
"""The evaluation, end to end: every claim runs the real program over an invented MovieLens folder, in which people like the films
of one circle and few others, so that who has learned anything must beat what is merely popular.

The figures are not believed: the database is kept and served, the same questions are asked over HTTP, and the splits and the
figures are computed here again, from the text of the protocols. Usage: test/eval.py [path/to/braid] [--only=WORD]
BRAID_TEST_MOVIELENS=FOLDER (and BRAID_TEST_SPLITS=FOLDER) run the claims about real data too.
"""
import json, math, os, random, re, shutil, signal, subprocess, sys, tempfile, time, urllib.request

from serving import PATIENCE_S, catches

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WORDS = [a for a in sys.argv[1:] if not a.startswith("--")]
BRAID = os.path.abspath(WORDS[0]) if WORDS else os.path.join(ROOT, "build/release/braid")
ONLY = next((a.split("=", 1)[1] for a in sys.argv[1:] if a.startswith("--only=")), "")
ENV = {k: v for k, v in os.environ.items() if not k.startswith("BRAID__")}
REAL, SPLITS = os.environ.get("BRAID_TEST_MOVIELENS"), os.environ.get("BRAID_TEST_SPLITS")
HERE = tempfile.mkdtemp(prefix="braid-test-eval-")
claims = []


def claim(f):
    claims.append(f)
    return f


def check(ok, *shown):
    if not ok:
        raise AssertionError(" | ".join(str(s) for s in shown) or "the claim does not hold")


def run(*words, limit=8 * PATIENCE_S, env=None):
    return subprocess.run([BRAID, *map(str, words)], capture_output=True, text=True, timeout=limit, env=dict(ENV, **(env or {})), cwd=HERE, stdin=subprocess.DEVNULL)


def evaluate(*words, **more):
    p = run("eval", "movielens", *words, "--json", "--quiet", **more)
    check(p.returncode == 0 and not p.stderr, p.returncode, p.stderr[-600:])
    return json.loads(p.stdout)


def row(protocol, ranker):
    return next(r for r in protocol["rankers"] if r["ranker"] == ranker)


# ---- an invented folder ----

CIRCLES, FILMS, PEOPLE = 5, 200, 90


def invent(folder, seed=7):
    """Ratings: of each person about thirty, four in five of their circle's films (3.5 to 5), the others below. Ids have gaps, as the real ones."""
    draw = random.Random(seed)
    os.makedirs(folder, exist_ok=True)
    films = [10 + 3 * i for i in range(FILMS)]
    with open(f"{folder}/movies.csv", "w") as f:
        f.write("movieId,title,genres\n" + "".join(f"{m},Film {m} ({1960 + i % 60}),{['Drama', 'Comedy', 'War'][i % 3]}\n" for i, m in enumerate(films)))
    ratings = []
    for u in range(1, PEOPLE + 1):
        own = [m for i, m in enumerate(films) if i % CIRCLES == u % CIRCLES]
        other = [m for i, m in enumerate(films) if i % CIRCLES != u % CIRCLES]
        chosen = [(m, draw.choice((3.5, 4, 4.5, 5))) for m in draw.sample(own, 24)] + [(m, draw.choice((1, 2, 2.5, 3))) for m in draw.sample(other, 6)]
        draw.shuffle(chosen)
        at = 900000000 + draw.randrange(10 ** 7)
        for m, value in chosen:
            at += draw.randrange(5000)
            ratings.append((u, m, value, at))
    with open(f"{folder}/ratings.csv", "w") as f:
        f.write("userId,movieId,rating,timestamp\n" + "".join(f"{u},{m},{v},{at}\n" for u, m, v, at in sorted(ratings)))
    with open(f"{folder}/tags.csv", "w") as f:
        f.write("userId,movieId,tag,timestamp\n" + "".join(f"{u},{m},circle {u % CIRCLES},{at + 1}\n" for u, m, v, at in ratings[::17]))
    return ratings


# ---- the protocols, once more ----

def by_time(ratings):
    """{user: (known, test)} of p1."""
    people = {}
    for r in sorted(ratings, key=lambda r: (r[3], r[1])):
        people.setdefault(r[0], []).append(r)
    return {u: (h[:len(h) - len(h) // 5], h[len(h) - len(h) // 5:]) for u, h in sorted(people.items()) if len(h) >= 10}


def figures(listed, good):
    gain = sum(1 / math.log2(i + 2) for i, m in enumerate(listed[:10]) if m in good)
    return gain / sum(1 / math.log2(i + 2) for i in range(min(10, len(good)))), len(good & set(listed[:10])) / len(good), float(bool(good & set(listed[:10])))


def moment(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


class Served:
    def __init__(self, db):
        self.p = subprocess.Popen([BRAID, "serve", "--db", db, "--listen", "127.0.0.1:0", "--learn-baselines", "--learn-patterns", "false"], cwd=HERE, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        found = re.search(r"http://[\d.:]+", self.p.stdout.readline().decode())
        check(found, "no address was printed", self.p.poll())
        self.url = found[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.p.send_signal(signal.SIGINT)
        self.p.communicate(timeout=PATIENCE_S)

    def post(self, path, **body):
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        return json.load(urllib.request.urlopen(request, timeout=PATIENCE_S))


@claim
def the_figures_are_those_that_the_same_questions_give_over_http():
    ratings = invent(f"{HERE}/ml")
    done = evaluate("ml", "--protocol", "p1", "--rankers", "popular,learned", "--keep", "kept")
    p1 = done["protocols"][0]
    people = by_time(ratings)
    looked_for = {u: {r[1] for r in test if r[2] >= 4} for u, (_, test) in people.items()}
    looked_for = {u: good for u, good in looked_for.items() if good}
    check((p1["users"], p1["liked"], p1["fit"], p1["candidates"]) == (len(looked_for), sum(map(len, looked_for.values())), sum(len(k) for k, _ in people.values()), FILMS), p1)
    counts, shown = {}, {"popular": [], "learned": []}
    for known, _ in people.values():
        for r in known:
            counts[r[1]] = counts.get(r[1], 0) + 1
    with Served("kept/p1.db") as s:
        s.post("/v1/learn", what="all")  # what is there to compare with is not kept over a restart
        for ranker in shown:
            sums = [0, 0, 0]
            for u, good in looked_for.items():
                known = people[u][0]
                hits = s.post("/v1/recommend", user=f"ml-user-{u}", agent="eval", k=10, ranker=ranker, explore=False, diversity=0, cache=False, context={"as_of": moment(known[-1][3] + 1)})["results"]
                listed = [int(h["id"][3:]) for h in hits]
                check(not set(listed) & {r[1] for r in known}, "what was seen is shown", u, listed)
                shown[ranker] += listed
                sums = [a + b for a, b in zip(sums, figures(listed, good))]
            mine = [x / len(looked_for) for x in sums]
            theirs = [row(p1, ranker)[key] for key in ("ndcg", "recall", "hit")]
            check(all(abs(a - b) < 1e-9 for a, b in zip(mine, theirs)), ranker, mine, theirs)
            check(abs(row(p1, ranker)["coverage"] - len(set(shown[ranker])) / FILMS) < 1e-9, row(p1, ranker))
            order = sorted(range(10, 10 + 3 * FILMS, 3), key=lambda m: (-counts.get(m, 0), m))
            rank = {m: i + 1 for i, m in enumerate(order)}
            check(abs(row(p1, ranker)["popularity_rank"] - sum(rank[m] for m in shown[ranker]) / len(shown[ranker])) < 1e-6, row(p1, ranker))
            total = sum(counts.values()) + FILMS
            bits = -sum(math.log2((counts.get(m, 0) + 1) / total) for m in shown[ranker]) / len(shown[ranker])
            check(abs(row(p1, ranker)["novelty_bits"] - bits) < 1e-6, row(p1, ranker), bits)
    again = run("eval", "movielens", "ml", "--protocol", "p1", "--keep", "kept")
    check(again.returncode == 1 and "p1.db is there already" in again.stderr and os.path.exists(f"{HERE}/kept/p1.db"), again)


@claim
def who_has_learned_beats_what_is_popular_under_every_protocol():
    invent(f"{HERE}/ml")
    done = evaluate("ml", "--rankers", "learned,popular", "--events", "300", "--relearn", "100")
    check([p["protocol"] for p in done["protocols"]] == ["p1", "p2", "p3", "p4", "p4"], done)
    for p in done["protocols"]:
        figure = "reward" if p["protocol"] == "p4" else "ndcg"
        learned, popular = row(p, "learned"), row(p, "popular")
        check(learned["short"] == learned["degraded"] == 0 and learned.get("seen", 0) == 0, p["protocol"], learned)
        if p["protocol"] != "p3":  # invented films without ratings differ in their genre alone, which says nothing
            check(learned[figure] > popular[figure], p["protocol"], learned, popular)
        low, high = learned.get(figure + "_95", (0, 1))
        check(low <= learned[figure] <= high, learned)
    check(len(done["protocols"][2]["folds"]) == 5 and "ndcg_sd" in row(done["protocols"][2], "learned"), done["protocols"][2])
    check(done["protocols"][3]["lessons"] == 3 and done["protocols"][3]["events"] == 300 and done["protocols"][3]["fit"] == PEOPLE * 30 // 2, done["protocols"][3])


@claim
def two_runs_give_the_same_figures():
    invent(f"{HERE}/ml")
    times = ("ask_p50_us", "ask_p99_us")
    first, second = ([{k: v for k, v in r.items() if k not in times} for p in evaluate("ml", "--protocol", "p1,p4", "--events", "40", "--rankers", "learned,thompson")["protocols"]
                      for r in p["rankers"]] for _ in range(2))
    check(first == second, first, second)


@claim
def validation_holds_another_part_back_and_never_touches_the_test():
    ratings = invent(f"{HERE}/ml")
    done = evaluate("ml", "--on", "validation", "--rankers", "popular", "--protocol", "p1,p3")
    p1, p3 = done["protocols"]
    fit = good = 0
    for known, _ in by_time(ratings).values():
        cut = len(known) - len(known) // 5
        fit += cut
        good += sum(r[2] >= 4 for r in known[cut:])
    check((p1["fit"], p1["liked"]) == (fit, good) and done["on"] == "validation", p1, fit, good)
    check(len(p3["folds"]) == 1 and p3["candidates"] == FILMS // 10 and "ndcg_sd" not in row(p3, "popular"), p3)


@claim
def the_table_has_a_line_a_ranker_and_says_what_it_was_computed_over():
    invent(f"{HERE}/ml")
    p = run("eval", "movielens", "ml", "--protocol", "p1", "--rankers", "popular,learned", "--limit-users", "20")
    check(p.returncode == 0 and p.stderr == "reading ml ...\np1 ...\n", p.stderr)
    lines = p.stdout.splitlines()
    check(lines[0].startswith("p1, test: 20 people look for ") and "among 200 films" in lines[0], p.stdout)
    check(lines[1].split()[:2] == ["ranker", "NDCG@10"] and [l.split()[0] for l in lines[2:4]] == ["popular", "learned"], p.stdout)
    check(re.match(r"popular +0\.\d{4}  0\.\d{4} to [01]\.\d{4} ", lines[2]), p.stdout)


@claim
def ctrl_c_ends_it_soon_and_leaves_no_folder_behind():
    invent(f"{HERE}/ml")
    place = f"{HERE}/temporary"
    os.makedirs(place, exist_ok=True)
    for seconds in (0.3, 1.0):
        p = subprocess.Popen([BRAID, "eval", "movielens", "ml", "--protocol", "p4", "--rankers", "popular,learned"], cwd=HERE, env=dict(ENV, TMPDIR=place), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while not catches(p.pid, signal.SIGINT):
            time.sleep(0.01)
        time.sleep(seconds)
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=PATIENCE_S)
        check(p.returncode == 1 and "stopped" in err and not out, p.returncode, out, err)
        check(os.listdir(place) == [], os.listdir(place))
    p = subprocess.Popen([BRAID, "eval", "movielens", "ml", "--protocol", "p1,p4", "--rankers", "popular"], cwd=HERE, env=dict(ENV, TMPDIR=place), stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
    first = [p.stdout.readline() for _ in range(4)]  # a table is printed as soon as it is known, and stays
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=PATIENCE_S)
    check(p.returncode == 1 and first[0].startswith("p1, test: ") and first[2].startswith("popular ") and "stopped" in err and "p4" not in out, first, out, err)
    check(os.listdir(place) == [], os.listdir(place))


@claim
def what_is_missing_or_wrong_is_said_with_file_and_line():
    invent(f"{HERE}/ml")

    def broken(name, change):
        shutil.rmtree(f"{HERE}/broken", ignore_errors=True)
        shutil.copytree(f"{HERE}/ml", f"{HERE}/broken")
        text = open(f"{HERE}/broken/{name}").read()
        open(f"{HERE}/broken/{name}", "w").write(change(text))

    def refused(says, *words):
        p = run("eval", "movielens", *words, "--quiet", "--protocol", "p1", "--rankers", "popular")
        check(p.returncode == 1 and p.stderr.startswith("braid: ") and p.stderr.count("\n") == 1 and says in p.stderr and not p.stdout, says, p.returncode, p.stderr)

    refused("nowhere/movies.csv: No such file or directory; give the folder that holds movies.csv and ratings.csv", "nowhere")
    for name, change, says in (("ratings.csv", lambda t: t + "1,99999,4,1\n", f"ratings.csv:{PEOPLE * 30 + 2}: movies.csv does not have this film"),
                               ("ratings.csv", lambda t: t + "1,10,6,1\n", "the rating is not a number from 0.5 to 5"), ("ratings.csv", lambda t: t + "1,10\n", "as many fields"),
                               ("ratings.csv", lambda t: t.replace("rating,", "stars,"), 'ratings.csv:1: the column "rating" is missing'),
                               ("ratings.csv", lambda t: t.split("\n")[0] + "\n", "holds no ratings"), ("ratings.csv", lambda t: t + t.split("\n")[1] + "\n", "twice"),
                               ("movies.csv", lambda t: t + "9,Early (1990),Drama\n", "ascending"), ("tags.csv", lambda t: t + "1,10,x,soon\n", "tags.csv:")):
        broken(name, change)
        refused(says, "broken")
    os.remove(f"{HERE}/broken/ratings.csv")
    refused("ratings.csv: No such file", "broken")
    refused("nothing.ndjson", "ml", "--content-items", "nothing.ndjson")
    with open(f"{HERE}/items.ndjson", "w") as f:
        f.write('{"movieId":10,"cast":["Ana"]}\n{"movieId":"13"}\n')
    refused('items.ndjson:2: there is no "movieId"', "ml", "--content-items", "items.ndjson")
    refused("ml/movies.csv: this is not a file of numpy.save", "ml", "--content-items", "items.ndjson", "--content", "ml/movies.csv")
    refused("p1.csv: No such file", "ml", "--splits", "nowhere")
    os.makedirs(f"{HERE}/splits", exist_ok=True)
    with open(f"{HERE}/splits/p1.csv", "w") as f:
        f.write("userId,movieId,set\n" + open(f"{HERE}/ml/ratings.csv").read().split("\n")[1].rsplit(",", 2)[0] + ",never\n")
    refused('p1.csv:2: this is "never" there', "ml", "--splits", "splits")


@claim
def vectors_and_people_are_taken_from_files():
    invent(f"{HERE}/ml")
    ids = [10 + 3 * i for i in range(FILMS)]
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({FILMS}, 6), }}"
    header += " " * (118 - 1 - len(header)) + "\n"
    import struct
    with open(f"{HERE}/v.npy", "wb") as f:  # a film's vector names its circle
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
        for i in range(FILMS):
            f.write(struct.pack("<6f", *(1.0 if j == i % CIRCLES else 0.01 * (j == 5) for j in range(6))))
    with open(f"{HERE}/i.ndjson", "w") as f:
        f.write("".join(json.dumps({"movieId": m, "cast": [f"Star {m % CIRCLES}", "(voices)"]}) + "\n" for m in ids))
    done = evaluate("ml", "--protocol", "p1,p3", "--rankers", "learned,popular", "--content", "v.npy", "--content-items", "i.ndjson", "--both", "--keep", "contents")
    check(done["vectors"] == 6, done["vectors"])
    p1, p3 = done["protocols"]
    alone = evaluate("ml", "--protocol", "p1", "--rankers", "learned,popular", "--content-items", "i.ndjson")["protocols"][0]
    check([r["ndcg"] for r in p1["without_vectors"]] == [r["ndcg"] for r in alone["rankers"]], p1["without_vectors"], alone["rankers"])
    check(os.path.exists(f"{HERE}/contents/p1-bare.db") and os.path.exists(f"{HERE}/contents/p3-4-bare.db"), os.listdir(f"{HERE}/contents"))
    check(row(p3, "learned")["ndcg"] > row(p3, "popular")["ndcg"], p3["rankers"])
    item = json.loads(run("item", "get", "ml-10", "--db", "contents/p1.db", "--json").stdout)
    check(item["people"] == ["Star 0"], item)
    with open(f"{HERE}/i.ndjson", "a") as f:
        f.write('{"movieId":10}\n')
    p = run("eval", "movielens", "ml", "--protocol", "p1", "--content", "v.npy", "--content-items", "i.ndjson")
    check(p.returncode == 1 and "the matrix has only 200 rows" in p.stderr, p.stderr)


@claim
def on_the_real_data_the_splits_agree_and_who_has_learned_leads():
    if not REAL:
        print("     (BRAID_TEST_MOVIELENS names no folder: left out)")
        return
    more = ["--splits", SPLITS] if SPLITS else []
    p1 = evaluate(REAL, "--protocol", "p1", "--rankers", "learned,popular", "--limit-users", "60", *more, limit=300)["protocols"][0]
    check((p1["users"], p1["fit"], p1["candidates"]) == (60, 80896, 9742), p1)
    check(row(p1, "learned")["ndcg"] > row(p1, "popular")["ndcg"] and row(p1, "learned")["short"] == 0, p1["rankers"])


def main():
    passed = failed = 0
    for f in claims:
        if ONLY not in f.__name__:
            continue
        try:
            f()
            passed += 1
        except Exception as e:  # whatever went wrong, the claim does not hold
            failed += 1
            print(f"FAIL {f.__name__.replace('_', ' ')}: {type(e).__name__} {str(e)[:1500]}")
    shutil.rmtree(HERE, ignore_errors=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
