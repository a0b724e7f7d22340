"use strict";

const page = JSON.parse(document.getElementById("data").textContent);
const find = (id) => document.getElementById(id);
const state = { row: 0, column: null, falling: false };

// ---- Words and numbers ----

function shown(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "string") return value;
  const size = Math.abs(value);
  const digits = size !== 0 && (size < 1e-3 || size >= 1e6)
    ? value.toExponential(3).replace(/\.?0+e/, "e")
    : String(Number(value.toPrecision(4)));
  return digits.replace(/^-/, "−").replace("e-", "e−");
}

const signed = (value) => (value > 0 ? "+" : "") + shown(Number(value.toPrecision(2)));

// A name as Plotly shall write it: it takes < and & for markup, and $ for a formula.
function label(name, most = 28) {
  const short = name.length > most ? name.slice(0, most - 1) + "…" : name;
  return short.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/\$/g, "&#36;");
}

function cell(kind, text, className) {
  const element = document.createElement(kind);
  element.textContent = text;
  if (className) element.className = className;
  if (kind === "th") element.scope = "row";
  return element;
}

function fill(select, names, chosen, changed) {
  names.forEach((name, place) => select.add(new Option(name, place)));
  select.value = chosen;
  select.addEventListener("change", changed);
}

const chosen = (id) => Number(find(id).value);
const named = () => `row ${state.row + 1}`;

// ---- Pictures ----

const tone = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function draw(id, traces, layout, words) {
  const axis = { gridcolor: tone("line"), zerolinecolor: tone("line"), linecolor: tone("muted"), automargin: true };
  const whole = {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: tone("ink"), family: "system-ui, sans-serif", size: 13 },
    margin: { l: 12, r: 12, t: 8, b: 12 },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
    hoverlabel: { bgcolor: tone("panel"), bordercolor: tone("muted"), font: { color: tone("ink") } },
    hovermode: "closest",
    // Where a finger scrolls the page, it shall not zoom the picture.
    dragmode: matchMedia("(pointer: fine)").matches ? "zoom" : false,
    ...layout,
    xaxis: { ...axis, ...layout.xaxis },
    yaxis: { ...axis, ...layout.yaxis },
  };
  find(id).setAttribute("aria-label", words);
  // A reader of the screen is told the words above, not the parts of the picture.
  Plotly.react(id, traces, whole, { displayModeBar: false, responsive: true }).then(() =>
    document.querySelectorAll("svg").forEach((part) => part.setAttribute("aria-hidden", "true")));
}

const title = (text) => ({ title: { text: label(text), standoff: 8 } });
const points = (x, y, text, color, more = {}) => ({
  x, y, text, type: "scatter", mode: "markers", hoverinfo: "text", marker: { color, size: 7 }, ...more,
});
const described = (values) =>
  page.columns.map((column, place) => `${label(column.name)}: ${label(shown(values[place]))}`).join("<br>");

function drawParallel() {
  const columns = page.columns;
  const place = (value, column) => {
    if (column.text) return column.values.indexOf(value) / Math.max(1, column.values.length - 1);
    return column.high === column.low ? 0.5 : (value - column.low) / (column.high - column.low);
  };
  const lines = (rows) => {
    const x = [], y = [], text = [];
    for (const values of rows) {
      columns.forEach((column, at) => {
        x.push(at);
        y.push(place(values[at], column));
        text.push(`${label(column.name)}: ${label(shown(values[at]))}`);
      });
      x.push(null); y.push(null); text.push("");
    }
    return { x, y, text };
  };
  const end = (at, value, high) => ({
    x: at, y: high ? 1.04 : -0.04, text: label(shown(value)), showarrow: false,
    yanchor: high ? "bottom" : "top", font: { size: 11, color: tone("muted") },
  });
  const trace = (rows, name, line, opacity) => ({
    ...lines(rows), name, line, opacity, type: "scatter", mode: "lines+markers", hoverinfo: "text", marker: { size: 4 },
  });
  find("parallel").style.minWidth = `${64 * columns.length}px`;
  draw("parallel", [
    trace(page.partners[state.row], "partners", { color: tone("accent"), width: 1 }, 0.55),
    trace([page.rows.x[state.row]], "the row itself", { color: tone("own"), width: 3 }, 1),
  ], {
    margin: { l: 24, r: 24, t: 8, b: 12 },
    xaxis: {
      tickvals: columns.map((_, at) => at), ticktext: columns.map((column) => label(column.name, 14)),
      range: [-0.35, columns.length - 0.65], showgrid: true, zeroline: false, fixedrange: true,
    },
    yaxis: { visible: false, range: [-0.16, 1.16], fixedrange: true },
    annotations: columns.flatMap((column, at) => {
      const [low, high] = column.text ? [column.values[0], column.values.at(-1)] : [column.low, column.high];
      return [end(at, low, false), end(at, high, true)];
    }),
  }, `Parallel coordinates of the partners of ${named()}; the table below has the numbers`);
}

