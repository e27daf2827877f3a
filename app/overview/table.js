// The arms table. Text is set as text; nothing that comes from a file is parsed as HTML.
const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 84, HEIGHT = 12, EDGE = 4;

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function shape(tag, attributes, title) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (title) {
    const words = document.createElementNS(SVG, "title");
    words.textContent = title;
    node.append(words);
  }
  return node;
}

// Long names may break after a dot or an underscore.
const breakable = (text) => text.replace(/([._/])/g, "$1\u200b");

const at = (x) => EDGE + x * (WIDTH - 2 * EDGE);

// One dot a seed on the column's axis; the bar is the interval of the mean, the tick the mean.
function strip(facts, label) {
  const svg = shape("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, role: "img", "aria-label": label,
  });
  const y = HEIGHT / 2;
  svg.append(shape("line", { x1: at(0), x2: at(1), y1: y, y2: y, class: "axis" }));
  if (facts.low !== null) {
    const x = at(facts.low), width = Math.max(1, at(facts.high) - x);
    svg.append(shape("rect", { x, y: y - 4, width, height: 8, rx: 1, class: "interval" }));
    svg.append(shape("line", { x1: at(facts.mean), x2: at(facts.mean), y1: y - 5, y2: y + 5, class: "mean" }));
  }
  for (const [x, words, beyond] of facts.dots) {
    svg.append(beyond ? arrow(x, y, words) : shape("circle", { cx: at(x), cy: y, r: 2.4, class: "seed" }, words));
  }
  return svg;
}

// A value beyond the axis: an arrow at its end.
function arrow(x, y, words) {
  const tip = x > 0.5 ? WIDTH - 0.5 : 0.5, back = x > 0.5 ? -5 : 5;
  const points = `${tip},${y} ${tip + back},${y - 3.4} ${tip + back},${y + 3.4}`;
  return shape("polygon", { points, class: "beyond" }, `${words}, beyond the axis`);
}

function numberCell(cell, column, arm, send) {
  const td = element("td", { class: "number" });
  const label = `${column.title} of ${arm}: ${cell.text}${cell.half}${cell.n ? ", " + cell.n : ""}`;
  if (cell.id) {
    const button = element("button", { type: "button", class: "value", title: `${cell.id}: what it is, its inputs, its command` }, cell.text);
    if (cell.half) button.append(element("span", { class: "half" }, cell.half));
    button.setAttribute("aria-label", `${label}. Explain`);
    button.onclick = () => send(cell.id);
    td.append(button);
  } else {
    td.append(element("span", { class: cell.why ? "value blank" : "value" }, cell.text));
  }
  if (cell.strip) {
    td.append(strip(cell.strip, `${label}; seeds ${cell.strip.dots.map((d) => d[1]).join(", ")}`));
  }
  const small = [cell.n, cell.log && cell.strip ? "log" : ""].filter(Boolean).join(" · ");
  for (const words of [small, cell.epochs]) if (words) td.append(element("small", {}, words));
  if (cell.why) td.append(element("small", { class: "why", title: cell.why }, cell.why));
  return td;
}

function armCell(row) {
  const th = element("th", { scope: "row", class: "arm" }, element("span", { class: "name", title: row.arm }, breakable(row.name)));
  if (row.label) th.append(element("span", { class: "label" }, row.label));
  if (row.changed.length) {
    const box = element("details", {});
    const count = row.changed.length;
    box.append(element("summary", {}, count === 1 ? breakable(row.changed[0]) : `${count} factors against ${row.versus}`));
    for (const words of row.changed) box.append(element("div", {}, breakable(words)));
    if (count === 1) box.append(element("div", {}, `against ${row.versus}`));
    th.append(box);
  } else if (row.versus) {
    th.append(element("small", {}, `against ${row.versus}`));
  }
  return th;
}

