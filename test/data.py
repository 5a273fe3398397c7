#!/usr/bin/env python3
"""Checks the sample catalogue, its relations and its viewers (data/) as the tests of the program check the program.

Every check is a claim with at least one way to break it: the check must pass on the data as they are, and must fail on a copy
that was broken on purpose in memory. The second half is what shows that the first can fail at all.
Python's standard library only. Usage: test/data.py [FOLDER]; prints a line for each failure and closes with "N passed, N failed".
"""
import copy, datetime, glob, itertools, json, os, pickle, re, sys, unicodedata

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

WORKS_MIN, RELATIONS_MIN, VIEWERS_MIN = 400, 600, 120
COUNTRIES_MIN, FRANCOPHONE_SHARE_MIN = 30, 0.40
VISIBLE_MIN = 200     # works that a viewer's region and tier open
SUITABLE_MIN = 100    # ... of them, those that age, languages and exclusions leave
YEAR_MIN, YEAR_MAX = 1920, 2025
TODAY = "2026-06-01T00:00:00Z"  # a fixed day: a test must not begin to fail because time goes by
SHOWN_LATER = ("SEQUEL_OF", "REMAKE_OF", "SPIN_OFF_OF", "INSPIRED_BY")  # the first end came after the second
MINUTES = {"film": (45, 300), "documentary": (45, 600), "short": (1, 44), "series": (1, 120)}  # series: one episode
CAREER_YEARS_MAX = 70
TYPOGRAPHY = {"œ": "oe", "æ": "ae", "ø": "o", "ß": "ss", "’": "-", "&": "-"}

ITEM_FIELDS = {"id", "title", "original_title", "kind", "year", "duration_s", "countries", "language", "regions", "synopsis",
               "genres", "themes", "moods", "contexts", "people", "available_from", "available_until", "age_rating", "tier",
               "attributes"}
USER_FIELDS = {"id", "name", "description", "simulated", "preferences", "constraints", "state", "attributes"}
CONSTRAINTS = {"region", "age", "tier", "languages", "exclude", "block"}
DEVICES = ("tv", "mobile", "tablet", "desktop")
DAYPARTS = ("morning", "afternoon", "evening", "night")

# ISO 3166-1 alpha-2 and ISO 639-1: facts, listed here so that the test needs nothing from outside.
ISO_COUNTRIES = set("""AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY
BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF
GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY
KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP
NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY
SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW""".split())
ISO_LANGUAGES = set("""aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en
eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv ka kg ki kj kk kl
km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os
pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug
uk ur uz ve vi vo wa wo xh yi yo za zh zu""".split())


class Data:
    """The folder in memory. Works and viewers remember the file they came from; relations too."""

    def __init__(self, folder):
        self.vocabulary = json.load(open(os.path.join(folder, "vocabulary.json"), encoding="utf-8"))
        self.page = open(os.path.join(folder, "README.md"), encoding="utf-8").read()
        self.works, self.relations, self.viewers = [], [], []
        self.file_of = {}  # work id -> file name
        for path in sorted(glob.glob(os.path.join(folder, "*.ndjson"))):
            name = os.path.basename(path)
            for number, line in enumerate(open(path, encoding="utf-8"), 1):
                try:
                    thing = json.loads(line, object_pairs_hook=no_duplicate_keys)
                except ValueError as e:
                    raise SystemExit(f"{name}:{number}: {e}\n0 passed, 1 failed")
                if "user" in thing:
                    self.viewers.append(thing["user"])
                elif "relation" in thing:
                    self.relations.append(thing["relation"])
                else:
                    self.works.append(thing)
                    self.file_of[thing["id"]] = name

    def by_id(self):
        return {w["id"]: w for w in self.works}


def no_duplicate_keys(pairs):
    if len({k for k, _ in pairs}) != len(pairs):
        raise ValueError("a key is there twice")
    return dict(pairs)


