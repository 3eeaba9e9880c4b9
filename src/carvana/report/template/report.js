"use strict";

const PAGE = 12; // photos that a gallery shows at first, and adds

// Tables: a click on a heading sorts by it, a second click reverses the order.
for (const heading of document.querySelectorAll("th")) {
  heading.querySelector("button").addEventListener("click", () => {
    const body = heading.closest("table").tBodies[0];
    const descending = heading.getAttribute("aria-sort") === "ascending";
    for (const other of heading.parentElement.children) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const rows = [...body.rows].map((row) => [row.cells[heading.cellIndex].textContent.trim(), row]);
    rows.sort(([a], [b]) => (a === "") - (b === "") || compare(a, b) * (descending ? -1 : 1));
    body.append(...rows.map(([, row]) => row));
  });
}

function compare(a, b) {
  const [x, y] = [Number(a), Number(b)];
  return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, "en", { numeric: true }) : x - y;
}

// Navigation: the link of the section at the top of the window is marked.
const links = [...document.querySelectorAll("nav a")];
const sections = links.map((link) => document.querySelector(link.hash));
const observer = new IntersectionObserver(markCurrent, { rootMargin: "-60px 0px -60% 0px", threshold: [0, 0.01] });
for (const section of sections) observer.observe(section);

function markCurrent() {
  const passed = sections.filter((section) => section.getBoundingClientRect().top < innerHeight * 0.4);
  const current = passed.at(-1) ?? sections[0];
  for (const link of links)
    if (link.hash === `#${current.id}`) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
}

// Galleries: filters, sorting, overlays, dividers, and more photos. The page's address holds filters, order and overlay.
for (const section of document.querySelectorAll(".gallery")) if (section.querySelector(".cards")) setUp(section);

function setUp(section) {
  const cards = section.querySelector(".cards");
  const all = [...cards.children];
  const tools = section.querySelector(".tools");
  const selects = [...tools.querySelectorAll("select")];
  const filters = selects.filter((select) => select.dataset.filter);
  const sort = document.getElementById(`${section.id}-sort`);
  const views = [...tools.querySelectorAll("[type=radio]")];
  const defaultKey = sort.options[0].value;
  const more = section.querySelector(".more");
  let limit = PAGE;

  function matching() {
    return all.filter((card) =>
      filters.every((filter) => !filter.value || filter.value === card.dataset[filter.dataset.filter]),
    );
  }

  function update() {
    const key = sort.value.replace("-", "");
    const sign = sort.value.startsWith("-") ? -1 : 1;
    all.sort((a, b) => sign * compare(a.dataset[key], b.dataset[key]) || compare(a.dataset[defaultKey], b.dataset[defaultKey]));
    cards.append(...all);
    const chosen = matching();
    const shown = new Set(chosen.slice(0, limit));
    for (const card of all) card.hidden = !shown.has(card);
    const rest = chosen.length - shown.size;
    more.hidden = rest === 0;
    more.firstElementChild.textContent = `Show ${Math.min(PAGE, rest)} more ${rest === 1 ? "photo" : "photos"}`;
    more.lastElementChild.textContent = `Show all ${chosen.length} photos`;
    const matched = chosen.length < all.length ? `${chosen.length} matching photos (${all.length} in all)` : `${all.length} photos`;
    document.getElementById(`${section.id}-count`).textContent = rest
      ? `${shown.size} of ${matched} shown`
      : `${shown.size} of ${all.length} photos`;
  }

  function show(count) {
    const before = matching().slice(0, limit).length;
    limit = count;
    update();
    matching()[before]?.querySelector(".stack").focus();
  }

  function writeAddress() {
    const state = new URLSearchParams(location.search);
    for (const select of selects)
      if (select.selectedIndex) state.set(select.id, select.value);
      else state.delete(select.id);
    if (views.length && !views[0].checked) state.set(`${section.id}-view`, cards.dataset.view);
    else state.delete(`${section.id}-view`);
    const query = String(state);
    history.replaceState(null, "", `${location.pathname}${query && `?${query}`}#${section.id}`);
  }

  function readAddress() {
    const state = new URLSearchParams(location.search);
    for (const select of selects)
      if ([...select.options].some((option) => option.value === state.get(select.id))) select.value = state.get(select.id);
    const view = views.find((one) => one.value === state.get(`${section.id}-view`));
    if (!view) return;
    view.checked = true;
    cards.dataset.view = view.value;
  }

  tools.addEventListener("submit", (event) => event.preventDefault());
  tools.addEventListener("change", (event) => {
    if (event.target.type === "range") return;
    if (event.target.type === "radio") cards.dataset.view = event.target.value;
    else {
      limit = PAGE;
      update();
    }
    writeAddress();
  });
  tools.addEventListener("input", (event) => {
    if (event.target.type !== "range") return;
    for (const card of all) moveDivider(card, event.target.value);
  });
  more.firstElementChild.addEventListener("click", () => show(limit + PAGE));
  more.lastElementChild.addEventListener("click", () => show(all.length));
  cards.addEventListener("input", (event) => moveDivider(event.target.closest(".card"), event.target.value));
  cards.addEventListener("click", (event) => {
    const opened = event.target.closest(".stack, .crop");
    if (!opened) return;
    const kind = opened.classList.contains("crop") ? ".crop" : ".stack";
    const list = matching().flatMap((card) => [...card.querySelectorAll(kind)]);
    enlarge(list, list.indexOf(opened), views);
  });
  readAddress();
  update();
}