function outcomeCell(row) {
  const td = element("td", { class: "outcomes" });
  const [ok, failed, collapsed] = row.outcomes;
  td.setAttribute("aria-label", `${ok} ok, ${failed} failed, ${collapsed} collapsed`);
  row.outcomes.forEach((count, i) => {
    if (i) td.append(" / ");
    td.append(element("span", { class: i && count ? "bad" : "" }, String(count)));
  });
  if (row.missing) td.append(element("small", { class: "why" }, row.missing));
  if (row.causes.length) {
    const box = element("details", { class: "why" }, element("summary", {}, row.causes.length === 1 ? "cause" : "causes"));
    for (const cause of row.causes) box.append(element("div", {}, cause));
    td.append(box);
  }
  return td;
}

function tick(row, chosen, select) {
  const box = element("input", { type: "checkbox", "aria-label": `Select ${row.arm} to compare` });
  box.checked = chosen.has(row.arm);
  box.dataset.arm = row.arm;
  box.onchange = () => select(row.arm, box.checked);
  return element("td", { class: "tick" }, box);
}

function head(data, order, sort) {
  const row = element("tr", {});
  row.append(element("th", { scope: "col", class: "tick" }, element("span", { class: "hidden" }, "select")));
  row.append(element("th", { scope: "col", class: "arm" }, "arm, what differs"));
  row.append(element("th", { scope: "col", title: "seeds: ok / failed / collapsed" }, "ok / failed / collapsed"));
  data.columns.forEach((column, i) => {
    const th = element("th", { scope: "col", title: column.about });
    const button = element("button", { type: "button" }, `${column.title} ${column.better}`.trim());
    if (column.unit) button.append(element("small", {}, column.unit));
    button.onclick = () => sort(i);
    if (order.column === i) {
      th.setAttribute("aria-sort", order.down ? "descending" : "ascending");
      button.append(element("span", { class: "sorted" }, order.down ? " ▾" : " ▴"));
    }
    th.append(button);
    row.append(th);
  });
  return element("thead", {}, row);
}

// Within a fence; the first row, the control, keeps its place. Absent numbers stand last.
function sorted(rows, order) {
  if (order.column === null) return rows;
  const value = (row) => row.cells[order.column].sort;
  const pinned = rows.filter((row) => row.arm.split("/").pop() === "control");
  const rest = rows.filter((row) => !pinned.includes(row));
  rest.sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === null || y === null) return (x === null) - (y === null);
    return order.down ? y - x : x - y;
  });
  return [...pinned, ...rest];
}

export default function ({ data, parentElement, setStateValue, setTriggerValue }) {
  const frame = parentElement.querySelector(".frame");
  const given = JSON.stringify([data.columns, data.fences]);
  frame.chosen = new Set(data.selected);
  if (frame.given === given) {
    for (const box of frame.querySelectorAll("input")) box.checked = frame.chosen.has(box.dataset.arm);
    return;
  }
  frame.given = given;
  frame.order = { column: null, down: false };
  const select = (arm, on) => {
    on ? frame.chosen.add(arm) : frame.chosen.delete(arm);
    setStateValue("selected", [...frame.chosen]);
  };
  const send = (id) => setTriggerValue("number", id);
  const sort = (column) => {
    const down = frame.order.column === column && !frame.order.down;
    frame.order = { column, down };
    draw();
    frame.querySelectorAll("thead button")[column].focus();
  };
  function draw() {
    const table = element("table", {}, head(data, frame.order, sort));
    for (const fence of data.fences) {
      const body = element("tbody", {});
      if (fence.heading) {
        const words = element("span", {}, fence.heading);
        body.append(element("tr", { class: "fence" }, element("th", { colspan: data.columns.length + 3, scope: "rowgroup" }, words)));
      }
      for (const row of sorted(fence.rows, frame.order)) {
        const tr = element("tr", {}, tick(row, frame.chosen, select), armCell(row), outcomeCell(row));
        row.cells.forEach((cell, i) => tr.append(numberCell(cell, data.columns[i], row.arm, send)));
        body.append(tr);
      }
      table.append(body);
    }
    frame.replaceChildren(table);
  }
  draw();
}