function drawOrbit() {
  const across = chosen("across"), up = chosen("up");
  const alone = page.columns.length === 1;
  const along = (rows, at) =>
    rows.map((values) => (page.columns[at].text ? label(values[at]) : values[at]));
  const take = (rows) => [
    along(rows, across),
    alone ? rows.map((_, number) => number) : along(rows, up),
    rows.map(described),
  ];
  const axis = (at) => ({
    ...title(page.columns[at].name),
    ...(page.columns[at].text ? { type: "category", categoryarray: page.columns[at].values.map(label) } : {}),
  });
  const own = page.rows.x[state.row];
  draw("plane", [
    alone ? null : points(...take(page.cloud), tone("cloud"), { name: "data", marker: { color: tone("cloud"), size: 4, opacity: 0.5 }, hoverinfo: "skip" }),
    points(...take(page.orbits[state.row]), tone("accent"), { name: "orbit", mode: alone ? "markers" : "lines", line: { color: tone("accent"), width: 2.5 } }),
    points(...take(page.partners[state.row]), tone("accent"), { name: "partners" }),
    points(...take([own]), tone("own"), { name: "row", marker: { color: tone("own"), size: 13, symbol: "diamond" } }),
  ].filter(Boolean), {
    xaxis: axis(across),
    yaxis: alone ? title("number") : axis(up),
  }, `Orbit and partners of ${named()} in ${page.columns[across].name} and ${page.columns[up].name}`);
}

function drawPrediction() {
  const target = chosen("target");
  const y = page.prediction.y.map((values) => values[target]);
  const predicted = page.prediction.y_hat.map((values) => values[target]);
  const ends = [Math.min(...y, ...predicted), Math.max(...y, ...predicted)];
  const text = y.map((value, number) => `row ${number + 1}<br>true ${shown(value)}<br>predicted ${shown(predicted[number])}`);
  draw("predicted", [
    points(y, predicted, text, tone("accent"), { name: "rows", marker: { color: tone("accent"), size: 5, opacity: 0.5 } }),
    { x: ends, y: ends, name: "predicted = true", type: "scatter", mode: "lines", hoverinfo: "skip", line: { color: tone("muted"), width: 1.5, dash: "dash" } },
    points([y[state.row]], [predicted[state.row]], [text[state.row]], tone("own"), { name: "row", marker: { color: tone("own"), size: 13, symbol: "diamond" } }),
  ], { xaxis: title(`${page.targets[target]}, true`), yaxis: title(`${page.targets[target]}, predicted`) },
  `Predicted against true ${page.targets[target]} of ${y.length} rows`);
}

function drawCurves() {
  const metrics = Object.keys(page.curves.metrics);
  const metric = metrics[chosen("metric")];
  const copies = Object.entries(page.curves.seeds);
  const positive = copies.every(([, copy]) => copy[metric].every((value) => value === null || value > 0));
  const dashes = ["solid", "dash", "dot", "dashdot", "longdash"];
  draw("curves", copies.map(([seed, copy], place) => ({
    x: copy.step, y: copy[metric], name: `seed ${seed}`, type: "scatter", mode: "lines",
    line: { width: 1.8, dash: dashes[place % dashes.length], color: [tone("accent"), tone("own"), tone("good")][place % 3] },
  })), {
    xaxis: title("step"),
    yaxis: { ...title(page.curves.metrics[metric]), type: positive ? "log" : "linear" },
  }, `Training curves of ${page.curves.metrics[metric]}, ${copies.length} seeds`);
}

// ---- Tables ----

function fillTable() {
  const predicted = (rows) => (page.partners_y_hat ? rows : []);
  const partners = page.partners[state.row].map((values, number) => ({
    name: `${number + 1}${page.astray[state.row][number] ? ", astray" : ""}`,
    values: [number + 1, ...values, ...predicted(page.partners_y_hat?.[state.row][number])],
  }));
  const own = { name: "row", values: ["row", ...page.rows.x[state.row], ...predicted(page.rows.y_hat?.[state.row])] };
  if (state.column !== null) {
    const order = ({ values: one }, { values: other }) => {
      const [first, second] = [one[state.column], other[state.column]];
      return typeof first === "string" ? first.localeCompare(second) : first - second;
    };
    partners.sort((one, other) => (state.falling ? -order(one, other) : order(one, other)));
  }
  const body = find("table").tBodies[0];
  body.replaceChildren(...[own, ...partners].map(({ name, values }, place) => {
    const line = document.createElement("tr");
    if (place === 0) line.className = "own";
    line.append(cell("th", name), ...values.slice(1).map((value) =>
      cell("td", shown(value), typeof value === "number" ? "number" : "")));
    return line;
  }));
  for (const [place, head] of [...find("table").tHead.rows[0].cells].entries()) {
    const sorted = place === state.column;
    head.setAttribute("aria-sort", sorted ? (state.falling ? "descending" : "ascending") : "none");
    head.querySelector("[aria-hidden]").textContent = sorted ? (state.falling ? " ▼" : " ▲") : "";
  }
  const astray = page.astray[state.row].filter(Boolean).length;
  find("table-caption").textContent = `${partners.length} partners of ${named()}; `
    + (astray ? `${astray} of them did not come back to its level and are astray; ` : "")
    + "a press on a heading sorts them";
}

function head() {
  const names = ["partner", ...page.columns.map((column) => column.name)];
  if (page.partners_y_hat) names.push(...page.targets.map((name) => `${name}, predicted`));
  find("table").tHead.rows[0].append(...names.map((name, place) => {
    const cell = document.createElement("th");
    cell.scope = "col";
    const text = place === 0 || page.columns[place - 1]?.text;
    if (!text) cell.className = "number";
    const button = document.createElement("button");
    button.type = "button";
    button.append(name, Object.assign(document.createElement("span"), { ariaHidden: "true" }));
    button.addEventListener("click", () => {
      state.falling = state.column === place && !state.falling;
      state.column = place;
      fillTable();
    });
    cell.append(button);
    return cell;
  }));
}

function fillRates() {
  if (!page.rates) return;
  const raised = chosen("raised");
  const { name, step } = page.columns[raised];
  const by = (rate) => (rate === null ? null : rate * step);
  const span = (column) => column.high - column.low;
  find("raised-by").textContent = shown(step);
  find("rates-caption").textContent = `What keeps ${page.level} when ${name} rises by ${shown(step)}, at ${named()}`;
  const rows = page.columns.map((column, place) => {
    if (place === raised || column.text) return null;
    const alone = by(page.rates.alone[state.row][raised][place]);
    const together = by(page.rates.together[state.row][raised][place]);
    const middle = page.rates.middle.map((rates) => by(rates[raised][place]));
    const too = alone !== null && Math.abs(alone) > span(column);
    const line = document.createElement("tr");
    line.append(
      cell("th", column.name),
      cell("td", alone === null ? "–" : too ? "more than its range" : signed(alone), "number"),
      cell("td", middle[0] === null ? "–" : `${signed(middle[0])} to ${signed(middle[2])}`, "number"),
      cell("td", together === null ? "–" : signed(together), "number"),
    );
    return line;
  });
  find("rates").tBodies[0].replaceChildren(...rows.filter(Boolean));
}

// ---- The page ----

function drawRow() {
  drawParallel();
  drawOrbit();
  if (page.prediction) drawPrediction();
}

function drawAll() {
  drawRow();
  if (page.curves) drawCurves();
}

function pick(row) {
  state.row = (row + page.rows.x.length) % page.rows.x.length;
  find("row").value = state.row;
  const y = page.rows.y[state.row].map((value, place) => `${page.targets[place]} ${shown(value)}`);
  find("said").textContent = `Row ${state.row + 1} of ${page.rows.x.length}: ${y.join(", ")}; its partners are shown.`;
  fillTable();
  fillRates();
}

function turn(row) {
  pick(row);
  drawRow();
}

const names = page.columns.map((column) => column.name);
fill(find("row"), page.rows.x.map((values, row) =>
  `${row + 1}: ${names.slice(0, 2).map((name, place) => `${name} ${shown(values[place])}`).join(", ")}`),
0, () => turn(chosen("row")));
find("previous").addEventListener("click", () => turn(state.row - 1));
find("next").addEventListener("click", () => turn(state.row + 1));
fill(find("across"), names, 0, drawOrbit);
fill(find("up"), names, Math.min(1, names.length - 1), drawOrbit);
if (page.prediction) fill(find("target"), page.targets, 0, drawPrediction);
if (page.curves) fill(find("metric"), Object.values(page.curves.metrics), 0, drawCurves);
if (page.rates) {
  const raised = find("raised");
  fill(raised, names, page.rates.first, fillRates);
  page.columns.forEach((column, place) => { raised.options[place].disabled = !column.step; });
}
for (const element of document.querySelectorAll("[data-number]")) {
  element.textContent = shown(Number(element.dataset.number));
}
head();
pick(0);
find("unscripted").remove();
performance.mark("ready");
// The tables stand at once; the library of the pictures, large as it is, comes after them.
document.addEventListener("DOMContentLoaded", () => {
  drawAll();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
});
