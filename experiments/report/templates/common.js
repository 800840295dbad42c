"use strict";

// Class and file names are text, but plots read tags and entities in it.
function asText(value) {
  return String(value).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function themedLayout(more) {
  const axis = { gridcolor: color("--rule"), zerolinecolor: color("--rule"),
    linecolor: color("--rule"), automargin: true };
  const layout = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 12, color: color("--ink") },
    hoverlabel: { bgcolor: color("--raised"), bordercolor: color("--rule"), align: "left",
      font: { family: "system-ui, sans-serif", size: 12, color: color("--ink") } },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: color("--faint"), activecolor: color("--ink") },
    margin: { l: 44, r: 12, t: 12, b: 44 },
    legend: { orientation: "h", y: -0.12, yanchor: "top", x: 0, font: { size: 11 } },
    xaxis: { ...axis }, yaxis: { ...axis },
  };
  for (const [key, value] of Object.entries(more)) {
    layout[key] = value && value.constructor === Object ? { ...layout[key], ...value } : value;
  }
  return layout;
}

const plotSettings = { displaylogo: false, responsive: true,
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };

function onThemeChange(draw) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}

// One tip for all terms; its text is that of the glossary.
const tip = document.getElementById("tip");
function showTip(event) {
  const button = event.currentTarget;
  const entry = document.getElementById(button.getAttribute("aria-describedby"));
  tip.replaceChildren(...[...entry.children].map((node) => node.cloneNode(true)));
  tip.hidden = false;
  const at = button.getBoundingClientRect();
  const left = Math.min(at.left, document.documentElement.clientWidth - tip.offsetWidth - 12);
  const below = at.bottom + 8 + tip.offsetHeight < innerHeight;
  tip.style.left = `${Math.max(12, left) + scrollX}px`;
  tip.style.top = `${(below ? at.bottom + 6 : at.top - tip.offsetHeight - 6) + scrollY}px`;
}
function hideTip() { tip.hidden = true; }
for (const button of document.querySelectorAll(".term")) {
  for (const name of ["mouseenter", "focus", "click"]) button.addEventListener(name, showTip);
  for (const name of ["mouseleave", "blur"]) button.addEventListener(name, hideTip);
}
document.addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });
