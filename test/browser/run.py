#!/usr/bin/env python3
"""The page in headless Chromium, against a real server with the sample catalogue. Usage: test/browser/run.py PATH_TO_BRAID [--only WORD]

A test is a function of one tab; its name is the claim. Every tab is new and is asked at the end whether the console, the content policy or a request
complained. What is seen is checked against what the API says, not against a list of titles. Pictures go to build/screenshots/.
"""
import argparse, glob, json, math, os, re, sys, time, urllib.parse

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cdp, stage

VIEWER, OTHER, TITLE = "simone-tremblay", "mathieu-gagnon", "hiroshima-mon-amour-1959"
CARDS = "document.querySelectorAll('.card').length"
IDS = "[...document.querySelectorAll('.card')].map(c => c.dataset.id)"
SHOTS = os.path.join(stage.BUILD, "screenshots")
tests = []


class Skip(Exception):
    pass


def test(f):
    tests.append(f)
    return f


def check(truth, what):
    if not truth:
        raise AssertionError(what)


def text(page, selector):
    return (page.js(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''") or "").replace("\u00a0", " ")


def click(page, selector):
    page.wait(f"document.querySelector({json.dumps(selector)})")
    page.js(f"document.querySelector({json.dumps(selector)}).click()")


def choose(page, name, value):
    page.js(f"(e => {{ e.value = {json.dumps(value)}; e.dispatchEvent(new Event('change', {{bubbles: true}})) }})(document.getElementById({json.dumps(name)}))")


def show(page, server, ready=CARDS, **state):
    """Opens the page at a state; ready is what must be true before the test goes on."""
    page.open("about:blank")  # else an address that differs after # only would not load anew
    page.open(server.url + "/#" + urllib.parse.urlencode(state))
    page.wait("document.readyState === 'complete'")
    page.wait(ready, seconds=20)


def picture(page, name):
    page.picture(os.path.join(SHOTS, name + ".png"))


# ---- what is shown ----

@test
def it_loads_without_a_complaint_and_asks_nothing_of_another_host(page, server):
    page.open(server.url + "/")
    page.wait(CARDS, seconds=20)
    page.wait("document.querySelectorAll('#genre option').length > 5")
    page.wait("document.getElementById('health').dataset.state === 'ok'")
    strange = [r["url"] for r in page.requests if not r["url"].startswith((server.url, "data:", "about:"))]
    check(not strange, f"requests left the server: {strange}")
    check(page.js("document.documentElement.lang") == "fr", "French comes first")
    picture(page, "light")


@test
def a_recommendation_shows_cards_with_three_labelled_bars_and_reasons(page, server):
    show(page, server, user=VIEWER)
    cards = page.js("""[...document.querySelectorAll('.card')].map(c => ({bars: [...c.querySelectorAll('.bar')].map(b => [b.dataset.kind,
        b.querySelector('.bar-label').textContent, b.querySelector('.bar-value').textContent, b.querySelector('.bar-fill').getBoundingClientRect().width]),
        why: c.querySelectorAll('.because li').length, title: c.querySelector('.card-title').textContent}))""")
    check(len(cards) == 10, f"{len(cards)} cards, not 10")
    for c in cards:
        check([b[0] for b in c["bars"]] == ["vector", "graph", "policy"], f"{c['title']}: bars {c['bars']}")
        check(all(b[1] and re.fullmatch(r"\d,\d\d", b[2]) for b in c["bars"]), f"{c['title']}: a bar without words or number: {c['bars']}")
        check(all((b[3] > 0.5) == (float(b[2].replace(",", ".")) > 0.005) for b in c["bars"]), f"{c['title']}: a bar is as long as its number: {c['bars']}")
        check(c["why"] >= 1, f"{c['title']}: no reason")


@test
def words_search_and_the_strategy_is_the_one_that_was_picked(page, server):
    show(page, server, user=VIEWER)
    page.js("document.getElementById('q').value = 'exil et mémoire'; document.getElementById('ask').requestSubmit()")
    page.wait("document.getElementById('titles-heading')?.textContent.includes('exil et mémoire') && document.querySelector('.card')")
    check(page.js("document.querySelectorAll('.card .bar').length === 3 * document.querySelectorAll('.card').length"), "three bars a card")
    choose(page, "strategy", "graph_only")
    page.wait("document.getElementById('list-summary')?.innerText.includes('graphe seul')")
    check("strategy=graph_only" in page.js("location.hash"), "the address holds the strategy")
    asked = json.loads([r for r in page.requests if r["url"].endswith("/v1/search")][-1]["postData"])
    check(asked["text"] == "exil et mémoire" and asked["strategy"] == "graph_only" and asked["user"] == VIEWER, f"asked {asked}")


@test
def like_this_title_asks_for_its_likes_and_can_be_taken_back(page, server):
    show(page, server, user=VIEWER)
    first = page.js(IDS)[0]
    click(page, ".card [data-act=similar]")
    page.wait("document.querySelector('.chip.removable') && document.querySelector('.card')")
    asked = json.loads([r for r in page.requests if r["url"].endswith("/v1/search")][-1]["postData"])
    check(asked["like"] == first and "text" not in asked, f"asked {asked}")
    check(first not in page.js(IDS), "a title is not like itself")
    click(page, ".chip.removable")
    page.wait("!document.querySelector('.chip.removable') && document.getElementById('titles-heading').textContent.includes('Simone') && document.querySelector('.card')")


@test
def filters_are_obeyed_and_a_page_more_repeats_nothing(page, server):
    show(page, server, user=VIEWER, decade="1960", genre="drame", k="5")
    page.wait("document.querySelectorAll('#decade option').length > 5")
    first = page.js(IDS)
    click(page, "#more")
    page.wait(CARDS + " > 5")
    both = page.js(IDS)
    check(both[:5] == first and len(set(both)) == len(both), f"a page repeats: {both}")
    for name in both:
        it = server.get("/v1/items/" + urllib.parse.quote(name))
        check(1960 <= it["year"] < 1970 and "drame" in it["genres"], f"{name} does not pass the filter")
    check(page.js("document.activeElement.closest('.card')?.dataset.id") == both[5], "the focus goes to the first title of the new page")


# ---- acting ----

def acts(page, server, act, person):
    show(page, server, user=person)
    before = page.js(IDS)
    picked = before[1]
    count = len(server.get(f"/v1/users/{person}/export")["interactions"])
    page.js(f"document.querySelector('.card[data-id=\"{picked}\"] [data-act={act}]').click()")
    page.wait("document.getElementById('did')")
    after = page.js(IDS)
    check(picked not in after, f"{picked} is still shown after {act}")
    history = server.get(f"/v1/users/{person}/export")["interactions"]
    mine = [i for i in history if i["item"] == picked and i["type"] == act]
    check(len(history) == count + 1 and len(mine) == 1, f"{act} was not recorded once")
    check(mine[0].get("context", {}).get("simulated") is True, "what is done for a simulated viewer stays marked so")
    asked = json.loads([r for r in page.requests if r["url"].endswith("/v1/recommend")][-1]["postData"])
    check(asked.get("min_lsn"), "the refresh waits for the write")
    told = page.js("[...document.querySelectorAll('.card')].map(c => [c.dataset.id, c.querySelector('.move')?.dataset.way, c.querySelector('.move')?.innerText])")
    old = [i for i in before if i != picked]
    for place, (name, way, words) in enumerate(told):
        want = "new" if name not in old else "same" if old.index(name) == place else "up" if old.index(name) > place else "down"
        check(way == want and words, f"{name}: told {way}, moved {want}")
    check(page.js("document.activeElement.closest('.card') !== null"), "the focus stays in the list")
    return told


@test
def a_like_is_recorded_and_the_ranking_changes_visibly(page, server):
    told = acts(page, server, "like", VIEWER)
    check(any(way in ("up", "down", "new") for _, way, _ in told), "a like moved nothing")
    page.wait("/Aimé/.test(document.getElementById('announcer').textContent)", "the change is announced")
    picture(page, "like")


@test
def skip_dislike_and_watched_are_recorded_too(page, server):
    for act in ("skip", "dislike", "complete"):
        acts(page, server, act, OTHER)


@test
def a_stranger_gets_a_cold_start_and_is_told_so_and_nobody_cannot_act(page, server):
    show(page, server, user="visiteur-essai")
    check("Démarrage à froid" in text(page, "#view-titles .banner.info"), "the cold start is told")
    show(page, server, q="exil")
    check(page.js("[...document.querySelectorAll('.card .act:not(.plain)')].every(b => b.disabled)"), "without a viewer nothing can be recorded")
    check("Choisir un spectateur" in text(page, "#view-titles"), "and the page says why")


# ---- the other views ----

@test
def an_item_draws_its_neighbourhood_and_a_node_leads_on(page, server):
    show(page, server, "document.querySelector('#item .graph a.node')", user=VIEWER, item=TITLE)
    graph = server.get(f"/v1/items/{TITLE}/graph")
    want = {n["id"] for n in graph["nodes"]} - {TITLE}
    drawn = set(page.js("[...document.querySelectorAll('#item .graph a.node')].map(n => n.dataset.id)"))
    check(drawn == want, f"drawn {len(drawn)}, neighbours {len(want)}")
    listed = page.js("document.querySelectorAll('#item .graph-list li').length")
    check(listed == len(want), f"the list has {listed}, the graph {len(want)}")
    check(page.js("""(() => { const r = [...document.querySelectorAll('#item .node-label')].map(n => n.getBoundingClientRect());
        return r.every((a, i) => r.every((b, j) => i === j || a.right <= b.left || b.right <= a.left || a.bottom <= b.top + 3 || b.bottom <= a.top + 3)) })()"""),
          "labels of the drawing overlap")
    it = server.get(f"/v1/items/{TITLE}")
    check(it["synopsis"] in text(page, "#item .synopsis") or page.js("document.querySelector('#item .synopsis').textContent") == it["synopsis"], "the synopsis is shown")
    check("Droits" in text(page, "#item"), "the rights are shown")
    page.js("document.querySelector('#item .neighbourhood').scrollIntoView()")
    picture(page, "item")
    neighbour = page.js("document.querySelector('#item .graph a.node[data-kind=item]').dataset.id")
    page.js("document.querySelector('#item .graph a.node[data-kind=item]').focus()")
    page.press("Enter")
    page.wait(f"document.getElementById('item').dataset.item === {json.dumps(neighbour)}", "the node's own record")
    page.js("history.back()")
    page.wait(f"document.getElementById('item').dataset.item === {json.dumps(TITLE)}", "the way back")
    page.press("Escape")
    page.wait("!document.getElementById('item').open && !location.hash.includes('item=')")


@test
def the_plan_shows_estimate_beside_actual(page, server):
    show(page, server, "document.querySelector('.steps li')", user=VIEWER, view="plan")
    steps = page.js("""[...document.querySelectorAll('.steps li')].map(li => [...li.querySelectorAll('.measure')].map(m => [m.dataset.kind, m.querySelector('.measure-value').textContent]))""")
    check(len(steps) >= 3, f"{len(steps)} steps")
    for s in steps:
        check([m[0] for m in s] == ["estimate", "actual"] and all(re.match(r"[\d\s,]+\s(µs|ms|s)$", m[1]) for m in s), f"a step shows {s}")
    check(page.js("document.querySelectorAll('.strategies li').length") == 5 and page.js("document.querySelectorAll('.strategies li[data-chosen=true]').length") == 1, "five strategies, one chosen")
    check(page.js("document.querySelectorAll('.funnel .measure').length") >= 2, "the filter's counts")
    check(page.js("[...document.querySelectorAll('#view-plan [lang=en]')].length") == 0, "the planner's sentences are in French")
    picture(page, "plan")
    show(page, server, user=VIEWER, q="cinéma")
    show(page, server, user=VIEWER, q="cinéma")  # a second time: from the cache
    check("du cache" in text(page, "#list-summary"), "an answer from the cache is told")
    click(page, "#list-summary a")
    click(page, "#remake")
    page.wait("document.querySelector('.steps li')", "the plan of an answer made anew")


@test
def the_viewer_panel_shows_posteriors_and_says_simulated(page, server):
    show(page, server, "document.querySelector('.posterior')", user=VIEWER, view="viewer")
    actions = next(p["actions"] for p in server.get(f"/v1/users/{VIEWER}/policy")["policies"] if p["state"] == "")
    best = max(actions, key=lambda a: a["count"])
    first = text(page, ".posterior")
    check(best["action"].split("=", 1)[1] in first and f"n = {best['count']:.0f}" in first, f"the first posterior reads {first!r}, not {best}")
    rows = page.js("[...document.querySelectorAll('.situation[open] .posterior')].map(r => [+r.querySelector('.measure-value').innerText.replace(',', '.'),"
                   " r.querySelector('.curve-line').getBBox().width > 0, +r.querySelector('.curve-mean').getAttribute('x1') / 200])")
    check(rows and all(drawn and abs(mean - at) < 0.006 for mean, drawn, at in rows), f"each curve has its top where its mean is: {rows}")
    page.wait("document.querySelector('#who .badge')")
    check("simulé" in text(page, "#view-viewer .badge") and "simulé" in text(page, "#who .badge"), "a simulated viewer is marked")
    check("aucune personne réelle" in text(page, "#view-viewer"), "and the note says it in words")
    check(page.js("document.querySelectorAll('.lean').length") > 3, "preferences are shown")
    picture(page, "viewer")


@test
def the_learning_view_shows_models_experiments_and_agents(page, server):
    server.put("/v1/experiments/accueil", {"arms": [{"name": "actuel"}, {"name": "populaire", "ranker": "popular"}], "status": "running"})
    server.post("/v1/learn", {})
    server.put("/v1/agents/soir", {"learner": "thompson", "exploration": {"budget": 0.25}})
    for person in (VIEWER, OTHER):
        answer = server.post("/v1/recommend", {"user": person, "k": 5})
        server.post("/v1/interactions", {"user": person, "item": answer["results"][0]["id"], "type": "like", "recommendation_id": answer["recommendation_id"]})
    for _ in range(600):  # lists are kept by a thread of their own
        standing = server.get("/v1/experiments/accueil/standing")
        if standing["slates"] >= 2:
            break
        time.sleep(0.1)
    show(page, server, "document.querySelector('#view-learning .experiment')", view="learning")
    experiment, whole = text(page, ".experiment"), text(page, "#view-learning")
    check("accueil" in experiment and "en cours" in experiment, f"the experiment and that it runs: {experiment!r}")
    for arm in standing["arms"]:
        check(arm["arm"] in experiment, f"arm {arm['arm']} in {experiment!r}")
    check("trop peu de personnes" in experiment, f"the verdict in French: {experiment!r}")
    check("soir" in whole and "échantillons de Thompson" in whole and "25" in whole, f"the agent: {whole!r}")
    last = server.get("/v1/learners")["last"]
    figures = re.sub(r"\s", "", whole)  # without the spaces in numbers
    check(last["models"] and all(str(m["edges"]) in figures for m in last["models"]), f"the edges of every model of {last} in {whole!r}")
    picture(page, "learning")


@test
def patterns_are_said_drawn_and_counted_in_both_languages(page, server):
    server.post("/v1/learn", {"what": "patterns"})
    found = server.get("/v1/patterns?limit=400")["patterns"]
    check(len(found) > 1 and any(p["kind"] == "genre_affinity" for p in found), f"the sample has patterns: {found}")
    show(page, server, "document.querySelector('#patterns .pattern')", view="learning")
    page.js("document.querySelectorAll('#patterns details').forEach(d => { d.open = true })")
    for lang, sign, also in (("fr", ",", "aiment aussi"), ("en", ".", "also like")):
        click(page, f"#languages [data-lang={lang}]")
        page.wait(f"document.querySelector('#patterns .pattern[data-kind=genre_affinity] .pattern-says')?.textContent.includes({json.dumps(also)})")
        cards = page.js("[...document.querySelectorAll('#patterns .pattern')].map(c => ({kind: c.dataset.kind, facet: c.dataset.facet, text: c.textContent,"
                        " bar: c.querySelector('.interval-bar').getBoundingClientRect().width / c.querySelector('.lift-scale').getBoundingClientRect().width}))")
        check(len(cards) == len(found), f"{len(cards)} cards of {len(found)} patterns")
        for p in found:
            like = [c for c in cards if c["kind"] == p["kind"] and c["facet"] == p["facet"]]
            wanted = [str(p["evidence"]), str(p["people"]), p["valid_until"][:4], p["facet"].split("=", 1)[1]]
            said = [c for c in like if all(w in c["text"] for w in wanted)]
            times = [[float(x.replace(sign, ".")) for x in re.findall(rf"×\s(\d+{re.escape(sign)}\d\d)", c["text"])] for c in said]
            check(any(len(x) == 2 and abs(x[0] - p["lift"]) < 0.006 and abs(x[1] - p["low"]) < 0.006 for x in times), f"{lang}: no card of {like} says {p}: {times}")
            bar = math.log2(p["lift"]) / 4 - math.log2(p["low"]) / 4
            check(p["lift"] > 16 or any(abs(c["bar"] - bar) < 0.02 for c in like), f"the bar goes from the bound to the lift, {bar}: {like}")
        raw = re.findall(r"\b(?:pattern|facet|learning)\.[a-z_.]+\b", text(page, "#patterns"))
        check(not raw, f"keys without words: {raw}")
    other = {"facet": "moods=chaud", "lift": 2, "low": 1.5, "confidence": 0.5, "evidence": 40, "people": 20, "valid_from": "2026-01-01T00:00:00Z", "valid_until": "2027-01-01T00:00:00Z"}
    more = [{**other, "kind": "seasonal_trend", "month": 8, "years": 2}, {**other, "kind": "mood_correlation", "mood": "<b>gai</b>"}]
    learned = {"likings": 40, "people": 20, "at": "2026-01-01T00:00:00Z"}
    said = lambda answer: page.js(f"import('/assets/patterns.js').then(m => m.patterns({json.dumps(answer)}).textContent)")
    check("In August" in said({"patterns": more, "learned": learned}) and "the mood “<b>gai</b>”" in said({"patterns": more, "learned": learned}), "seasons and moods have their sentences")
    check("Nothing beyond" in said({"patterns": [], "learned": learned}) and "Not looked for" in said({"patterns": [], "learned": None}), "nothing found is told from not looked for")
    click(page, "#languages [data-lang=fr]")
    page.js("document.querySelector('#patterns').scrollIntoView()")
    picture(page, "patterns")


# ---- languages, keys, sizes ----

@test
def the_language_changes_everywhere_and_stays(page, server):
    show(page, server, user=VIEWER)
    click(page, "#languages [data-lang=en]")
    page.wait("document.querySelector('.because li')?.textContent.match(/^(because|with|shares|close|matches|is |often|offered)/)", "English reasons")
    check("English" == page.js("document.querySelector('#languages [aria-pressed=true]').getAttribute('aria-label')"), "the toggle tells")
    check("Recommend" == text(page, "#go") and "Plan" in text(page, "#views") and "For Simone" in text(page, "#titles-heading"), "English labels")
    show(page, server, user=VIEWER)
    check(page.js("document.documentElement.lang") == "en", "the choice is kept")
    for view in ("titles", "plan", "viewer"):
        show(page, server, f"document.querySelector('#view-{view} h2') && !document.querySelector('.loading')", user=VIEWER, view=view)
        raw = re.findall(r"\b(?:ask|card|item|plan|viewer|list|did|node|type|step|page|nav|error)\.[a-z_]+\b", page.js("document.body.innerText"))
        check(not raw, f"{view}: keys without words: {raw}")


@test
def every_key_that_the_page_uses_has_words_in_both_languages(page, server):
    folder = os.path.join(stage.ROOT, "web")
    show(page, server, user=VIEWER)
    words = page.js("import('/assets/words.js').then(m => m.WORDS)")
    check(all(len(row) == 2 and all(row) for row in words.values()), "a key lacks a language")
    used = set()
    served = lambda path: page.js(f"fetch({json.dumps(path)}).then(r => r.text())")
    for path in glob.glob(folder + "/*.js"):
        used |= set(re.findall(r"""\bt\("([a-z]+\.[A-Za-z._]+)"[,)]""", served("/assets/" + os.path.basename(path))))
    html = served("/")
    used |= set(re.findall(r'data-t="([^"]+)"', html)) | {p.split("=")[1] for a in re.findall(r'data-t-attr="([^"]+)"', html) for p in a.split()}
    check(len(used) > 80, f"only {len(used)} keys were found")
    check(not used - set(words), f"no words for {sorted(used - set(words))}")


@test
def the_keyboard_alone_searches_opens_and_closes_a_title(page, server):
    show(page, server, user=VIEWER)
    page.press("Tab")
    check(page.js("document.activeElement.id") == "skip", "the first stop is the skip link")
    check(page.js("document.activeElement.getBoundingClientRect().top") >= 0, "which shows itself")
    for _ in range(20):
        if page.js("document.activeElement.id") == "q":
            break
        page.press("Tab")
    check(page.js("document.activeElement.id") == "q", "Tab reaches the search field")
    page.type("guerre et enfance")
    page.press("Enter")
    page.wait("document.getElementById('titles-heading')?.textContent.includes('guerre et enfance') && document.querySelector('.card')")
    check(page.js("document.activeElement.id") == "q", "searching leaves the focus where it was")
    for _ in range(60):
        if page.js("document.activeElement.classList.contains('card-title')"):
            break
        page.press("Tab")
        outline = page.js("(s => s.outlineStyle + ' ' + s.outlineWidth)(getComputedStyle(document.activeElement))")
        check("none" not in outline and not outline.endswith(" 0px"), f"no visible focus on {page.js('document.activeElement.outerHTML')[:120]}")
    title = page.js("document.activeElement.classList.contains('card-title') && document.activeElement.textContent")
    check(title, "Tab reaches a title")
    page.press("Enter")
    page.wait("document.getElementById('item').dataset.item")
    check(text(page, "#item-title") == title.replace("\u00a0", " "), "Enter opens that title")
    for _ in range(8):
        page.press("Tab")
        check(page.js("document.activeElement === document.body || document.getElementById('item').contains(document.activeElement)"), "the focus stays in the dialog")
    page.press("Escape")
    page.wait("!document.getElementById('item').open")
    check(page.js("document.activeElement.textContent") == title, "closing gives the focus back")


@test
def dark_follows_the_system_and_the_toggle_overrules_it(page, server):
    light = "(c => c[0] + c[1] + c[2])(getComputedStyle(document.body).backgroundColor.match(/[\\d.]+/g).map(Number))"
    page.media(prefers_color_scheme="dark")
    show(page, server, user=VIEWER)
    check(page.js(light) < 150, "dark by the system's wish")
    picture(page, "dark")
    click(page, "#theme")
    check(page.js(light) > 600, "light by choice")
    show(page, server, user=VIEWER)
    check(page.js(light) > 600, "the choice is kept")
    page.media(prefers_color_scheme="light")
    click(page, "#theme")
    check(page.js(light) < 150, "dark by choice")
    click(page, "#theme")
    check(page.js(light) > 600, "and back to the system's wish")


@test
def it_fits_a_screen_of_360_pixels(page, server):
    page.size(360, 780, 2)
    for view, ready in (("titles", CARDS), ("plan", "document.querySelector('.steps')"), ("viewer", "document.querySelector('.posterior')"),
                        ("learning", "document.querySelector('#view-learning .panel')")):
        show(page, server, ready, user=VIEWER, view=view)
        wide = page.js("document.documentElement.scrollWidth")
        check(wide <= 360, f"{view} is {wide} wide")
    show(page, server, user=VIEWER)
    page.js("document.querySelector('.card').scrollIntoView()")
    picture(page, "narrow")
    show(page, server, "document.querySelector('#item .graph a.node')", user=VIEWER, item=TITLE)
    check(page.js("document.getElementById('item').scrollWidth") <= 360, "the dialog fits")
    outside = page.js("[...document.querySelectorAll('#item .node-label')].filter(n => n.getBoundingClientRect().right > 361).map(n => n.textContent)")
    check(not outside, f"labels leave the screen: {outside}")
    picture(page, "narrow-item")


# ---- what goes wrong ----

@test
def a_bad_filter_is_refused_in_words(page, server):
    show(page, server, user=VIEWER)
    choose(page, "filter", '{"genre":"drame"}')
    page.wait("document.querySelector('.problem')")
    told = text(page, ".problem")
    check("n’existe pas" in told and 'unknown field "genre"' in told and "HTTP 400" in told, f"the refusal reads {told!r}")
    check("genres" in text(page, "#filter-hint"), "and stands at the field")
    page.complaints = [c for c in page.complaints if "400" not in c]  # the refused request itself
    choose(page, "filter", '{"genres":')
    page.wait("document.getElementById('filter').getAttribute('aria-invalid') === 'true'")
    check("JSON" in text(page, "#view-titles .problem"), "broken JSON is said")
    choose(page, "filter", "")
    page.wait(CARDS)


@test
def an_unknown_title_and_a_server_that_is_gone_are_said(page, server):
    show(page, server, "document.querySelector('#item .problem')", user=VIEWER, item="no-such-title")
    check("Introuvable" in text(page, "#item .problem"), "an unknown title is said")
    page.press("Escape")
    page.call("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=-1, uploadThroughput=-1)
    click(page, "#again")
    page.wait("document.querySelector('#view-titles .problem')")
    check("ne répond pas" in text(page, "#view-titles .problem") and "hors ligne" in text(page, "#health"), "a server that is gone is said")
    page.call("Network.emulateNetworkConditions", offline=False, latency=0, downloadThroughput=-1, uploadThroughput=-1)
    click(page, "#view-titles .problem button")
    page.wait(CARDS)
    check("connecté" in text(page, "#health"), "and its return too")
    page.complaints = [c for c in page.complaints if "404" not in c and "ERR_INTERNET_DISCONNECTED" not in c]


@test
def a_degraded_answer_is_told(page, server):
    show(page, server, user=VIEWER)
    page.js("""(real => { window.fetch = async (...a) => { const r = await real(...a); if (!String(a[0]).includes('/v1/recommend')) return r;
        const b = await r.json(); b.degraded = ['graph']; b.notes = ['some words of the server']; return new Response(JSON.stringify(b), {headers: {'Content-Type': 'application/json'}}) } })(window.fetch)""")
    click(page, "#again")
    page.wait("document.querySelector('#view-titles .banner.bad')")
    check("sans le graphe" in text(page, "#view-titles .banner.bad"), "the missing store is named")
    check(page.js("[...document.querySelectorAll('#view-titles [lang=en]')].some(n => n.textContent === 'some words of the server')"), "a note without French is marked English")


@test
def what_a_catalogue_says_never_becomes_markup(page, server):
    evil = "<img src=x onerror=\"document.title='taken'\"><b>gras</b>"
    server.post("/v1/items", {"id": "evil\"'<i>", "title": evil, "kind": "film", "year": 2001, "synopsis": evil, "genres": ["drame", "<u>genre</u>"], "people": [evil]})
    show(page, server, "document.querySelector('#item .graph a.node')", user=VIEWER, q="onerror document title taken gras", item="evil\"'<i>")
    check(page.js("document.querySelector('#item-title').textContent") == evil, "the title is shown as it is")
    page.wait(CARDS)
    check(page.js("document.querySelectorAll('main img, main b, #item img, #item b, #item u').length") == 0 and page.js("document.title") != "taken", "markup came alive")


@test
def a_link_brings_back_what_was_seen(page, server):
    show(page, server, "document.querySelector('.steps')", user=OTHER, q="mafia", strategy="vector_only", k="4", region="FR", view="plan")
    check(page.js("['user','q','strategy','k','region'].map(n => document.getElementById(n).value).join()") == f"{OTHER},mafia,vector_only,4,FR", "the controls show the link's state")
    asked = json.loads([r for r in page.requests if r["url"].endswith("/v1/search")][-1]["postData"])
    check({k: asked[k] for k in ("user", "text", "strategy", "k", "context")} == {"user": OTHER, "text": "mafia", "strategy": "vector_only", "k": 4, "context": {"region": "FR"}}, f"asked {asked}")
    click(page, "#views a")
    page.wait(CARDS + " === 4 && !document.getElementById('view-titles').hidden")


@test
def axe_finds_no_serious_violation(page, server):
    source, why = stage.axe_source()
    if not source:
        raise Skip(why)
    page.media(prefers_reduced_motion="reduce")
    found = []
    places = [("titles", CARDS, {}), ("plan", "document.querySelector('.steps')", {"view": "plan"}), ("viewer", "document.querySelector('.posterior')", {"view": "viewer"}),
              ("learning", "document.querySelector('#view-learning .panel')", {"view": "learning"}),
              ("item", "document.querySelector('#item .graph a.node')", {"item": TITLE})]
    for scheme in ("light", "dark"):
        page.media(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
        for name, ready, state in places:
            show(page, server, ready, user=VIEWER, **state)
            page.js(source + ";0")
            result = page.js("axe.run(document, {resultTypes: ['violations']}).then(r => r.violations.map(v => [v.impact, v.id, v.nodes.length, v.nodes[0].html.slice(0, 160), v.nodes[0].any.map(a => a.message).join(' ').slice(0, 200)]))")
            found += [f"{scheme} {name}: {v}" for v in result if v[0] in ("serious", "critical")]
            for v in result:
                if v[0] not in ("serious", "critical"):
                    print(f"       axe, {v[0]}: {v[1]} ({scheme} {name})")
    check(not found, "\n".join(found))


# ---- running ----

def main():
    args = argparse.ArgumentParser()
    args.add_argument("braid")
    args.add_argument("--only", default="")
    args = args.parse_args()
    path = cdp.find_browser()
    if not path:
        print("skipped: Chromium is not installed (scripts/deps.sh test installs it)")
        print(f"0 passed, 0 failed, {len(tests)} skipped")
        return 0
    os.makedirs(SHOTS, exist_ok=True)
    for old in glob.glob(os.path.join(SHOTS, "failed-*.png")):
        os.remove(old)
    total = {"passed": 0, "failed": 0, "skipped": 0}
    server = browser = None
    try:
        server = stage.Server(os.path.abspath(args.braid))
        browser = cdp.Browser(path)
        for f in tests:
            if args.only not in f.__name__:
                continue
            total[one(f, browser, server)] += 1
    finally:
        for thing in (browser, server):
            if thing:
                thing.close()
    print(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")
    return 1 if total["failed"] else 0


def one(f, browser, server):
    name, begun = f.__name__.replace("_", " "), time.monotonic()
    page = browser.page()
    outcome, why = "passed", ""
    try:
        page.size(1440, 1000)
        page.call("Storage.clearDataForOrigin", origin=server.url, storageTypes="all")
        f(page, server)
        check(not page.complaints, f"the console complained: {page.complaints[:3]}")
    except Skip as e:
        outcome, why = "skipped", str(e)
    except (AssertionError, RuntimeError, TimeoutError, OSError, IndexError, KeyError, ValueError) as e:
        outcome, why = "failed", f"{type(e).__name__}: {e}"
        try:
            picture(page, "failed-" + f.__name__)
        except (RuntimeError, OSError, TimeoutError):
            pass
    page.close()
    print(f"{ {'passed': 'ok  ', 'failed': 'FAIL', 'skipped': 'skipped'}[outcome]} {name} ({time.monotonic() - begun:.1f} s)" + (f"\n       {why}" if why else ""), flush=True)
    return outcome


if __name__ == "__main__":
    sys.exit(main())
