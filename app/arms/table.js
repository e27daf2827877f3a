// The arms table. Text is set as text; nothing that comes from a file is parsed as HTML.
const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 84, HEIGHT = 12, EDGE = 4;
const MOST_CHANGES = 2; // told in full beside the name

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

// One dot per seed on the column's axis; the bar is the interval of the mean, the tick the mean.
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
  const td = element("td", { class: cell.partial ? "number partial" : "number" });
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
  // n is told where it differs from the seeds that ran.
  const small = [cell.all || cell.blank ? "" : cell.n, cell.log && cell.strip ? "log" : ""].filter(Boolean).join(" · ");
  for (const words of [small, cell.epochs]) if (words) td.append(element("small", {}, words));
  if (cell.why) td.append(element("small", { class: "why", title: cell.why }, cell.why));
  return td;
}

function armCell(row) {
  const name = element("span", { class: "name", title: row.asks ? `${row.arm}: ${row.asks}` : row.arm }, breakable(row.name));
  const th = element("th", { scope: "row", class: "arm" }, name);
  if (row.label) th.append(element("span", { class: "label" }, row.label));
  const count = row.changed.length;
  if (!count && !row.versus && !row.asks) return th;
  const against = row.versus ? `against ${row.versus}` : "question";
  const words = count > MOST_CHANGES ? `${count} factors ${against}` : count ? `${row.changed.join("; ")} (${against})` : against;
  const box = element("details", {}, element("summary", {}, breakable(words)));
  if (row.asks) box.append(element("div", { class: "asks" }, row.asks));
  for (const change of row.changed) box.append(element("div", {}, breakable(change)));
  th.append(box);
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

// Within a fence: complete arms by value, then means over survivors, then those without a value.
function sorted(rows, order) {
  if (order.column === null) return rows;
  const rank = ({ sort, partial }) => (sort === null ? 2 : partial ? 1 : 0);
  return [...rows].sort((a, b) => {
    const [x, y] = [a.cells[order.column], b.cells[order.column]];
    return rank(x) - rank(y) || (order.down ? y.sort - x.sort : x.sort - y.sort);
  });
}

// One stop for the Tab key: arrows, Home and End move between the controls of the table.
const CONTROLS = "button, input, summary";

function place(control) {
  const cell = control.closest("td, th"), row = cell.parentElement;
  return { rows: [...row.closest("table").rows], row, cell, column: [...row.cells].indexOf(cell) };
}

function neighbour(control, key) {
  const { rows, row, cell, column } = place(control);
  const inRow = [...row.querySelectorAll(CONTROLS)], i = inRow.indexOf(control);
  if (key === "ArrowRight") return inRow[i + 1];
  if (key === "ArrowLeft") return inRow[i - 1];
  if (key === "Home") return inRow[0];
  if (key === "End") return inRow.at(-1);
  const down = key === "ArrowDown", inCell = [...cell.querySelectorAll(CONTROLS)];
  const within = inCell[inCell.indexOf(control) + (down ? 1 : -1)];
  if (within) return within;
  const others = down ? rows.slice(rows.indexOf(row) + 1) : rows.slice(0, rows.indexOf(row)).reverse();
  for (const other of others) {
    const found = other.cells[column]?.querySelectorAll(CONTROLS);
    if (found?.length) return down ? found[0] : found[found.length - 1];
  }
}

function stop(frame, control) {
  for (const other of frame.querySelectorAll(CONTROLS)) other.tabIndex = -1;
  if (control) control.tabIndex = 0;
}

function move(event, frame) {
  const control = event.target.closest(CONTROLS);
  const next = control && /^(Arrow|Home|End)/.test(event.key) && neighbour(control, event.key);
  if (!next) return;
  event.preventDefault();
  stop(frame, next);
  next.focus();
}

const orderOf = (words, columns) => {
  const column = columns.findIndex(({ alias }) => alias === words.replace(/^-/, ""));
  return { column: column < 0 ? null : column, down: words.startsWith("-") };
};

export default function ({ data, parentElement, setStateValue, setTriggerValue }) {
  const frame = parentElement.querySelector(".frame");
  const given = JSON.stringify([data.columns, data.fences, data.sort]);
  frame.chosen = new Set(data.selected);
  if (frame.given === given) {
    for (const box of frame.querySelectorAll("input")) box.checked = frame.chosen.has(box.dataset.arm);
    return;
  }
  frame.given = given;
  frame.order = orderOf(data.sort, data.columns);
  frame.onkeydown = (event) => move(event, frame);
  frame.onfocusin = (event) => stop(frame, event.target.closest(CONTROLS));
  const select = (arm, on) => {
    on ? frame.chosen.add(arm) : frame.chosen.delete(arm);
    setStateValue("selected", [...frame.chosen]);
  };
  const send = (id) => setTriggerValue("number", id);
  // The first click puts the good end first, the second the other one, the third the order of the file.
  const sort = (column) => {
    const good = data.columns[column].better === "↑", same = frame.order.column === column;
    const over = same && frame.order.down !== good;
    frame.order = { column: over ? null : column, down: same ? !good : good };
    draw();
    frame.querySelectorAll("thead button")[column].focus();
    const alias = data.columns[column].alias;
    const words = over ? "" : `${frame.order.down ? "-" : ""}${alias}`;
    frame.given = JSON.stringify([data.columns, data.fences, words]);
    setStateValue("sort", words);
  };
  function draw() {
    const table = element("table", { role: "grid", "aria-label": "Arms" }, head(data, frame.order, sort));
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
    stop(frame, frame.querySelector(CONTROLS));
  }
  draw();
}
