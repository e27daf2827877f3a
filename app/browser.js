// What the pages need from the browser, once per tab of the browser.
//
// History: Streamlit writes an address in several steps, adds an entry for each of them, and none
// for a change of tab. Here an action of the user adds one entry, whatever it changes.
// Zoom: the part of the images that is shown is in the address as ?zoom=x0,x1,y0,y1 (object px),
// so that it survives a redraw, and a colleague who gets the address sees the same part.
// Notices: the browser shows the message about a job that ended, once the user has allowed it.
if (!window.armature) {
  window.armature = true;
  const push = history.pushState.bind(history), replace = history.replaceState.bind(history);
  let acted = false;
  for (const kind of ["pointerdown", "keydown"]) {
    addEventListener(kind, () => { acted = true; }, { capture: true, passive: true });
  }
  addEventListener("popstate", () => { acted = false; }, { capture: true });
  const write = (state, title, url) => {
    const there = new URL(url ?? location.href, location.href).href;
    const adds = acted && there !== location.href;
    acted = acted && !adds;
    return (adds ? push : replace)(state, title, url);
  };
  history.pushState = write;
  history.replaceState = write;

  const round = (value) => Math.round(value * 100) / 100;
  const keep = (chart) => {
    const { xaxis, yaxis } = chart._fullLayout;
    const whole = chart._fullLayout.meta?.whole;
    const shown = [...xaxis.range, ...yaxis.range].map(round);
    const address = new URL(location.href);
    const near = whole ? 0.01 * Math.abs(whole[1] - whole[0]) : 0;
    if (!whole || whole.every((edge, i) => Math.abs(edge - shown[i]) < near)) {
      address.searchParams.delete("zoom");
    } else {
      address.searchParams.set("zoom", shown.join(","));
    }
    replace(history.state, "", address);
  };
  // Logs: opened at their end, and kept there while they grow unless the reader scrolled up.
  const follow = () => {
    for (const log of document.querySelectorAll("[class*=st-key-log-] [data-testid=stCode]")) {
      const box = [log, ...log.querySelectorAll("*")].find(
        (node) => node.clientHeight > 100 && node.scrollHeight > node.clientHeight + 1);
      if (!box || box.dataset.end === String(box.scrollHeight)) continue;
      const before = Number(box.dataset.end ?? 0);
      if (!before || box.scrollTop + box.clientHeight >= before - 4) box.scrollTop = box.scrollHeight;
      box.dataset.end = box.scrollHeight;
    }
  };
  const told = new Set();
  const permission = () => window.Notification?.permission ?? "denied";
  const tell = () => {
    document.documentElement.dataset.notices = permission();
    for (const { dataset, textContent } of document.querySelectorAll("[data-ended]")) {
      if (told.has(dataset.ended)) continue;
      told.add(dataset.ended);
      if (permission() !== "granted") continue;
      try {
        new Notification("Armature", { body: textContent, tag: dataset.ended });
      } catch { /* some phones allow it to service workers only; the page has the message */ }
    }
  };
  addEventListener("click", (event) => {
    if (event.target.closest?.(".st-key-notify button")) Notification.requestPermission().then(tell);
  }, { capture: true });
  new MutationObserver(() => {
    follow();
    tell();
    for (const chart of document.querySelectorAll(".st-key-images-zoom .js-plotly-plot")) {
      if (chart.on && !chart.dataset.kept) {
        chart.dataset.kept = "yes";
        chart.on("plotly_relayout", () => keep(chart));
      }
    }
  }).observe(document.body, { childList: true, subtree: true });
}
