/* graph: the neighbourhood of one title, drawn around it, and the same as a list.
 *
 * Layout: the title in the middle, its neighbours on an ellipse, sorted clockwise by kind; heights are equal steps
 * rather than equal angles, so that labels never touch however many there are. On a narrow screen the ellipse
 * becomes a fan to the right. A force layout was rejected: a star has nothing to untangle, and a picture that is
 * different each time cannot be remembered. A kind has a colour, a shape of its own and its name in the legend and
 * the label. Every node is a link: titles lead on, facets filter. */
import { h, svg } from "./dom.js";
import { t, term, number } from "./i18n.js";

export const FIELD_OF = { genre: "genres", theme: "themes", mood: "moods", context: "contexts", person: "people" };
const ORDER = ["item", "person", "context", "mood", "theme", "genre"];
const LEGEND = ["item", "genre", "theme", "mood", "context", "person"];
const ROW = 36,
    DRAWN_MAX = 40,
    NARROW = 600,
    LETTER = 7.1;

/* Nodes around the centre, one each however many edges lead to it, with what the edges say. */
export function neighbours(data) {
    const by = new Map();
    for (const n of data.nodes) if (n.id !== data.center && !by.has(n.id)) by.set(n.id, { ...n, edges: [] });
    for (const e of data.edges) {
        const other = by.get(e.from === data.center ? e.to : e.from);
        if (other) other.edges.push(e);
    }
    const strength = (n) => Math.max(0, ...n.edges.map((e) => e.strength ?? 1));
    return [...by.values()]
        .map((n) => ({ ...n, strength: strength(n) }))
        .sort(
            (a, b) =>
                ORDER.indexOf(a.kind) - ORDER.indexOf(b.kind) ||
                b.strength - a.strength ||
                a.label.localeCompare(b.label),
        );
}

/* What the small second line of a node says: the relation, or its kind. */
function saying(n) {
    if (n.kind !== "item") return term("node", n.kind).toLowerCase();
    return [...new Set(n.edges.map((e) => term("type", e.type)))].join(", ");
}

function cut(text, width) {
    const max = Math.max(8, Math.floor(width / LETTER));
    return text.length > max ? text.slice(0, max - 1).trimEnd() + "…" : text;
}

const SHAPES = {
    item: () => svg("rect", { x: -8, y: -6, width: 16, height: 12, rx: 2.5 }),
    genre: () => svg("circle", { r: 7 }),
    theme: () => svg("path", { d: "M0-9 9 0 0 9-9 0Z" }),
    mood: () => svg("path", { d: "M0-8.5 8.6 6.5H-8.6Z" }),
    context: () => svg("rect", { x: -6.5, y: -6.5, width: 13, height: 13 }),
    person: () => svg("path", { d: "M-4.2-8H4.2L8.4 0 4.2 8H-4.2L-8.4 0Z" }),
};
const shape = (kind) => (SHAPES[kind] || SHAPES.genre)();

function places(nodes, width) {
    const narrow = width < NARROW;
    const right = narrow ? nodes : nodes.slice(0, Math.ceil(nodes.length / 2));
    const left = narrow ? [] : nodes.slice(right.length).reverse();
    const rows = Math.max(right.length, left.length, 6);
    const height = rows * ROW + 24,
        cy = height / 2,
        cx = narrow ? 34 : width / 2;
    const rx = narrow ? 66 : Math.min(190, width * 0.2),
        ry = height / 2 + 14;
    const along = (side, sign) =>
        side.map((node, i) => {
            const y = cy + (i - (side.length - 1) / 2) * ROW;
            const x = cx + sign * Math.max(narrow ? 40 : 70, rx * Math.sqrt(Math.max(0, 1 - ((y - cy) / ry) ** 2)));
            return { node, x, y, sign, room: sign > 0 ? width - x - 18 : x - 18 };
        });
    return { cx, cy, height, placed: [...along(right, 1), ...along(left, -1)] };
}

function edge(p, cx, cy) {
    const bend = cx + (p.x - cx) * 0.55;
    return svg("path", {
        class: "edge",
        "data-kind": p.node.kind,
        d: `M${cx} ${cy}Q${bend.toFixed(1)} ${p.y.toFixed(1)} ${p.x.toFixed(1)} ${p.y.toFixed(1)}`,
        "stroke-width": (1 + 2.2 * p.node.strength).toFixed(1),
    });
}

