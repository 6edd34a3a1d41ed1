"use strict";

// ---- Light and dark: the system's, until the button says otherwise ----

const root = document.documentElement;
const stored = () => { try { return localStorage.getItem("theme"); } catch { return null; } };  // None from disk, in some browsers.
if (stored()) root.dataset.theme = stored();
document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* Then it lasts as long as the page. */ }
});

// ---- Tables sort by a click on a column's head ----

const valueOf = (row, column) => {
    const text = row.cells[column].textContent.trim(), number = parseFloat(text.replaceAll(/[,\s]/g, ""));
    return [text, number];
};

function sort(head, column) {
    const table = head.closest("table"), up = head.getAttribute("aria-sort") !== "ascending";
    const rows = [...table.tBodies[0].rows].map((row) => [row, ...valueOf(row, column)]);
    const numbers = rows.every(([, text, number]) => !Number.isNaN(number) || ["", "-"].includes(text));
    const order = numbers ? (a, b) => (a[2] || 0) - (b[2] || 0) : (a, b) => a[1].localeCompare(b[1]);
    rows.sort((a, b) => up ? order(a, b) : order(b, a));
    table.tBodies[0].append(...rows.map(([row]) => row));
    for (const each of head.parentElement.cells) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
}

for (const head of document.querySelectorAll("thead th")) {
    const button = document.createElement("button"), column = head.cellIndex;
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(head, column));
    head.append(button);
}

document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
