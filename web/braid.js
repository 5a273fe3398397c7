/* braid: the small picture on a card, three strands woven as strongly as their scores.
 *
 * Each strand is a sine, a third of a turn after the one before; its width is its score. The picture is an
 * ornament with a meaning (a fat blue strand: found by likeness) and hidden from screen readers: the bars beside
 * it say the same with numbers. */
import { svg } from "./dom.js";

const WIDTH = 44,
    HEIGHT = 116,
    STEPS = 28,
    TURNS = 1.25;
export const STRANDS = ["vector", "graph", "policy"];

function path(phase) {
    const points = [];
    for (let i = 0; i <= STEPS; i++) {
        const y = (i / STEPS) * (HEIGHT - 12) + 6;
        const x = WIDTH / 2 + Math.sin((i / STEPS) * TURNS * 2 * Math.PI + phase) * 12;
        points.push(`${x.toFixed(1)} ${y.toFixed(1)}`);
    }
    return "M" + points.join("L");
}

const PATHS = STRANDS.map((_, i) => path((i * 2 * Math.PI) / 3));

export function braid(strands) {
    const order = STRANDS.map((name, i) => ({ name, i, share: Math.max(0, Math.min(1, strands[name] || 0)) }));
    order.sort((a, b) => a.share - b.share);
    return svg(
        "svg",
        { class: "braid", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true", focusable: "false" },
        order.map(({ name, i, share }) =>
            svg("path", {
                d: PATHS[i],
                class: "strand",
                "data-kind": name,
                "stroke-width": (share > 0 ? 1.6 + share * 6 : 1).toFixed(1),
                "stroke-dasharray": share > 0 ? null : "1 5",
            }),
        ),
    );
}