function moveDivider(card, percent) {
  card.querySelector("input").value = percent;
  card.querySelector(".stack").style.setProperty("--divider", `${percent}%`);
}

// The enlarged photo or part of a photo, with the next and the previous one.
const enlarged = document.getElementById("enlarged");
const content = document.getElementById("enlarged-content");
const viewOfEnlarged = document.getElementById("enlarged-view");
let opened = { list: [], index: 0, views: [] };

function enlarge(list, index, views) {
  opened = { list, index, views };
  viewOfEnlarged.replaceChildren(...views.map((view) => new Option(view.value, view.value, false, view.checked)));
  viewOfEnlarged.parentElement.hidden = !views.length || list[index].classList.contains("crop");
  showOpened();
  enlarged.showModal();
  enlarged.querySelector("[data-step='1']").focus();
}

function showOpened() {
  const button = opened.list[opened.index];
  enlarged.dataset.view = button.closest(".cards").dataset.view;
  content.replaceChildren(...(button.classList.contains("crop") ? partInPanels(button) : [photo(button)]));
  enlarged.querySelector("output").textContent = `${opened.index + 1} of ${opened.list.length}`;
}

function photo(stack) {
  const card = stack.parentElement.cloneNode(true);
  card.hidden = false;
  card.style.setProperty("--aspect", stack.style.getPropertyValue("--aspect"));
  card.querySelector(".stack").tabIndex = -1;
  card.querySelector("input").value = stack.parentElement.querySelector("input").value;
  return card;
}

function partInPanels(crop) {
  const panels = document.createElement("div");
  const columns = innerWidth > innerHeight ? 4 : 2;
  panels.className = "panels";
  panels.style.setProperty("--columns", columns);
  panels.style.setProperty("--aspect", (crop.style.getPropertyValue("--aspect") * columns ** 2) / 4);
  const titles = { photo: "Photo", truth: "True mask", mask: "Mask and errors", probability: "Probability of car" };
  for (const [view, title] of Object.entries(titles)) {
    const [figure, layers, caption] = ["figure", "div", "figcaption"].map((tag) => document.createElement(tag));
    const names = { photo: ["photo"], truth: ["photo", "truth"], mask: ["photo", "mask", "difference"], probability: ["photo", "probability"] };
    layers.className = "layers";
    layers.append(...names[view].map((name) => crop.querySelector(`.${name}`).cloneNode()));
    layers.firstElementChild.alt = title;
    caption.textContent = title;
    figure.append(layers, caption);
    panels.append(figure);
  }
  const [text, of] = [document.createElement("p"), crop.closest(".card").querySelector("figcaption").cloneNode(true)];
  text.textContent = crop.dataset.caption;
  return [panels, text, of];
}

function step(count) {
  opened.index = (opened.index + count + opened.list.length) % opened.list.length;
  showOpened();
}

enlarged.addEventListener("input", (event) => {
  if (event.target.type === "range") moveDivider(event.target.closest(".card"), event.target.value);
});
enlarged.addEventListener("click", (event) => {
  const count = event.target.closest("[data-step]")?.dataset.step;
  if (count) step(Number(count));
  else if (event.target === enlarged) enlarged.close();
});
enlarged.addEventListener("keydown", (event) => {
  const count = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!count || event.target.matches("input, select")) return;
  event.preventDefault();
  step(count);
});
viewOfEnlarged.addEventListener("change", () => {
  opened.views.find((view) => view.value === viewOfEnlarged.value).click();
  enlarged.dataset.view = viewOfEnlarged.value;
});
enlarged.addEventListener("close", () => {
  const button = opened.list[opened.index];
  if (button.checkVisibility()) button.focus();
});