def slug(text):
    """ASCII form of a title or name: accents dropped, everything but letters and digits a hyphen."""
    for of, to in TYPOGRAPHY.items():
        text = text.lower().replace(of, to)
    text = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    return re.sub(r"[^a-z0-9]+", "-", text).strip("-")


def doubles(values):
    seen = set()
    return [v for v in values if v in seen or seen.add(v)]


def makers(work):
    return {p["name"] for p in work["people"] if p["role"] in ("director", "creator")}


def sentences(text):
    return len(re.findall(r"[.!?…](?=[\s»”)]|$)", text))


def pair(r):
    return f"{r['from']} {r['type']} {r['to']}"


# ---- the checks ----

CHECKS = []  # (claim, check, breakers)


def check(claim, *breakers):
    """Registers a check: a function from Data to a list of complaints, and the ways to break the data that it must notice."""
    assert breakers, "a check that cannot be seen to fail is worth nothing"

    def register(function):
        CHECKS.append((claim, function, breakers))
        return function
    return register


def change(**fields):
    """A breaker: the first work gets these fields."""
    return lambda d: d.works[0].update(fields)


def change_viewer(part, **fields):
    return lambda d: (d.viewers[0].setdefault(part, {}) if part else d.viewers[0]).update(fields)


def change_relation(**fields):
    return lambda d: d.relations[0].update(fields)


# -- works

@check(f"there are at least {WORKS_MIN} works", lambda d: d.works.__delitem__(slice(WORKS_MIN - 1, None)))
def enough_works(d):
    return [] if len(d.works) >= WORKS_MIN else [f"{len(d.works)} works"]


@check("a work has the fields of an item and no others", change(synopsys="x"), lambda d: d.works[0].pop("title"))
def item_fields(d):
    return [f"{w.get('id')}: {sorted(set(w) ^ ITEM_FIELDS)}" for w in d.works if set(w) != ITEM_FIELDS]


@check("ids of works are unique", lambda d: d.works.append(copy.deepcopy(d.works[0])))
def unique_ids(d):
    return doubles(w["id"] for w in d.works)


@check("an id is the title as an ASCII slug with the year",
       change(id="La Passion-1928"), change(id="la-passion-de-jeanne-d-arc"), change(id="été-1928"), change(year=1929))
def slugs(d):
    return [f"{w['id']}: expected {slug(w['title'])}-{w['year']}" for w in d.works if w["id"] != f"{slug(w['title'])}-{w['year']}"]


@check("no work is there twice under two ids", lambda d: d.works.append({**d.works[0], "id": "another-1928"}))
def works_distinct(d):
    return doubles((w["original_title"].casefold(), w["kind"], w["year"]) for w in d.works)


@check("a work lies in the file of its years", lambda d: d.file_of.update({d.works[0]["id"]: "catalogue-1997-2024.ndjson"}))
def right_file(d):
    bad = []
    for w in d.works:
        years = re.fullmatch(r"catalogue-(\d{4})-(\d{4})\.ndjson", d.file_of.get(w["id"], ""))
        if not years or not int(years[1]) <= w["year"] <= int(years[2]):
            bad.append(f"{w['id']} in {d.file_of.get(w['id'])}")
    return bad


