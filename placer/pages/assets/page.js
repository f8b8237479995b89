"use strict";
/** What all pages share: building elements, the theme. Text only ever becomes text nodes. */
const page = (() => {
  const SVG = "http://www.w3.org/2000/svg";

  /** Make an HTML element with properties and children; strings become text. */
  function make(tag, attributes = {}, ...children) {
    return fill(document.createElement(tag), attributes, children);
  }

  /** Make an SVG element. */
  function svg(tag, attributes = {}, ...children) {
    return fill(document.createElementNS(SVG, tag), attributes, children);
  }

  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.filter((c) => c !== null));
    return element;
  }

  /** Time with four significant digits. */
  function ms(value) {
    if (value === 0 || Math.abs(value) >= 1000) return `${Math.round(value).toLocaleString("en")} ms`;
    if (Math.abs(value) < 1e-4) return `${value.toExponential(3)} ms`;
    const whole = Math.abs(value) >= 1 ? String(Math.trunc(Math.abs(value))).length : 1;
    return `${value.toFixed(4 - whole)} ms`;
  }

  /** Size with a binary unit. */
  function size(count) {
    const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let power = 0;
    while (power + 1 < units.length && count >= 1024 ** (power + 1)) power += 1;
    return `${Number((count / 1024 ** power).toPrecision(4))} ${units[power]}`;
  }

  /** Let the button walk through system, light and dark. */
  function theme() {
    const button = document.getElementById("theme");
    const choices = ["system", "light", "dark"];
    let chosen = 0;
    button.hidden = false;
    button.addEventListener("click", () => {
      chosen = (chosen + 1) % choices.length;
      if (chosen) document.documentElement.dataset.theme = choices[chosen];
      else delete document.documentElement.dataset.theme;
      button.textContent = `Theme: ${choices[chosen]}`;
    });
  }

  /** Table of rows; columns are {name, numeric, text(row), node(row)}; long ones stop and say so. */
  function table(columns, rows, limit = 5000) {
    const head = make("tr", {}, ...columns.map((c) => make("th", { scope: "col", class: c.numeric ? "num" : null }, c.name)));
    const body = make("tbody");
    for (const row of rows.slice(0, limit)) {
      const cells = columns.map((c, k) => {
        const attributes = k === 0 ? { scope: "row" } : { class: c.numeric ? "num" : null };
        return make(k === 0 ? "th" : "td", attributes, c.node ? c.node(row) : c.text(row));
      });
      body.append(make("tr", {}, ...cells));
    }
    if (rows.length > limit) {
      const text = `… and ${rows.length - limit} more; the result document holds all`;
      body.append(make("tr", {}, make("td", { colspan: columns.length }, text)));
    }
    return make("table", {}, make("thead", {}, head), body);
  }

  /** Short text for a box, the middle left out. */
  function shorten(text, length) {
    if (text.length <= length) return text;
    const tail = Math.floor((length - 1) * 0.45);
    return `${text.slice(0, length - 1 - tail)}…${text.slice(text.length - tail)}`;
  }

  const data = JSON.parse(document.getElementById("data").textContent);
  theme();
  return { make, svg, ms, size, table, shorten, data };
})();
