/* curve: what is believed of a chance of success, as the bell that answers draw from.
 *
 * Each bell is as tall as the others and as wide as its spread, so what the eye compares is how sure the policy is. It is
 * cut at 0 and 1, as the draws are. A bell narrower than a pixel is drawn a pixel wide. The numbers stand beside it as text:
 * the drawing is hidden from those who listen. */
import { svg } from "./dom.js";

const WIDTH = 200,
    HEIGHT = 24,
    STEPS = 100;

function height(x, mean, spread) {
    const z = (x - mean) / Math.max(spread, 1 / WIDTH);
    return Math.exp(-0.5 * z * z);
}

/* The path of the bell over 0..1. The mean is one of the points: the top is never between two of them. */
function outline(mean, spread) {
    const at = Array.from({ length: STEPS + 1 }, (_, i) => i / STEPS);
    const points = [...at, mean].sort((a, b) => a - b).map((x) => {
        const y = HEIGHT - 1 - height(x, mean, spread) * (HEIGHT - 3);
        return `${(x * WIDTH).toFixed(1)} ${y.toFixed(1)}`;
    });
    return "M" + points.join("L");
}

export function curve(mean, spread) {
    const middle = Math.max(0, Math.min(1, mean)),
        line = outline(middle, spread);
    return svg(
        "svg",
        { class: "curve", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
        svg("path", { class: "curve-area", d: `${line}L${WIDTH} ${HEIGHT - 1}L0 ${HEIGHT - 1}Z` }),
        svg("path", { class: "curve-line", d: line }),
        svg("line", { class: "curve-base", x1: 0, x2: WIDTH, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5 }),
        svg("line", { class: "curve-mean", x1: middle * WIDTH, x2: middle * WIDTH, y1: 1, y2: HEIGHT }),
    );
}