@check(f"at least {FRANCOPHONE_SHARE_MIN:.0%} of the works are in French",
       lambda d: [w.update(language="en") for w in d.works[: len(d.works) * 2 // 3]])
def francophone(d):
    share = sum(w["language"] == "fr" for w in d.works) / len(d.works)
    return [] if share >= FRANCOPHONE_SHARE_MIN else [f"{share:.1%}"]


@check("every decade since 1920 has works", lambda d: d.works.__setitem__(slice(None), [w for w in d.works if w["year"] // 10 != 194]))
def decades(d):
    there = {w["year"] // 10 for w in d.works}
    return [f"none in the {decade}0s" for decade in range(192, 203) if decade not in there]


@check(f"the works come from at least {COUNTRIES_MIN} countries", lambda d: [w.update(countries=["FR"]) for w in d.works])
def countries_enough(d):
    there = {c for w in d.works for c in w["countries"]}
    return [] if len(there) >= COUNTRIES_MIN else [f"{len(there)} countries"]


@check("countries are ISO 3166 codes, at least one and none twice",
       change(countries=["UK"]), change(countries=["fr"]), change(countries=[]), change(countries=["FR", "FR"]))
def countries_known(d):
    return [f"{w['id']}: {w['countries']}" for w in d.works
            if not w["countries"] or doubles(w["countries"]) or not set(w["countries"]) <= ISO_COUNTRIES]


@check("languages are ISO 639-1 codes", change(language="français"), change(language="FR"), change(language="jp"))
def languages_known(d):
    return [f"{w['id']}: {w['language']}" for w in d.works if w["language"] not in ISO_LANGUAGES]


@check("kinds, genres, themes, moods and contexts come from the vocabulary, none twice",
       change(kind="movie"), change(genres=["Drame"]), change(themes=["foi", "foi"]), change(moods=["gai"]), change(contexts=["quebec"]))
def vocabulary_closed(d):
    bad = [f"{w['id']}: kind {w['kind']}" for w in d.works if w["kind"] not in d.vocabulary["kinds"]]
    for w, field in itertools.product(d.works, ("genres", "themes", "moods", "contexts")):
        unknown = set(w[field]) - set(d.vocabulary[field])
        if unknown or doubles(w[field]):
            bad.append(f"{w['id']}: {field} {sorted(unknown) or w[field]}")
    return bad


@check("a work has 1 to 5 genres, 1 to 6 themes, 1 to 5 moods, a context",
       change(genres=[]), change(themes=[]), change(moods=[]), change(contexts=[]), change(themes=["x"] * 7))
def facets_there(d):
    bounds = {"genres": 5, "themes": 6, "moods": 5, "contexts": 5}
    return [f"{w['id']}: {len(w[field])} {field}" for w in d.works for field, most in bounds.items() if not 1 <= len(w[field]) <= most]


@check("the vocabulary has no word twice", lambda d: d.vocabulary["themes"].append("exil"))
def vocabulary_distinct(d):
    return [f"{name}: {doubles(words)}" for name, words in d.vocabulary.items() if doubles(words)]


@check("documentaries carry the genre, and nothing else does but shorts and series",
       lambda d: [w.update(genres=["drame"]) for w in d.works if w["kind"] == "documentary"],
       lambda d: next(w for w in d.works if w["kind"] == "film")["genres"].append("documentaire"))
def documentary_genre(d):
    return [w["id"] for w in d.works if w["kind"] in ("documentary", "film")
            and ("documentaire" in w["genres"]) != (w["kind"] == "documentary")]


@check(f"years lie between {YEAR_MIN} and {YEAR_MAX}", change(year=1895), change(year=2035), change(year="1928"), change(year=True))
def years(d):
    return [f"{w['id']}: {w['year']!r}" for w in d.works if type(w["year"]) is not int or not YEAR_MIN <= w["year"] <= YEAR_MAX]


@check("durations are plausible for the kind, in whole half minutes",
       change(duration_s=97), change(duration_s=5821), change(duration_s=5820.0), change(kind="short"),
       lambda d: next(w for w in d.works if w["kind"] == "series").update(duration_s=30000))
def durations(d):
    bad = []
    for w in d.works:
        low, high = MINUTES.get(w["kind"], (1, 600))
        if type(w["duration_s"]) is not int or w["duration_s"] % 30 or not low * 60 <= w["duration_s"] <= high * 60:
            bad.append(f"{w['id']}: {w['kind']} of {w['duration_s']} s")
    return bad


@check("a work has people in known roles, none twice, and somebody who made it unless it is a documentary",
       change(people=[]), change(people=[{"name": "X Y", "role": "director"}] * 2), change(people=[{"name": "X Y", "role": "producer"}]),
       change(people=[{"name": " X", "role": "director"}]), change(people=[{"name": "X Y", "role": "cast"}]))
def people(d):
    bad = []
    for w in d.works:
        listed = [(p["name"], p["role"]) for p in w["people"]]
        if doubles(listed) or any(r not in d.vocabulary["roles"] or not n.strip() or n != n.strip() for n, r in listed):
            bad.append(f"{w['id']}: {listed}")
        elif w["kind"] != "documentary" and not makers(w):
            bad.append(f"{w['id']}: no director and no creator")
    return bad


@check("a name is written in one way, whatever the accents",
       lambda d: d.works[0]["people"].append({"name": "Agnes Varda", "role": "cast"}))
def names_one_way(d):
    spelled = {}
    for w in d.works:
        for p in w["people"]:
            spelled.setdefault(slug(p["name"]), set()).add(p["name"])
    return [f"{sorted(names)}" for names in spelled.values() if len(names) > 1]


@check(f"nobody works longer than {CAREER_YEARS_MAX} years",
       lambda d: (d.works[0]["people"].append({"name": "X Y", "role": "director"}), d.works[0].update(year=1920),
                  d.works[-1]["people"].append({"name": "X Y", "role": "director"}), d.works[-1].update(year=2024)))
def careers(d):
    first, last = {}, {}
    for w in d.works:
        for p in w["people"]:
            if p["role"] != "writer":  # a writer may be adapted long after
                first[p["name"]] = min(first.get(p["name"], w["year"]), w["year"])
                last[p["name"]] = max(last.get(p["name"], w["year"]), w["year"])
    return [f"{n}: {first[n]} to {last[n]}" for n in first if last[n] - first[n] > CAREER_YEARS_MAX]


@check("a synopsis is two to four sentences of French, 120 to 700 characters",
       change(synopsis="Une seule phrase, mais longue : " + "mot " * 40 + "."), change(synopsis="Un. Deux. Trois."),
       change(synopsis=" ".join(["Une phrase de trente caractères."] * 5)),
       change(synopsis="The police are after them. They hide in the hills above the city with the money, and the old man who knows the way."))
def synopses(d):
    bad = []
    for w in d.works:
        words = re.findall(r"\w+", w["synopsis"].lower())
        french = sum(x in ("le", "la", "les", "un", "une", "des", "de", "du", "et", "à", "qui", "que", "dans", "son", "sa") for x in words)
        if not 2 <= sentences(w["synopsis"]) <= 4 or not 120 <= len(w["synopsis"]) <= 700 or french < len(words) * 0.12:
            bad.append(f"{w['id']}: {sentences(w['synopsis'])} sentences, {len(w['synopsis'])} characters, {french} of {len(words)} words")
    return bad


@check("synopses are distinct", lambda d: d.works[0].update(synopsis=d.works[1]["synopsis"]),
       lambda d: d.works[0].update(synopsis=d.works[1]["synopsis"].replace("un ", "une ")))
def synopses_distinct(d):
    bags = [(w["id"], set(re.findall(r"\w{4,}", w["synopsis"].lower()))) for w in d.works]
    return [f"{a} and {b}" for (a, x), (b, y) in itertools.combinations(bags, 2) if len(x & y) > 0.5 * len(x | y)]


@check("texts are clean: NFC, no control character, no double or outer space, typographic apostrophe",
       change(title="Fin\n"), change(title="L'Homme"), change(synopsis="Deux  espaces. Ici."), change(title="e\u0301te\u0301"))
def texts_clean(d):
    def dirty(text):
        return (text != unicodedata.normalize("NFC", text) or text != text.strip() or "  " in text
                or any(unicodedata.category(c) in ("Cc", "Cf", "Co", "Cn") for c in text) or "\ufffd" in text)
    bad = [w["id"] for w in d.works if dirty(w["title"]) or dirty(w["original_title"]) or dirty(w["synopsis"])
           or any(dirty(p["name"]) for p in w["people"]) or "'" in w["title"] + w["synopsis"]]
    return bad + [v["id"] for v in d.viewers if dirty(v["name"]) or dirty(v["description"])]


@check("a work in French from a francophone country keeps its title", change(original_title="The Passion of Joan of Arc"))
def original_titles(d):
    same = lambda t: slug(t)
    return [f"{w['id']}: {w['original_title']}" for w in d.works
            if w["language"] == "fr" and w["countries"][0] in ("FR", "BE", "CA", "CH") and same(w["title"]) != same(w["original_title"])]


@check("rights: known regions, windows in order, age ratings and tiers of the vocabulary",
       change(regions=["XX"]), change(regions=["FR", "FR"]), change(available_from="2033-01-01T00:00:00Z", available_until="2016-11-01T00:00:00Z"),
       change(available_from="2016-11-01"), change(available_until="2016-13-01T00:00:00Z"), change(age_rating=13), change(tier=3), change(tier="1"))
def rights(d):
    bad = []
    for w in d.works:
        try:
            begin, end = (w[f] and datetime.datetime.strptime(w[f], "%Y-%m-%dT%H:%M:%SZ") for f in ("available_from", "available_until"))
        except ValueError as e:
            bad.append(f"{w['id']}: {e}")
            continue
        if begin and end and begin >= end or begin and begin.year < 2005:
            bad.append(f"{w['id']}: {w['available_from']} to {w['available_until']}")
        if not set(w["regions"]) <= set(d.vocabulary["regions"]) or doubles(w["regions"]):
            bad.append(f"{w['id']}: regions {w['regions']}")
        if w["age_rating"] not in d.vocabulary["age_ratings"] or type(w["tier"]) is not int or not 0 <= w["tier"] <= 2:
            bad.append(f"{w['id']}: age {w['age_rating']}, tier {w['tier']}")
    return bad


@check("attributes are plain values under known names; sound films are not called silent",
       change(attributes={"color": "couleur"}), change(attributes={"colour": ["couleur"]}), change(attributes={"episodes": 0}),
       lambda d: d.works[-1].update(attributes={"sound": "muet"}))
def attributes(d):
    known = {"colour", "award", "source", "episodes", "seasons", "sound", "broadcaster", "production", "studio", "collection", "technique",
             "parts", "movement"}
    bad = []
    for w in d.works:
        a = w["attributes"]
        numbers = [a[k] for k in ("episodes", "seasons", "parts") if k in a]
        if set(a) - known or any(type(v) not in (str, int) or v == "" for v in a.values()) or any(type(n) is not int or n < 1 for n in numbers):
            bad.append(f"{w['id']}: {a}")
        if a.get("sound") == "muet" and w["year"] > 1936:
            bad.append(f"{w['id']}: silent in {w['year']}")
    return bad


@check("a prize was given between the year before and four years after", change(attributes={"award": "Palme d’or 1978"}))
def prizes(d):
    return [f"{w['id']}: {w['attributes']['award']}" for w in d.works if "award" in w["attributes"]
            and any(not w["year"] - 1 <= int(y) <= w["year"] + 4 for y in re.findall(r"\b(?:19|20)\d\d\b", w["attributes"]["award"]))]


# -- relations

@check(f"there are at least {RELATIONS_MIN} relations", lambda d: d.relations.__delitem__(slice(RELATIONS_MIN - 1, None)))
def enough_relations(d):
    return [] if len(d.relations) >= RELATIONS_MIN else [f"{len(d.relations)} relations"]


@check("a relation has its fields, a type of the vocabulary and a strength in (0, 1]",
       change_relation(type="LIKE"), change_relation(strength=0), change_relation(strength=1.5), change_relation(weight=1))
def relation_fields(d):
    return [pair(r) for r in d.relations if set(r) != {"from", "to", "type", "strength"} or r["type"] not in d.vocabulary["relation_types"]
            or type(r["strength"]) not in (int, float) or not 0 < r["strength"] <= 1]


@check("every type of relation of the vocabulary is used",
       lambda d: d.relations.__setitem__(slice(None), [r for r in d.relations if r["type"] != "SPIN_OFF_OF"]))
def relation_types_used(d):
    return sorted(set(d.vocabulary["relation_types"]) - {r["type"] for r in d.relations})


@check("relations resolve", change_relation(to="nowhere-1999"), lambda d: d.works.pop())
def relations_resolve(d):
    there = d.by_id()
    return [pair(r) for r in d.relations if r["from"] not in there or r["to"] not in there]


@check("nothing is related to itself", lambda d: d.relations[0].update(to=d.relations[0]["from"]))
def no_self_relation(d):
    return [pair(r) for r in d.relations if r["from"] == r["to"]]


@check("no relation is there twice, in neither direction",
       lambda d: d.relations.append(dict(d.relations[0])),
       lambda d: d.relations.append({**d.relations[0], "from": d.relations[0]["to"], "to": d.relations[0]["from"]}))
def relations_distinct(d):
    return doubles((r["type"], *sorted((r["from"], r["to"]))) for r in d.relations)


@check("what follows came later: sequels and spin-offs not before, remakes and the inspired after",
       lambda d: [r.update({"from": r["to"], "to": r["from"]}) for r in d.relations if r["type"] == "REMAKE_OF"],
       lambda d: [r.update({"from": r["to"], "to": r["from"]}) for r in d.relations if r["type"] == "SEQUEL_OF"])
def later(d):
    there, bad = d.by_id(), []
    for r in d.relations:
        if r["type"] in SHOWN_LATER and r["from"] in there and r["to"] in there:
            gap = there[r["from"]]["year"] - there[r["to"]]["year"]
            if gap < 0 or gap == 0 and r["type"] in ("REMAKE_OF", "INSPIRED_BY"):
                bad.append(pair(r))
    return bad


@check("sequels make no circle", lambda d: d.relations.extend(
    {"from": a, "to": b, "type": "SEQUEL_OF", "strength": 1} for a, b in (("a", "b"), ("b", "c"), ("c", "a"))))
def no_circle(d):
    follows = {}
    for r in d.relations:
        if r["type"] == "SEQUEL_OF":
            follows.setdefault(r["from"], []).append(r["to"])
    bad = []
    for start in follows:
        seen, open_ends = set(), list(follows[start])
        while open_ends:
            now = open_ends.pop()
            if now == start:
                bad.append(start)
                break
            if now not in seen:
                seen.add(now)
                open_ends += follows.get(now, [])
    return bad


@check("SAME_DIRECTOR shares a director or creator", change_relation(type="SAME_DIRECTOR", to="bal-poussiere-1989"))
def same_director_true(d):
    there = d.by_id()
    return [pair(r) for r in d.relations if r["type"] == "SAME_DIRECTOR" and r["from"] in there and r["to"] in there
            and not makers(there[r["from"]]) & makers(there[r["to"]])]


@check("every two works of one director or creator are related",
       lambda d: d.relations.remove(next(r for r in d.relations if r["type"] == "SAME_DIRECTOR")))
def same_director_complete(d):
    related = {frozenset((r["from"], r["to"])) for r in d.relations}
    return [f"{a['id']} and {b['id']}" for a, b in itertools.combinations(d.works, 2)
            if makers(a) & makers(b) and frozenset((a["id"], b["id"])) not in related]


@check("every work is related to another", lambda d: d.relations.__setitem__(
    slice(None), [r for r in d.relations if d.works[0]["id"] not in (r["from"], r["to"])]))
def nothing_alone(d):
    there = {r[end] for r in d.relations for end in ("from", "to")}
    return [w["id"] for w in d.works if w["id"] not in there]


# -- viewers

@check(f"there are at least {VIEWERS_MIN} viewers", lambda d: d.viewers.__delitem__(slice(VIEWERS_MIN - 1, None)))
def enough_viewers(d):
    return [] if len(d.viewers) >= VIEWERS_MIN else [f"{len(d.viewers)} viewers"]


@check("ids of viewers are unique ASCII slugs of their names",
       lambda d: d.viewers.append(copy.deepcopy(d.viewers[0])), change_viewer("", id="Simone Tremblay"), change_viewer("", name="Paul"))
def viewer_ids(d):
    return doubles(v["id"] for v in d.viewers) + [v["id"] for v in d.viewers if v["id"] != slug(v["name"])]


@check("every viewer is marked as simulated", change_viewer("", simulated=False), lambda d: d.viewers[0].pop("simulated"))
def viewers_simulated(d):
    return [v["id"] for v in d.viewers if v.get("simulated") is not True]


@check("a viewer has the fields of a user, and a description of one to three sentences of their own",
       change_viewer("", nickname="x"), change_viewer("", description="Bref."), change_viewer("constraints", country="CA"),
       lambda d: d.viewers[0].update(description=d.viewers[1]["description"]))
def viewer_fields(d):
    bad = [v["id"] for v in d.viewers if not set(v) <= USER_FIELDS or not set(v["constraints"]) <= CONSTRAINTS
           or not 40 <= len(v["description"]) <= 300 or not 1 <= sentences(v["description"]) <= 3]
    return bad + doubles(v["description"] for v in d.viewers)


@check("preferences and states speak the vocabulary, with weights from -1 to 1",
       change_viewer("preferences", genres={"drama": 1}), change_viewer("preferences", moods={"joyeux": 2}),
       change_viewer("preferences", people={"Nobody At All": 1}), change_viewer("preferences", colour={"rouge": 1}),
       change_viewer("preferences", genres={"drame": 0}), change_viewer("state", mood="blasé"), change_viewer("", preferences={}))
def viewer_preferences(d):
    v = d.vocabulary
    values = {"genres": set(v["genres"]), "themes": set(v["themes"]), "moods": set(v["moods"]), "contexts": set(v["contexts"]),
              "kind": set(v["kinds"]), "countries": ISO_COUNTRIES, "language": ISO_LANGUAGES,
              "people": {p["name"] for w in d.works for p in w["people"]}}
    bad = []
    for u in d.viewers:
        for field, weights in u["preferences"].items():
            bad += [f"{u['id']}: {field} {x} {n}" for x, n in weights.items()
                    if x not in values.get(field, ()) or type(n) not in (int, float) or not -1 <= n <= 1 or n == 0]
        if not u["preferences"].get("genres") or set(u.get("state", {})) - {"mood", "context"}:
            bad.append(f"{u['id']}: no genres, or an unknown state")
        if u.get("state", {}).get("mood", v["moods"][0]) not in v["moods"]:
            bad.append(f"{u['id']}: mood {u['state']['mood']}")
    return bad


@check("constraints are possible: region, age, tier, languages, exclusions",
       change_viewer("constraints", region="XX"), change_viewer("constraints", age=130), change_viewer("constraints", tier=9),
       change_viewer("constraints", languages=["french"]), change_viewer("constraints", exclude={"genres": ["peur"]}))
def viewer_constraints(d):
    bad = []
    for u in d.viewers:
        c = u["constraints"]
        ok = (c["region"] in d.vocabulary["regions"] and type(c["tier"]) is int and 0 <= c["tier"] <= 2 and 5 <= c.get("age", 40) <= 100
              and set(c.get("languages", [])) <= ISO_LANGUAGES)
        for field, values in c.get("exclude", {}).items():
            ok = ok and set(values) <= set(d.vocabulary.get(field, ())) and not doubles(values)
        if not ok:
            bad.append(f"{u['id']}: {c}")
    return bad


@check("devices and dayparts are known and given for everybody", change_viewer("attributes", devices="phone"),
       change_viewer("attributes", dayparts="noon"), lambda d: d.viewers[0].pop("attributes"))
def viewer_habits(d):
    bad = []
    for u in d.viewers:
        for field, known in (("devices", DEVICES), ("dayparts", DAYPARTS)):
            values = u.get("attributes", {}).get(field, "").split(",")
            if not set(values) <= set(known) or doubles(values):
                bad.append(f"{u['id']}: {field} {values}")
    return bad


@check("viewers are of many regions and ages, children among them",
       lambda d: [v["constraints"].update(region="CA") for v in d.viewers], lambda d: [v["constraints"].update(age=40) for v in d.viewers])
def viewers_varied(d):
    regions = {v["constraints"]["region"] for v in d.viewers}
    ages = [v["constraints"]["age"] for v in d.viewers if "age" in v["constraints"]]
    children = sum(a <= 12 for a in ages)
    if len(regions) < 8 or children < 4 or max(ages) < 70:
        return [f"{len(regions)} regions, {children} limits of a child, oldest {max(ages)}"]
    return []


def open_to(d, viewer):
    """The works that the viewer's region and tier open on the day of the test."""
    c = viewer["constraints"]
    return [w for w in d.works if (not w["regions"] or c["region"] in w["regions"]) and w["tier"] <= c["tier"]
            and (w["available_from"] or "") <= TODAY < (w["available_until"] or "9999")]


@check(f"region and tier leave every viewer at least {VISIBLE_MIN} works",
       lambda d: [w.update(regions=["FR"]) for w in d.works], lambda d: [w.update(tier=2) for w in d.works],
       lambda d: [w.update(available_until="2026-01-01T00:00:00Z") for w in d.works])
def viewers_have_works(d):
    return [f"{v['id']}: {len(open_to(d, v))}" for v in d.viewers if len(open_to(d, v)) < VISIBLE_MIN]


@check(f"age, languages and exclusions still leave every viewer {SUITABLE_MIN} works",
       lambda d: d.viewers[0]["constraints"].update(languages=["is"]), lambda d: [w.update(age_rating=18) for w in d.works])
def viewers_have_suitable_works(d):
    bad = []
    for v in d.viewers:
        c = v["constraints"]
        never = set(c.get("exclude", {}).get("genres", ()))
        left = sum(w["age_rating"] <= c.get("age", 99) and w["language"] in c.get("languages", [w["language"]]) and not never & set(w["genres"])
                   for w in open_to(d, v))
        if left < SUITABLE_MIN:
            bad.append(f"{v['id']}: {left}")
    return bad


# -- the page

@check("data/README.md tells the true numbers", lambda d: d.works.pop(), lambda d: d.viewers.pop(), lambda d: d.relations.pop(),
       lambda d: d.works[0].update(language="en"))
def page_true(d):
    told = [f"{len(d.works)} real films", f"{len(d.relations):,} relations", f"{len(d.viewers)} invented viewers",
            f"{sum(w['language'] == 'fr' for w in d.works)} of {len(d.works)}", f"{len({c for w in d.works for c in w['countries']})} countries"]
    text = " ".join(d.page.split())
    return [f"not there: {words}" for words in told if words not in text]


def broken(data, breaker):
    copied = pickle.loads(pickle.dumps(data))
    breaker(copied)
    return copied


def notices(function, data):
    """Does the check complain? One that stumbles over what it reads complains too."""
    try:
        return bool(function(data))
    except (KeyError, TypeError, AttributeError, ValueError):
        return True


def main():
    data = Data(sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "data"))
    passed = failed = 0
    for claim, function, breakers in CHECKS:
        complaints = function(data)
        if complaints:
            failed += 1
            print(f"FAIL {claim}: {len(complaints)} complaints, as " + "; ".join(str(c) for c in complaints[:8]))
        else:
            passed += 1
        blind = [i for i, breaker in enumerate(breakers) if not notices(function, broken(data, breaker))]
        if blind:
            failed += 1
            print(f"FAIL canary of \"{claim}\": broken copy {', '.join(map(str, blind))} was not noticed")
        else:
            passed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
