const data = JSON.parse(document.getElementById("map-data").textContent);
const levelChoice = document.getElementById("level");
const planeChoice = document.getElementById("plane");
const markChoice = document.getElementById("mark");
const MAX_LEGEND = 20;

function joined(path) { return path.join(" / "); }

function truePath(row) {
  const finest = data.levels.length - 1;
  let level = finest;
  while (level >= 0 && data.labels[level][row] < 0) level -= 1;
  if (level < 0) return "unknown";
  const node = data.labels[level][row];
  const path = data.paths[data.ancestors.findIndex((nodes) => nodes[level] === node)];
  return level === finest ? joined(path) : joined([...path.slice(0, level + 1), "?"]);
}

const last = data.levels.length - 1;
const hover = data.names.map((name, row) => {
  const predicted = data.predictions[last][row];
  return `<b>${asText(name)}</b><br>true: ${asText(truePath(row))}<br>predicted: ` +
    asText(predicted < 0 ? "none" : joined(data.paths[predicted]));
});

// The finest level, at most the chosen one, whose nodes fit into a legend.
function legendLevel(level) {
  for (let k = level; k >= 0; k -= 1) {
    if (new Set(data.labels[k]).size <= MAX_LEGEND) return k;
  }
  return -1;
}

function traces(level, plot, type) {
  const named = legendLevel(level);
  const groups = new Map();
  data.names.forEach((_, row) => {
    const key = data.labels[level][row] < 0 ? -1 : named < 0 ? 0 : data.labels[named][row];
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(row);
  });
  const order = [...groups.keys()].sort((a, b) => (a < 0) - (b < 0) || a - b);
  const many = data.names.length > 600, inSpace = type === "scatter3d";
  return order.flatMap((key) => {
    const rows = groups.get(key);
    const wrong = (row) => markChoice.checked && data.labels[level][row] >= 0 &&
      data.predictions[level][row] !== data.labels[level][row];
    const name = key < 0 ? "unknown" : named < 0 ? "all" : data.levels[named].nodes[key];
    const trace = {
      type, mode: "markers", name: asText(name), legendgroup: String(key), showlegend: false,
      text: rows.map((row) => hover[row]), hovertemplate: "%{text}<extra></extra>",
      marker: {
        color: rows.map((row) => key < 0 ? color("--faint")
          : data.levels[level].colors[data.labels[level][row]]),
        // In space a symbol is a letter of some font, and few fonts have that of "x".
        symbol: rows.map((row) => !wrong(row) ? "circle" : inSpace ? "cross" : "x"),
        size: rows.map((row) => inSpace ? (wrong(row) ? 6 : 5) : (many ? 6 : 8)),
        opacity: 0.85, line: { width: 0 },
      },
    };
    ["x", "y", "z"].slice(0, plot.points.length).forEach((axis, k) => {
      trace[axis] = rows.map((row) => plot.points[k][row]);
    });
    if (inSpace || (named < 0 && key >= 0)) return [trace];
    // A dot of the family's own colour, whatever the first of its points is.
    const dot = { type, mode: "markers", name: trace.name, legendgroup: trace.legendgroup,
      showlegend: true, x: [null], y: [null], hoverinfo: "skip", marker: { size: 8,
        color: key < 0 ? color("--faint") : data.levels[named].colors[key] } };
    return [trace, dot];
  });
}

function drawPlane() {
  const plot = data.planes[planeChoice.value];
  const bare = plot.axes[0] === "";
  const axis = (k) => ({ title: { text: plot.axes[k], font: { size: 12 } }, zeroline: false,
    showticklabels: !bare, showgrid: !bare, showline: false });
  const equal = planeChoice.value === "embedding" && plot.axes[1].startsWith("spread")
    ? {} : { scaleanchor: "x" };
  Plotly.react("plane-plot", traces(Number(levelChoice.value), plot, "scatter"),
    themedLayout({ xaxis: axis(0), yaxis: { ...axis(1), ...equal }, hovermode: "closest",
      margin: bare ? { l: 12, b: 12 } : {}, legend: { y: bare ? -0.02 : -0.12 } }),
    plotSettings);
}

function hasWebGL() {
  try {
    return Boolean(document.createElement("canvas").getContext("webgl"));
  } catch {
    return false;
  }
}

const spaceWorks = Boolean(data.space) && hasWebGL();
if (data.space && !spaceWorks) {
  document.getElementById("space-plot").hidden = true;
  document.getElementById("space-static").hidden = false;
}

function drawSpace() {
  if (!spaceWorks) return;
  const axis = (k) => ({ title: { text: data.space.axes[k], font: { size: 11 } },
    gridcolor: color("--rule"), zerolinecolor: color("--rule"), showbackground: false,
    showticklabels: false });
  Plotly.react("space-plot", traces(Number(levelChoice.value), data.space, "scatter3d"),
    themedLayout({
      scene: { xaxis: axis(0), yaxis: axis(1), zaxis: axis(2), aspectmode: "data" },
      margin: { l: 0, r: 0, t: 0, b: 0 }, uirevision: "kept",
      showlegend: false,
    }), plotSettings);
}

function draw() {
  drawPlane();
  drawSpace();
}

levelChoice.addEventListener("change", draw);
markChoice.addEventListener("change", draw);
planeChoice.addEventListener("change", drawPlane);
onThemeChange(draw);
draw();

const confusionChoice = document.getElementById("confusion-level");
const confusions = [...document.querySelectorAll(".confusions")];
function showConfusions() {
  confusions.forEach((table, k) => { table.hidden = k !== Number(confusionChoice.value); });
}
confusionChoice.addEventListener("change", showConfusions);
showConfusions();