function node(p, on) {
    const n = p.node,
        second = saying(n),
        item = n.kind === "item";
    const name = item
        ? `${n.label}, ${second}, ${t("item.strength", { n: number(n.strength, 2) })}`
        : `${t("item.filter", { what: n.label })}, ${second}`;
    const anchor = p.sign > 0 ? "start" : "end",
        dx = p.sign * 15;
    return svg(
        "a",
        {
            class: "node",
            "data-kind": n.kind,
            "data-id": n.id,
            href: on.link(n),
            "aria-label": name,
            transform: `translate(${p.x.toFixed(1)} ${p.y.toFixed(1)})`,
        },
        svg("title", null, `${n.label} (${second})`),
        svg("rect", {
            class: "node-hit",
            x: p.sign > 0 ? -14 : -p.room,
            y: -ROW / 2 + 1,
            width: p.room + 12,
            height: ROW - 2,
            rx: 6,
        }),
        shape(n.kind),
        svg("text", { x: dx, y: item ? -1 : 4, "text-anchor": anchor, class: "node-label" }, cut(n.label, p.room)),
        item && svg("text", { x: dx, y: 13, "text-anchor": anchor, class: "node-second" }, cut(second, p.room * 1.15)),
    );
}

function legend(kinds) {
    return h(
        "ul",
        { class: "legend", "aria-hidden": "true" },
        LEGEND.filter((k) => kinds.has(k)).map((k) =>
            h(
                "li",
                null,
                svg(
                    "svg",
                    { viewBox: "-11 -11 22 22", width: 18, height: 18, class: "node", "data-kind": k },
                    shape(k),
                ),
                term("node", k),
            ),
        ),
    );
}

function list(nodes, on) {
    const groups = LEGEND.map((kind) => [kind, nodes.filter((n) => n.kind === kind)]).filter(([, some]) => some.length);
    return h(
        "details",
        { class: "graph-list" },
        h("summary", null, t("item.graph.list")),
        groups.map(([kind, some]) => [
            h("h4", null, term("node", kind)),
            h(
                "ul",
                null,
                some.map((n) =>
                    h(
                        "li",
                        null,
                        h("a", { href: on.link(n) }, n.label),
                        n.kind === "item" && ` (${saying(n)}, ${t("item.strength", { n: number(n.strength, 2) })})`,
                    ),
                ),
            ),
        ]),
    );
}

/* The picture, its legend and the list. `on.link(node)` gives a node's address. */
export function draw(data, title, width, on) {
    const nodes = neighbours(data);
    if (!nodes.length) return h("p", { class: "hint" }, t("item.graph.empty"));
    const drawn = nodes.slice(0, DRAWN_MAX);
    const { cx, cy, height, placed } = places(drawn, width);
    const picture = svg(
        "svg",
        {
            class: "graph",
            viewBox: `0 0 ${width} ${height}`,
            width,
            height,
            role: "group",
            "aria-label": t("item.graph.alt", { title, n: nodes.length }),
        },
        svg(
            "g",
            { "aria-hidden": "true" },
            placed.map((p) => edge(p, cx, cy)),
        ),
        svg(
            "g",
            { class: "center", transform: `translate(${cx} ${cy})`, "aria-hidden": "true" },
            svg("circle", { r: 22 }),
            svg("path", { class: "c1", d: "M-8-12C-8-2 8-2 8 8 8 10 7 11 6 12" }),
            svg("path", { class: "c2", d: "M8-12C8-2-8-2-8 8-8 10-7 11-6 12" }),
            svg("path", { class: "c3", d: "M0-12V12" }),
            width >= NARROW && svg("text", { y: 40, "text-anchor": "middle" }, cut(title, 190)),
        ),
        placed.map((p) => node(p, on)),
    );
    return h(
        "div",
        { class: "graph-box" },
        legend(new Set(nodes.map((n) => n.kind))),
        picture,
        nodes.length > drawn.length &&
            h("p", { class: "hint" }, t("item.graph.cut", { n: nodes.length - drawn.length })),
        list(nodes, on),
    );
}
