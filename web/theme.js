/* theme: the one classic script. It runs before the first paint, so that a chosen theme or language never flashes
 * past as the other one. The choice is kept in localStorage; without one the system decides, by prefers-color-
 * scheme (style.css) and by French first. */
(function () {
    try {
        const theme = localStorage.getItem("braid.theme");
        const lang = localStorage.getItem("braid.lang");
        if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
        if (lang === "en") document.documentElement.lang = "en";
    } catch (e) {
        /* storage may be forbidden; the defaults hold */
    }
})();
