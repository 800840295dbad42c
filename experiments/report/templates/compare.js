const data = JSON.parse(document.getElementById("curves").textContent);
const choice = document.getElementById("curve");

if (choice) {
  const names = [...new Set(Object.values(data.curves).flatMap(Object.keys))].sort();
  for (const name of names) {
    const option = document.createElement("option");
    option.textContent = name;
    option.selected = name === "loss";
    choice.append(option);
  }
  const draw = () => {
    const drawn = data.names.flatMap((run, k) => {
      const points = (data.curves[run] || {})[choice.value];
      if (!points) return [];
      return [{
        type: "scatter", mode: points.length > 40 ? "lines" : "lines+markers",
        name: asText(run), showlegend: true, x: points.map((p) => p[0]), y: points.map((p) => p[1]),
        line: { color: color(`--run-${k % 10}`), width: 1.8,
          dash: ["solid", "dot", "dash"][Math.floor(k / 10) % 3] },
        marker: { size: 5 },
      }];
    });
    Plotly.react("curve-plot", drawn, themedLayout({
      xaxis: { title: { text: "step" } }, hovermode: "x unified",
    }), plotSettings);
  };
  choice.addEventListener("change", draw);
  onThemeChange(draw);
  draw();
}
